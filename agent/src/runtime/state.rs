use crate::runtime::image_store::Images;
use crate::runtime::link_writer::LinkWriter;
use crate::runtime::outbox::Chunk;
use crate::runtime::outbox::Outbox;
use crate::runtime::scope::CallState;
use crate::runtime::scope::NEVER;
use crate::runtime::scope::Scope;
use crate::runtime::slot::ReplySlot;
use crate::runtime::stream_state::StreamState;
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

/// Where the bytes of a flow that come in go to.
pub(crate) enum Endpoint {
    /// A reply that somebody waits for.
    Reply(Arc<ReplySlot>),
    /// A stream that somebody reads or writes.
    Stream(Arc<StreamState>),
    /// A request that is not whole yet.
    Request(Box<Request>),
    /// A stream of a program that the broker runs: its number, and which stream.
    Program(u32, u8),
    /// A request that is being carried out; a call's with its scope.
    Busy(Option<Arc<Scope>>),
    /// Calls that are run one after the other.
    Chain(Box<crate::runtime::chain_state::Chain>),
    /// Something that a program has put there.
    Handler(Arc<dyn FlowHandler>),
    /// An image from the root, for the child that connects over this link. Many flows have replies,
    /// and few this.
    Image(Box<(LinkId, Vec<u8>)>),
}

/// A request as it comes in.
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

/// What a flow belongs to that is not the tree's own business. It is called with the node locked,
/// by the broker.
pub(crate) trait FlowHandler: Send + Sync {
    /// Bytes came.
    fn data(&self, core: &mut NodeState, flow: FlowKey, bytes: Vec<u8>, end: bool);
    /// The flow may go on.
    fn room(&self, _core: &mut NodeState, _flow: FlowKey) {}
    /// The flow is over before its time, and forgotten.
    fn closed(&self, core: &mut NodeState, flow: FlowKey, error: &Error);
    /// A time that was set for the flow has come.
    fn late(&self, _core: &mut NodeState, _flow: FlowKey, _now: u64) {}
    /// Whether times may be set for the flow.
    fn is_timed(&self) -> bool {
        false
    }
    /// What it was made for.
    fn scope(&self) -> Option<&Arc<Scope>> {
        None
    }
}

/// A service that a program offers. It is called with the node locked, by the broker.
pub(crate) trait CustomService: Send + Sync {
    /// Somebody who may has opened a flow to it: the first bytes of the request, and whether they
    /// are all.
    fn opened(self: Arc<Self>, core: &mut NodeState, flow: FlowKey, request: Request, end: bool);
    /// This process sends to it what names these contexts.
    fn names(&self, _core: &NodeState, _contexts: &[ContextId]) {}
}

/// What another thread wants the broker to do.
pub(crate) enum BrokerTask {
    /// End all children, then the broker.
    Stop,
    /// Run work of a program that no agent has the code of. It gets the broker, whose type stands
    /// above this room.
    Run(fn(&mut dyn Any)),
}

/// Somebody to wake once the lock is released.
pub(crate) enum Wake {
    Reply(Arc<ReplySlot>, Result<Vec<u8>>),
    Stream(Arc<StreamState>),
}

/// The state behind the lock.
pub(crate) struct NodeState {
    pub node: Node,
    pub io: SortedMap<LinkId, LinkWriter>,
    pub endpoints: IndexMap<FlowKey, Endpoint>,
    pub(crate) outboxes: IndexMap<FlowKey, Outbox>,
    /// What programs offer.
    pub offered: SortedMap<Handle, Arc<dyn CustomService>>,
    /// When somebody has to look at a flow.
    pub(crate) deadlines: SortedMap<(u64, FlowKey), ()>,
    /// The next number for what a program offers.
    pub(crate) next_offer: u32,
    /// Stations whose flows were given up here, still to be told.
    pub(crate) closing: Vec<(FlowKey, Arc<dyn FlowHandler>, Error)>,
    /// What frames are written from, where a link takes all at once.
    pub scratch: Vec<u8>,
    pub orders: Vec<BrokerTask>,
    pub wakes: Vec<Wake>,
    /// What is offered no more, to be dropped once the lock is released: it may hold what needs the
    /// lock.
    pub(crate) withdrawn: Vec<Arc<dyn CustomService>>,
    pub images: Images,
    pub names: SortedMap<ContextId, Arc<str>>,
    pub stopped: bool,
    /// Events are handled by the broker alone; others wake it when they made some.
    pub unseen: bool,
}

impl NodeState {
    /// Sends a whole message on a flow, now or as credit comes.
    pub(crate) fn send_all(&mut self, flow: FlowKey, bytes: Vec<u8>, secret: bool) {
        self.append(flow, bytes, true, secret);
    }

    /// The same for bytes that are sent to many.
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

    /// Sends more on a flow, behind what waits there; with `end`, nothing follows.
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

    /// How many bytes wait for credit on a flow.
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

    /// A flow may go on: sends more of what waits for it.
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

    /// Forgets what waits on a flow that is over.
    pub(crate) fn forget(&mut self, flow: FlowKey) -> Option<Endpoint> {
        self.outboxes.remove(&flow);
        self.unwatch(flow);
        self.endpoints.remove(&flow)
    }

    /// A number for something that a program offers, which nothing behind the same door has.
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

    /// Offers something to those whom `policy` admits.
    pub(crate) fn offer(
        &mut self,
        handle: Handle,
        policy: Policy,
        service: Arc<dyn CustomService>,
    ) {
        self.node.serve(handle, policy);
        self.offered.insert(handle, service);
    }

    /// Offers it no more.
    pub(crate) fn withdraw(&mut self, handle: Handle) {
        self.node.withdraw(handle);
        self.withdrawn.extend(self.offered.remove(&handle));
    }

    /// Offers nothing more.
    pub(crate) fn withdraw_all(&mut self) {
        for handle in self.offered.keys() {
            self.withdraw(handle);
        }
    }

    /// Has the broker look at a flow when its time is over.
    pub(crate) fn watch(&mut self, due: u64, flow: FlowKey) {
        if due != NEVER {
            self.deadlines.insert((due, flow), ());
            self.unseen = true;
        }
    }

    /// A flow's time does not matter any more.
    pub(crate) fn unwatch(&mut self, flow: FlowKey) {
        if self.deadlines.is_empty() {
            return;
        }
        let scope = match self.endpoints.get(&flow) {
            Some(Endpoint::Reply(slot)) => slot.scope.as_ref(),
            Some(Endpoint::Busy(scope)) => scope.as_ref(),
            Some(Endpoint::Handler(handler)) if !handler.is_timed() => None,
            // These know more than one time.
            Some(Endpoint::Chain(_) | Endpoint::Handler(_)) => {
                return self.deadlines.retain(|(_, other)| *other != flow);
            }
            _ => None,
        };
        // When it was set, a scope around may have been over, or not yet.
        for due in scope
            .map(|scope| [scope.due(), scope.deadline().0])
            .into_iter()
            .flatten()
        {
            self.deadlines.remove(&(due, flow));
        }
    }

    /// The flows whose time is over; they are watched no more.
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

    /// Ends a scope: whoever waits in it is told, and whoever works for it elsewhere.
    pub(crate) fn cancel(&mut self, scope: &Arc<Scope>, stand: CallState) {
        self.end_scope(scope, stand, false);
    }

    /// The same, and with `unscoped` for those who wait in none as well.
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
                        .reset(flow, Reason::Cancelled, "what it was for was given up"),
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

    /// How much there is of what comes and goes with calls and streams.
    pub(crate) fn held(&self) -> [(&'static str, usize); 5] {
        [
            ("flows", self.node.flows()),
            ("endpoints", self.endpoints.len()),
            ("outboxes", self.outboxes.len()),
            ("deadlines", self.deadlines.keys().len()),
            ("offered", self.offered.keys().len()),
        ]
    }

    /// The name of a context, for messages.
    pub(crate) fn name_of(&self, id: ContextId) -> Arc<str> {
        match self.names.get(&id) {
            Some(name) => Arc::clone(name),
            None if id == ContextId::ROOT => "controller".into(),
            None => format!("context {id}").into(),
        }
    }

    /// A dead letter about a flow as an error for whoever waits.
    pub(crate) fn error_of(&self, flow: FlowKey, letter: DeadLetter) -> Error {
        let by = self.name_of(letter.by);
        letter.into_error(&self.name_of(flow.peer), &by)
    }
}
