//! The dispatch of flows: requests to their services, replies and bytes to their owners.

use crate::broker::Broker;
use crate::call::chain_service as chains;
use crate::call::service as calls;
use crate::runtime::answer::answer;
use crate::runtime::answer::obeyed;
use crate::runtime::chain_state::Chain;
use crate::runtime::handle::NodeHandle;
use crate::runtime::role::NodeRole;
use crate::runtime::state::Awaited;
use crate::runtime::state::Endpoint;
use crate::runtime::state::NodeState;
use crate::runtime::state::Request;
use crate::runtime::state::Wake;
use offshoot_codec::MAX_MESSAGE;
use offshoot_proto::ContextId;
use offshoot_proto::Error;
use offshoot_proto::FlowKey;
use offshoot_proto::Handle;
use offshoot_proto::Reason;
use offshoot_proto::flow::longest_of;
use offshoot_proto::message::outcome::failed;
use offshoot_proto::message::outcome::value;
use offshoot_proto::routing::Policy;
use std::sync::Arc;

/// The longest request to connect or to run a program: more than a kernel accepts as a program's
/// arguments.
const ORDER_LIMIT: usize = 4 << 20;

/// The longest request to a service that takes only a number or a name.
const QUESTION_LIMIT: usize = 64;

/// The longest request to a service that takes a name that a person chose.
const NAME_LIMIT: usize = 4 << 10;

/// Returns the limit for a request to this service.
fn limit_of(core: &NodeState, request: &Request) -> usize {
    match request.service {
        Handle::CALL => longest_of(obeyed(core, request.auth)),
        Handle::CONNECT | Handle::EXEC => ORDER_LIMIT,
        Handle::DETACH => NAME_LIMIT,
        _ => QUESTION_LIMIT,
    }
}

impl Broker {
    /// Handles a flow that a peer has opened to a service.
    pub(crate) fn opened(
        &mut self,
        core: &mut NodeState,
        flow: FlowKey,
        request: Request,
        end: bool,
    ) {
        let length = request.bytes.len();
        if request.service == Handle::CHAIN {
            core.endpoints
                .insert(flow, Endpoint::Chain(Box::new(Chain::new(request.auth))));
            return chains::data(&self.shared, core, flow, &request.bytes, end);
        }
        if request.service >= Handle::FIRST_CUSTOM {
            return match core.offered.get(&request.service).cloned() {
                Some(service) => service.opened(core, flow, request, end),
                // The service was withdrawn after the node accepted the request.
                None => core
                    .node
                    .reset(flow, Reason::NoHandle, "the service was withdrawn"),
            };
        }
        if length > limit_of(core, &request) {
            return core.node.reset(flow, Reason::TooLarge, "the request");
        }
        core.node.take(flow, length, length);
        if end {
            self.whole(core, flow, request);
        } else {
            core.endpoints
                .insert(flow, Endpoint::Request(Box::new(request)));
        }
    }

    /// Hands the bytes of a flow to its owner.
    pub(crate) fn data(&mut self, core: &mut NodeState, flow: FlowKey, bytes: Vec<u8>, end: bool) {
        let length = bytes.len();
        match core.endpoints.get_mut(&flow) {
            Some(Endpoint::Reply(slot)) => {
                let slot = Arc::clone(slot);
                let longest = slot
                    .scope
                    .as_ref()
                    .map_or(MAX_MESSAGE, |scope| scope.longest());
                let Some([whole, spare]) = slot.gather(bytes, end, longest) else {
                    core.node.reset(flow, Reason::TooLarge, "the reply");
                    core.forget(flow);
                    let context = core.name_of(flow.peer).to_string();
                    let detail = format!("the reply is over {longest} bytes");
                    let error = Error::Undelivered {
                        context,
                        reason: Reason::TooLarge,
                        detail,
                    };
                    return core.wakes.push(Wake::Reply(slot, Err(error)));
                };
                core.node.reuse(flow, spare);
                if end {
                    core.unwatch(flow);
                    core.endpoints.remove(&flow);
                    core.wakes.push(Wake::Reply(slot, Ok(whole)));
                } else {
                    core.node.consume(flow, length);
                }
            }
            Some(Endpoint::Chain(_)) => chains::data(&self.shared, core, flow, &bytes, end),
            Some(Endpoint::Handler(handler)) => {
                let handler = Arc::clone(handler);
                handler.data(core, flow, bytes, end);
            }
            Some(Endpoint::Stream(stream)) => {
                stream.push(bytes, end);
                let stream = Arc::clone(stream);
                if end && core.node.knows(flow) {
                    // Only the reader of a flow that is written to can end it, by a reset.
                    core.node.reset(flow, Reason::Cancelled, "");
                    core.forget(flow);
                    stream.fail(Error::Undelivered {
                        context: core.name_of(flow.peer).to_string(),
                        reason: Reason::Cancelled,
                        detail: "the reader has closed the stream".into(),
                    });
                } else if end {
                    core.endpoints.remove(&flow);
                }
                core.wakes.push(Wake::Stream(stream));
            }
            Some(Endpoint::Request(request)) => {
                if request.service == Handle::CONNECT {
                    offshoot_codec::reserve(&mut request.bytes, length);
                }
                request.bytes.extend_from_slice(&bytes);
                let length_so_far = request.bytes.len();
                core.node.reuse(flow, bytes);
                let Some(Endpoint::Request(request)) = core.endpoints.get(&flow) else {
                    return;
                };
                if length_so_far > limit_of(core, request) {
                    core.node.reset(flow, Reason::TooLarge, "the request");
                    core.forget(flow);
                    return;
                }
                core.node.take(flow, length, length_so_far);
                if end && let Some(Endpoint::Request(request)) = core.endpoints.remove(&flow) {
                    self.whole(core, flow, *request);
                }
            }
            Some(Endpoint::Program(number, 0)) => {
                let number = *number;
                self.programs
                    .input(&mut self.reactor, core, number, bytes, end);
            }
            Some(Endpoint::ForChild(reply)) => {
                if reply.awaited == Awaited::Answer {
                    offshoot_codec::reserve(&mut reply.bytes, length);
                }
                reply.bytes.extend_from_slice(&bytes);
                core.node.reuse(flow, bytes);
                core.node.consume(flow, length);
                if end && let Some(Endpoint::ForChild(reply)) = core.endpoints.remove(&flow) {
                    self.children.reply_arrived(&mut self.reactor, core, &reply);
                }
            }
            _ => core
                .node
                .reset(flow, Reason::Cancelled, "the flow has no reader"),
        }
    }

    fn whole(&mut self, core: &mut NodeState, flow: FlowKey, mut request: Request) {
        if self.stopping {
            return core.node.reset(flow, Reason::ShutDown, "");
        }
        core.endpoints.insert(flow, Endpoint::Busy(None));
        match request.service {
            Handle::CALL => calls::call(
                &self.shared,
                core,
                flow,
                request.auth,
                std::mem::take(&mut request.bytes),
            ),
            Handle::CONNECT => self
                .children
                .connect(&mut self.reactor, core, flow, &request),
            Handle::EXEC => self.programs.exec(&mut self.reactor, core, flow, &request),
            Handle::ALLOCATE => {
                let reply = grant(core, flow.peer);
                answer(core, flow, reply);
            }
            Handle::IMAGE => {
                core.endpoints.remove(&flow);
                let reply = give_image(core, &request.bytes);
                core.send_shared(flow, reply, false);
            }
            Handle::DETACH => self.detach(core, flow, &request.bytes),
            Handle::SIGNAL => self.programs.signal(core, flow, &request.bytes),
            Handle::DISCONNECT => {
                self.children
                    .disconnect(&mut self.reactor, core, flow, &request.bytes)
            }
            Handle::DUMP => self.dump(core, flow),
            _ => {
                core.node.reset(flow, Reason::NoHandle, "");
                core.forget(flow);
            }
        }
    }
}

fn grant(core: &mut NodeState, owner: ContextId) -> Vec<u8> {
    match core.node.grant(owner) {
        Some((first, count)) => value(&(first.0, count)),
        None => failed(&Error::System {
            action: "granting numbers for contexts".into(),
            detail: format!(
                "the contexts below hold {} of them, or have used up as many in too short a time",
                offshoot_proto::routing::LIVE_PER_LINK
            ),
        }),
    }
}

fn give_image(core: &mut NodeState, machine: &[u8]) -> Arc<Vec<u8>> {
    let machine = String::from_utf8_lossy(machine);
    let reply = match offshoot_bootstrap::Platform::from_machine(&machine) {
        Some(platform) => core.images.as_reply(platform),
        None => Err(Error::Image(format!("there are no agents for {machine}"))),
    };
    reply.unwrap_or_else(|error| Arc::new(failed(&error)))
}

/// The services, their policies, and whether every node has them or only the root. Requests to
/// others are refused.
const SERVICES: [(Handle, Policy, bool); 10] = [
    // A policy for each function follows: `call/service.rs` asks for it.
    (Handle::CALL, Policy::Anyone, true),
    (Handle::CHAIN, Policy::Ancestors, true),
    (Handle::CONNECT, Policy::Ancestors, true),
    (Handle::EXEC, Policy::Ancestors, true),
    (Handle::DISCONNECT, Policy::Ancestors, true),
    (Handle::DETACH, Policy::Ancestors, true),
    (Handle::DUMP, Policy::Ancestors, true),
    (Handle::SIGNAL, Policy::Ancestors, true),
    (Handle::ALLOCATE, Policy::Descendants, false),
    (Handle::IMAGE, Policy::Descendants, false),
];

/// Offers the services of this node.
pub(crate) fn serve(shared: &NodeHandle, place: &NodeRole) {
    let mut core = shared.lock();
    for (service, policy, everywhere) in SERVICES {
        if everywhere || matches!(place, NodeRole::Root) {
            core.node.serve(service, policy);
        }
    }
}
