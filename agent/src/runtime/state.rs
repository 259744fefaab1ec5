use crate::runtime::image_store::Images;
use crate::runtime::link_writer::LinkWriter;
use crate::runtime::outbox::Chunk;
use crate::runtime::outbox::Outbox;
use crate::runtime::scope::CallState;
use crate::runtime::scope::NEVER;
use crate::runtime::scope::Scope;
use crate::runtime::slot::ReplySlot;
use crate::runtime::stream_state::StreamState;
use offshoot_bootstrap::Platform;
use offshoot_codec::Message;
use offshoot_codec::Written;
use offshoot_proto::ContextId;
use offshoot_proto::DeadLetter;
use offshoot_proto::Error;
use offshoot_proto::FlowKey;
use offshoot_proto::Handle;
use offshoot_proto::LinkId;
use offshoot_proto::Reason;
use offshoot_proto::Result;
use offshoot_proto::collections::index_map::IndexMap;
use offshoot_proto::collections::sorted_map::SortedMap;
use offshoot_proto::node::Node;
use offshoot_proto::node::Opening;
use offshoot_proto::routing::Policy;
use std::any::Any;
use std::sync::Arc;

/// The receiver of a flow's bytes.
pub(crate) enum Endpoint {
    /// A reply that a caller waits for.
    Reply(Arc<ReplySlot>),
    /// A stream of a program that uses this crate.
    Stream(Arc<StreamState>),
    /// A request that has not arrived completely.
    Request(Box<Request>),
    /// A stream of a program that the broker runs: the number of the program and of the stream.
    Program(u32, u8),
    /// A request that is being processed; for a call, with its scope.
    Busy(Option<Arc<Scope>>),
    /// A chain of calls.
    Chain(Box<crate::runtime::chain_state::Chain>),
    /// A handler of a room above.
    Handler(Arc<dyn FlowHandler>),
    /// A reply for the child that connects over this link. Boxed, because most endpoints are
    /// replies to callers.
    ForChild(Box<ForChild>),
}

/// A reply for a child that is being connected, as far as it has arrived.
pub(crate) struct ForChild {
    pub link: LinkId,
    pub awaited: Awaited,
    /// The number of the question that it answers.
    pub question: u32,
    pub bytes: Vec<u8>,
}

/// The reply that a child needs.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// The image for a platform, from the root.
    Image(Platform),
    /// The answer to a question of its program, from the context that requested the hop.
    Answer,
    /// None: that context was only told.
    Nothing,
}

impl Drop for ForChild {
    fn drop(&mut self) {
        if self.awaited == Awaited::Answer {
            offshoot_codec::zero(&mut self.bytes);
        }
    }
}

/// A request, as far as it has arrived.
pub(crate) struct Request {
    pub service: Handle,
    pub auth: ContextId,
    pub streams: u8,
    pub child: Option<(ContextId, LinkId)>,
    pub bytes: Vec<u8>,
}

impl Drop for Request {
    fn drop(&mut self) {
        if self.service == Handle::CONNECT {
            offshoot_codec::zero(&mut self.bytes);
        }
    }
}

/// The handler of a flow, in a room above. The broker calls it with the node locked.
pub(crate) trait FlowHandler: Send + Sync {
    /// Bytes have arrived.
    fn data(&self, core: &mut NodeState, flow: FlowKey, bytes: Vec<u8>, end: bool);
    /// The flow has room again.
    fn room(&self, _core: &mut NodeState, _flow: FlowKey) {}
    /// The flow has ended early and was removed.
    fn closed(&self, core: &mut NodeState, flow: FlowKey, error: &Error);
    /// A deadline of the flow has passed.
    fn late(&self, _core: &mut NodeState, _flow: FlowKey, _now: u64) {}
    /// Returns true if the flow may have deadlines.
    fn is_timed(&self) -> bool {
        false
    }
    /// Returns the scope of the flow.
    fn scope(&self) -> Option<&Arc<Scope>> {
        None
    }
}

/// A service of a room above. The broker calls it with the node locked.
pub(crate) trait CustomService: Send + Sync {
    /// A peer that the policy admits has opened a flow: the first bytes of the request, and true if
    /// that is all.
    fn opened(self: Arc<Self>, core: &mut NodeState, flow: FlowKey, request: Request, end: bool);
    /// This process sends a message to the service that names these contexts.
    fn names(&self, _core: &NodeState, _contexts: &[ContextId]) {}
}

/// A task for the broker from another thread.
pub(crate) enum BrokerTask {
    /// End all children, then the broker.
    Stop,
    /// Run code that agents do not contain. It gets the broker, whose type is in a room above.
    Run(fn(&mut dyn Any)),
}

/// A waiter to wake once the lock is released.
pub(crate) enum Wake {
    Reply(Arc<ReplySlot>, Result<Vec<u8>>),
    Stream(Arc<StreamState>),
}

/// The state of a node, behind its lock.
pub(crate) struct NodeState {
    pub node: Node,
    pub io: SortedMap<LinkId, LinkWriter>,
    pub endpoints: IndexMap<FlowKey, Endpoint>,
    pub(crate) outboxes: IndexMap<FlowKey, Outbox>,
    /// The services of rooms above.
    pub offered: SortedMap<Handle, Arc<dyn CustomService>>,
    /// The deadlines of flows.
    pub(crate) deadlines: SortedMap<(u64, FlowKey), ()>,
    /// The next number for a service.
    pub(crate) next_offer: u32,
    /// Handlers whose flows were cancelled here and that were not called yet.
    pub(crate) closing: Vec<(FlowKey, Arc<dyn FlowHandler>, Error)>,
    /// The buffer for links that do not block.
    pub scratch: Vec<u8>,
    pub orders: Vec<BrokerTask>,
    pub wakes: Vec<Wake>,
    /// Withdrawn services, to be dropped once the lock is released: their values may need the lock.
    pub(crate) withdrawn: Vec<Arc<dyn CustomService>>,
    pub images: Images,
    pub names: SortedMap<ContextId, Arc<str>>,
    pub stopped: bool,
    /// True if there are events for the broker, which alone handles them.
    pub unseen: bool,
}

impl NodeState {
    /// Sends a whole message on a flow, as far as there is credit; the rest follows later.
    pub(crate) fn send_all(&mut self, flow: FlowKey, bytes: Vec<u8>, secret: bool) {
        self.append(flow, bytes, true, secret);
    }

    /// Sends shared bytes in the same way.
    pub(crate) fn send_shared(&mut self, flow: FlowKey, bytes: Arc<Vec<u8>>, secret: bool) {
        self.queue(
            flow,
            Chunk {
                bytes: bytes.into(),
                secret,
            },
            0,
            true,
        );
    }

    /// Appends bytes to a flow. With `end`, the flow ends after them.
    pub(crate) fn append(&mut self, flow: FlowKey, bytes: Vec<u8>, end: bool, secret: bool) {
        self.queue(
            flow,
            Chunk {
                bytes: bytes.into(),
                secret,
            },
            0,
            end,
        );
    }

    /// Returns the number of bytes that wait for credit on a flow.
    pub(crate) fn waiting(&self, flow: FlowKey) -> usize {
        self.outboxes
            .get(&flow)
            .map_or(0, |outbox| outbox.length - outbox.at)
    }

    fn queue(&mut self, flow: FlowKey, mut parcel: Chunk, at: usize, end: bool) {
        if let Some(outbox) = self.outboxes.get_mut(&flow) {
            outbox.length += parcel.bytes.len();
            outbox.first.push_back(parcel);
            outbox.end |= end;
            return;
        }
        let length = parcel.bytes.len();
        match self
            .node
            .send(flow, &parcel.bytes[at..], end, parcel.secret)
        {
            Some(more) if at + more < parcel.bytes.len() => {
                self.outboxes.insert(
                    flow,
                    Outbox {
                        length,
                        first: [parcel].into(),
                        at: at + more,
                        end,
                    },
                );
            }
            _ => parcel.wipe(),
        }
    }

    /// Opens a flow with a whole request.
    pub(crate) fn open(
        &mut self,
        dst: ContextId,
        service: Handle,
        request: impl Into<Message>,
        opening: Opening,
        endpoint: impl FnOnce(FlowKey) -> Endpoint,
    ) -> FlowKey {
        let Message {
            head: Written(mut head),
            rest,
            ..
        } = request.into();
        let (secret, mut parts) = (opening.secret, rest.len());
        let more = opening.more || parts > 0;
        let (flow, taken) = self
            .node
            .open(dst, service, &head, Opening { more, ..opening });
        let endpoint = endpoint(flow);
        self.endpoints.insert(flow, endpoint);
        if taken < head.len() {
            self.queue(
                flow,
                Chunk {
                    bytes: head.into(),
                    secret,
                },
                taken,
                !more,
            );
        } else if secret {
            offshoot_codec::zero(&mut head);
        }
        for bytes in rest {
            parts -= 1;
            self.queue(
                flow,
                Chunk { bytes, secret },
                0,
                !opening.more && parts == 0,
            );
        }
        flow
    }

    /// Sends more of the bytes that wait on a flow.
    pub(crate) fn go_on(&mut self, flow: FlowKey) {
        let Some(outbox) = self.outboxes.get_mut(&flow) else {
            return;
        };
        loop {
            let last = outbox.end && outbox.first.len() == 1;
            let Some(parcel) = outbox.first.front_mut() else {
                break;
            };
            match self
                .node
                .send(flow, &parcel.bytes[outbox.at..], last, parcel.secret)
            {
                Some(taken) if outbox.at + taken < parcel.bytes.len() => {
                    outbox.at += taken;
                    return;
                }
                Some(_) => {
                    parcel.wipe();
                    outbox.length -= parcel.bytes.len();
                    outbox.first.pop_front();
                    outbox.at = 0;
                }
                None => break,
            }
        }
        self.outboxes.remove(&flow);
    }

    /// Removes a flow that is over, with its queued bytes.
    pub(crate) fn forget(&mut self, flow: FlowKey) -> Option<Endpoint> {
        self.outboxes.remove(&flow);
        self.unwatch(flow);
        self.endpoints.remove(&flow)
    }

    /// Returns an unused number for a service behind this handle.
    pub(crate) fn new_number(&mut self, door: Handle) -> u32 {
        loop {
            let number = self.next_offer;
            self.next_offer = number + 1;
            if self.next_offer == Handle::FIRST_HUB.0 {
                self.next_offer = Handle::FIRST_CUSTOM.0;
            }
            if self.offered.get(&Handle(number | door.0)).is_none() {
                return number;
            }
        }
    }

    /// Offers a service to the contexts that `policy` admits.
    pub(crate) fn offer(
        &mut self,
        handle: Handle,
        policy: Policy,
        service: Arc<dyn CustomService>,
    ) {
        self.node.serve(handle, policy);
        self.offered.insert(handle, service);
    }

    /// Withdraws a service.
    pub(crate) fn withdraw(&mut self, handle: Handle) {
        self.node.withdraw(handle);
        self.withdrawn.extend(self.offered.remove(&handle));
    }

    /// Withdraws all services.
    pub(crate) fn withdraw_all(&mut self) {
        for handle in self.offered.keys() {
            self.withdraw(handle);
        }
    }

    /// Sets a deadline for a flow.
    pub(crate) fn watch(&mut self, due: u64, flow: FlowKey) {
        if due != NEVER {
            self.deadlines.insert((due, flow), ());
            self.unseen = true;
        }
    }

    /// Removes the deadline of a flow.
    pub(crate) fn unwatch(&mut self, flow: FlowKey) {
        if self.deadlines.is_empty() {
            return;
        }
        let scope = match self.endpoints.get(&flow) {
            Some(Endpoint::Reply(slot)) => slot.scope.as_ref(),
            Some(Endpoint::Busy(scope)) => scope.as_ref(),
            Some(Endpoint::Handler(handler)) if !handler.is_timed() => None,
            // These may have several deadlines.
            Some(Endpoint::Chain(_) | Endpoint::Handler(_)) => {
                return self.deadlines.retain(|(_, other)| *other != flow);
            }
            _ => None,
        };
        // When the deadline was set, an enclosing scope may have been active or not, so both are
        // tried.
        if let Some(scope) = scope {
            for due in [scope.due(), scope.deadline().0] {
                self.deadlines.remove(&(due, flow));
            }
        }
    }

    /// Returns the flows whose deadline has passed, and removes these deadlines.
    pub(crate) fn overdue(&mut self, now: u64) -> Vec<FlowKey> {
        let due: Vec<(u64, FlowKey)> = self
            .deadlines
            .iter()
            .map(|(key, ())| *key)
            .take_while(|(due, _)| *due <= now)
            .collect();
        if !due.is_empty() {
            self.deadlines.retain(|(due, _)| *due > now);
        }
        due.into_iter().map(|(_, flow)| flow).collect()
    }

    /// Ends a scope with all of its flows: waiters get an error, and peers a reset.
    pub(crate) fn cancel(&mut self, scope: &Arc<Scope>, stand: CallState) {
        self.end_scope(scope, stand, false);
    }

    /// Ends a scope in the same way; with `unscoped`, also the flows without a scope.
    pub(crate) fn end_scope(&mut self, scope: &Arc<Scope>, stand: CallState, unscoped: bool) {
        let mut next = scope.end(stand).then(|| Arc::clone(scope));
        while let Some(scope) = next {
            let within = |other: Option<&Arc<Scope>>| {
                other.map_or(unscoped, |other| other.is_within(&scope))
            };
            let is_in = |endpoint: &Endpoint| match endpoint {
                Endpoint::Reply(slot) => within(slot.scope.as_ref()),
                Endpoint::Stream(stream) => within(stream.scope()),
                Endpoint::Handler(handler) => {
                    handler.scope().is_some_and(|scope| within(Some(scope)))
                }
                _ => false,
            };
            let mut flows: Vec<FlowKey> = self
                .endpoints
                .iter()
                .filter(|(_, endpoint)| is_in(endpoint))
                .map(|(flow, _)| *flow)
                .collect();
            flows.sort_unstable();
            for flow in flows {
                match stand {
                    CallState::TimedOut => self.node.reset(flow, Reason::Late, ""),
                    CallState::Gone => self.node.reset(flow, Reason::ShutDown, ""),
                    _ => self
                        .node
                        .reset(flow, Reason::Cancelled, "the request was cancelled"),
                }
                let error = scope.error(&self.name_of(flow.peer), stand);
                match self.forget(flow) {
                    Some(Endpoint::Reply(slot)) => self.wakes.push(Wake::Reply(slot, Err(error))),
                    Some(Endpoint::Handler(handler)) => self.closing.push((flow, handler, error)),
                    Some(Endpoint::Stream(stream)) => {
                        stream.fail(error);
                        self.wakes.push(Wake::Stream(stream));
                    }
                    _ => {}
                }
            }
            next = scope.linked_scope();
            if let Some(linked) = &next
                && !linked.end(stand)
            {
                next = None;
            }
        }
    }

    /// Returns the numbers of values that the node holds for calls and streams.
    pub(crate) fn held(&self) -> [(&'static str, usize); 5] {
        [
            ("flows", self.node.flows()),
            ("endpoints", self.endpoints.len()),
            ("outboxes", self.outboxes.len()),
            ("deadlines", self.deadlines.keys().len()),
            ("offered", self.offered.keys().len()),
        ]
    }

    /// Returns the name of a context, for messages.
    pub(crate) fn name_of(&self, id: ContextId) -> Arc<str> {
        match self.names.get(&id) {
            Some(name) => Arc::clone(name),
            None if id == ContextId::ROOT => "controller".into(),
            None => format!("context {id}").into(),
        }
    }

    /// Returns the error for the waiters of a flow that has ended with this dead letter.
    pub(crate) fn error_of(&self, flow: FlowKey, letter: DeadLetter) -> Error {
        let by = match letter.by == self.node.id() {
            true => "".into(),
            false => self.name_of(letter.by),
        };
        letter.into_error(&self.name_of(flow.peer), &by)
    }
}
