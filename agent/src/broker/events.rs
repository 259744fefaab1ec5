//! Carries out the events of the node: requests, bytes, credit, ends of flows, orders.

use crate::broker::Broker;
use crate::call::chain_service as chains;
use crate::call::service as calls;
use crate::runtime::log_queue::Entry;
use crate::runtime::reactor::Source;
use crate::runtime::scope::CallState;
use crate::runtime::state::BrokerTask;
use crate::runtime::state::Endpoint;
use crate::runtime::state::NodeState;
use crate::runtime::state::Wake;
use offshoot_proto::Error;
use offshoot_proto::FlowKey;
use offshoot_proto::LinkId;
use offshoot_proto::Reason;
use offshoot_proto::log::Filter;
use offshoot_proto::node::Event;
use offshoot_proto::wire::Kind;
use std::sync::Arc;
use tracing::Level;

impl Broker {
    pub(crate) fn handle_events(&mut self, core: &mut NodeState) {
        while let Some(event) = core.node.poll_event() {
            match event {
                Event::Opened {
                    flow,
                    service,
                    auth,
                    streams,
                    child,
                    bytes,
                    end,
                } => {
                    let request = crate::runtime::state::Request {
                        service,
                        auth,
                        streams,
                        child,
                        bytes,
                    };
                    self.opened(core, flow, request, end);
                }
                Event::Data { flow, bytes, end } => self.data(core, flow, bytes, end),
                Event::Room(flow) => {
                    core.go_on(flow);
                    match core.endpoints.get(&flow) {
                        Some(Endpoint::Stream(stream)) => {
                            let stream = Arc::clone(stream);
                            core.wakes.push(Wake::Stream(stream));
                        }
                        Some(Endpoint::Program(number, stream @ (1 | 2))) => {
                            let (number, stream) = (*number, *stream);
                            self.programs.room(&mut self.reactor, core, number, stream);
                            self.settle_program(core, number);
                        }
                        Some(Endpoint::Handler(handler)) => {
                            let handler = Arc::clone(handler);
                            handler.room(core, flow);
                        }
                        Some(Endpoint::Chain(_)) => chains::advance(&self.shared, core, flow),
                        _ => {}
                    }
                }
                Event::Closed { flow, letter } => self.flow_closed(core, flow, letter),
                Event::Boot(boot) => self.boot(core, &boot),
                Event::Control { link, kind, bytes } => self.control(core, link, kind, &bytes),
                Event::Log { from, bytes } => {
                    if let Some(outlet) = self.shared.outlet.get() {
                        outlet.put(Entry::Remote(core.name_of(from), from, bytes));
                    }
                }
                Event::Say(level, text) => self.shared.say(level, text),
                Event::Frame(frame) => {
                    if let Some(outlet) = self.shared.outlet.get() {
                        outlet.put(Entry::Frame(frame));
                    }
                }
                Event::Broken { link, reason, why } => self.link_broken(core, link, reason, &why),
                Event::Pause(link) => self.reactor.read_link(link, false),
                Event::Resume(link) => self.reactor.read_link(link, true),
                Event::Gone(contexts) => {
                    for context in contexts {
                        core.names.remove(&context);
                    }
                }
            }
        }
    }

    pub(crate) fn control(&mut self, core: &mut NodeState, link: LinkId, kind: Kind, bytes: &[u8]) {
        match kind {
            Kind::Ping => core.node.control(link, Kind::Pong, Vec::new()),
            Kind::Hello => self.children.hello(&mut self.reactor, core, link, bytes),
            Kind::Shutdown => self.order_stop(core, Reason::ShutDown, ""),
            Kind::Filter => self.log_what(Filter::from_bytes(bytes.to_vec())),
            _ => {}
        }
    }

    /// Notes the reason for the end of this node; the broker stops once the lock is released. The
    /// first reason counts: the end of the link to the parent may be seen before the parent's order
    /// is carried out.
    pub(crate) fn order_stop(&mut self, core: &mut NodeState, reason: Reason, why: &str) {
        self.why.get_or_insert_with(|| (reason, why.into()));
        core.orders.push(BrokerTask::Stop);
        core.unseen = true;
    }

    pub(crate) fn boot(
        &mut self,
        core: &mut NodeState,
        boot: &offshoot_proto::message::boot::BootInfo,
    ) {
        self.log_what(boot.filter.clone());
        core.names.insert(boot.id, boot.name.as_str().into());
        if let Some(up) = self.role.up() {
            self.reactor.keep_alive(core, up, boot.heartbeat);
        }
    }

    /// Sets the filter that the parent has sent. Records that were queued until now are sent or
    /// dropped.
    fn log_what(&mut self, filter: Filter) {
        self.shared.logs.set_filter(filter);
        self.shared.wake();
    }

    /// Closes a link that violated the protocol or was silent for too long.
    pub(crate) fn link_broken(
        &mut self,
        core: &mut NodeState,
        link: LinkId,
        reason: Reason,
        why: &str,
    ) {
        let text = format!("closing the link of {}: {why}", self.children.name_of(link));
        self.shared.say(Level::WARN, text);
        self.reactor.unwatch(Source::Link(link));
        if self.role.up() == Some(link) {
            return self.order_stop(core, reason, why);
        }
        self.children
            .lose(&mut self.reactor, core, link, reason, why);
    }

    pub(crate) fn flow_closed(
        &mut self,
        core: &mut NodeState,
        flow: FlowKey,
        letter: offshoot_proto::DeadLetter,
    ) {
        let late = letter.reason == Reason::Late;
        let endpoint = core.forget(flow);
        if let Some(Endpoint::Program(number, stream)) = endpoint {
            self.programs
                .stream_closed(&mut self.reactor, core, number, stream, letter);
            return self.settle_program(core, number);
        }
        let error = core.error_of(flow, letter);
        match endpoint {
            Some(Endpoint::Reply(slot)) => core.wakes.push(Wake::Reply(slot, Err(error))),
            Some(Endpoint::Stream(stream)) => {
                stream.fail(error);
                core.wakes.push(Wake::Stream(stream));
            }
            Some(Endpoint::ForChild(reply)) => {
                self.children
                    .reply_missing(&mut self.reactor, core, &reply, &error)
            }
            Some(Endpoint::Request(request)) => {
                if let Some((_, link)) = request.child {
                    core.node.link_lost(
                        link,
                        Reason::ConnectFailed,
                        "the order to connect broke off",
                    );
                }
            }
            Some(Endpoint::Busy(scope)) => {
                if let Some(scope) = scope {
                    core.cancel(
                        &scope,
                        if late {
                            CallState::TimedOut
                        } else {
                            CallState::Cancelled
                        },
                    );
                    self.shared.workers.forget(&scope);
                } else {
                    self.children.give_up_hop(&mut self.reactor, core, flow);
                }
            }
            Some(Endpoint::Chain(chain)) => chains::closed(core, &chain),
            Some(Endpoint::Handler(handler)) => handler.closed(core, flow, &error),
            _ => {}
        }
    }

    /// Cancels calls whose deadline is over, both outgoing and running ones.
    pub(crate) fn deadlines(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut core = shared.lock();
        let now = shared.now();
        for flow in core.overdue(now) {
            match core.endpoints.get(&flow) {
                Some(Endpoint::Reply(slot)) => {
                    let slot = Arc::clone(slot);
                    // The scope has ended before its reply, which belongs to its holder alone now.
                    if slot
                        .scope
                        .as_ref()
                        .is_some_and(|scope| scope.deadline().0 > now)
                    {
                        continue;
                    }
                    let name = core.name_of(flow.peer);
                    core.node.reset(flow, Reason::Late, "");
                    core.forget(flow);
                    let error = slot
                        .scope
                        .as_ref()
                        .map(|scope| scope.error(&name, CallState::TimedOut));
                    core.wakes
                        .push(Wake::Reply(slot, Err(error.unwrap_or(Error::ShutDown))));
                }
                Some(Endpoint::Busy(Some(scope))) => {
                    let scope = Arc::clone(scope);
                    calls::late(&shared, &mut core, flow, &scope);
                }
                Some(Endpoint::Chain(_)) => chains::overdue(&shared, &mut core, flow),
                Some(Endpoint::Handler(handler)) => {
                    let handler = Arc::clone(handler);
                    handler.late(&mut core, flow, shared.now());
                }
                _ => {}
            }
        }
        self.release(core);
    }
}
