//! One node of the tree as a pure state machine: router, flows and links in one place.
//!
//! Bytes of links and the wishes of this process go in; bytes for links and [`Event`]s come out. No descriptor, no
//! clock, no thread, so that whole trees can run in one test. After every call the owner drains
//! [`Node::poll_event`] and, for each link of [`Node::take_dirty`], [`Node::transmit`].

mod link;

use crate::codec;
use crate::error::{DeadLetter, Reason};
use crate::flow::{Incoming, Outgoing, Violation};
use crate::id::{ContextId, FlowKey, Handle, LinkId};
use crate::router::{Policy, Router, Verdict};
use crate::wire::{Flags, Frame, Header, Kind, MAX_PAYLOAD, WireError};
use link::Link;
use serde::{Deserialize, Serialize};
use crate::table::Table;
use std::collections::{HashMap, VecDeque};

/// How many forged or senseless frames a link may bring before it is ended.
const OFFENCES: u32 = 64;
/// How many flows a node takes part in.
const FLOWS_PER_NODE: usize = 1 << 20;
/// How many questions from below a node has open at once; it answers them at once, so more means abuse.
const QUESTIONS: usize = 256;

/// Something the owner of a node has to act on.
#[derive(Debug)]
pub enum Event {
    /// A peer opened a flow to a service here; the first bytes of its request. More may come as [`Event::Data`].
    Opened {
        /// The flow on which to answer.
        flow: FlowKey,
        /// The service.
        service: Handle,
        /// The further flows it brought: handles count up from the flow's own.
        streams: u8,
        /// For a connect: the new context, and the link that waits for it. Frames for it may be queued there already.
        child: Option<(ContextId, LinkId)>,
        /// The first bytes.
        bytes: Vec<u8>,
        /// Whether these are all.
        end: bool,
    },
    /// Bytes of a flow came; they count as held until [`Node::consume`].
    Data {
        /// The flow.
        flow: FlowKey,
        /// The bytes.
        bytes: Vec<u8>,
        /// Whether these are the last.
        end: bool,
    },
    /// A flow that stood at its limit may go on.
    Room(FlowKey),
    /// A flow is over before its time; it is forgotten here.
    Closed {
        /// The flow.
        flow: FlowKey,
        /// Why.
        letter: DeadLetter,
    },
    /// The parent said who this node is; it has taken the name already.
    Boot(Boot),
    /// A frame that concerns the link itself.
    Control {
        /// The link it came over.
        link: LinkId,
        /// `Hello`, `Ping`, `Pong` or `Shutdown`.
        kind: Kind,
        /// Its payload.
        bytes: Vec<u8>,
    },
    /// A log record from below.
    Log {
        /// Whose it is.
        from: ContextId,
        /// The record.
        bytes: Vec<u8>,
    },
    /// A link brought damaged or forged frames and must be closed.
    Broken {
        /// The link.
        link: LinkId,
        /// What was wrong.
        why: String,
    },
    /// Contexts that are gone, from whatever cause.
    Gone(Vec<ContextId>),
}

/// The first thing a parent tells an agent: who it is.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub struct Boot {
    /// Its number.
    pub id: ContextId,
    /// The contexts it obeys, nearest first.
    pub ancestors: Vec<ContextId>,
    /// Its name, for messages and the process title.
    pub name: String,
    /// The most detailed log level that travels: 0 none, 1 error to 5 trace.
    pub log_level: u8,
    /// Seconds between heartbeats; 0 for none.
    pub heartbeat: u32,
}

/// What a `Route` frame says.
#[derive(Serialize, Deserialize, Debug)]
enum RouteNews {
    Added(ContextId),
    Gone { contexts: Vec<ContextId>, text: String },
}

#[derive(Default)]
struct Flow {
    outgoing: Outgoing,
    incoming: Incoming,
    /// How many flows came with this one; they end with it when it breaks off.
    streams: u8,
    /// Whether it is a question from below.
    question: bool,
}

/// What an opened flow is to carry.
#[derive(Copy, Clone, Default)]
pub struct Opening {
    /// Further flows beside the request's own, each of one direction.
    pub streams: u8,
    /// Bit n: the n-th of them carries bytes to the opener, not from it.
    pub answering: u8,
    /// The number of the context that a connect is to make.
    pub new_context: Option<ContextId>,
    /// Whether the request holds a secret.
    pub secret: bool,
}

/// One node.
pub struct Node {
    /// The routes.
    pub router: Router,
    links: Table<LinkId, Link>,
    flows: HashMap<FlowKey, Flow>,
    services: Vec<(Handle, Policy)>,
    events: VecDeque<Event>,
    dirty: Vec<LinkId>,
        next_handle: u32,
    next_link: u32,
    /// How many of the flows are questions from below.
    questions: usize,
}

impl Node {
    /// The root of a tree.
    pub fn root() -> Node {
        Node::with_router(Router::new(ContextId::ROOT, Vec::new(), None))
    }

    /// An agent, whose parent will say who it is; and its link to the parent.
    pub fn agent() -> (Node, LinkId) {
        let up = LinkId(0);
        let mut node = Node::with_router(Router::new(ContextId(u32::MAX), Vec::new(), Some(up)));
        node.next_link = 1;
        node.links.insert(up, Link::new(None));
        (node, up)
    }

    fn with_router(router: Router) -> Node {
        Node {
            router,
            links: Table::default(),
            flows: HashMap::new(),
            services: Vec::new(),
            events: VecDeque::new(),
            dirty: Vec::new(),
            next_handle: Handle::FIRST_FLOW.0,
            next_link: 0,
            questions: 0,
        }
    }

    /// This node's number.
    pub fn id(&self) -> ContextId {
        self.router.id()
    }

    /// Offers a service to those whom `policy` admits. There is no service without a policy.
    pub fn serve(&mut self, service: Handle, policy: Policy) {
        self.services.push((service, policy));
    }

    /// A link to a child that is about to be connected; it is reachable from now on, frames for it wait.
    pub fn add_child(&mut self, child: ContextId) -> Option<LinkId> {
        let link = LinkId(self.next_link);
        // A connect that passed through here announced the child over another link only if its number was used twice.
        if !self.router.add(child, link) {
            return None;
        }
        self.next_link += 1;
        self.links.insert(link, Link::new(Some(child)));
        Some(link)
    }

    /// Tells the ancestors of a child whose connect they have not seen pass.
    pub fn announce(&mut self, child: ContextId) {
        self.tell_parent(&RouteNews::Added(child));
    }

    /// The child behind a link.
    pub fn child_of(&self, link: LinkId) -> Option<ContextId> {
        self.links.get(&link)?.child
    }

    /// The next thing to act on.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether there is something to act on.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// The links that have something to send since this was last asked.
    pub fn take_dirty(&mut self) -> Vec<LinkId> {
        std::mem::take(&mut self.dirty)
    }

    /// Moves frames of `link` into `out` until it holds at least `enough` bytes. Whether secrets were among them.
    pub fn transmit(&mut self, link: LinkId, out: &mut Vec<u8>, enough: usize) -> bool {
        self.links.get_mut(&link).is_some_and(|link| link.transmit(out, enough))
    }

    /// How many bytes wait to go out over `link`.
    pub fn queued(&self, link: LinkId) -> usize {
        self.links.get(&link).map_or(0, Link::queued)
    }

    /// The child has said hello.
    pub fn link_up(&mut self, link: LinkId) {
        if let Some(link) = self.links.get_mut(&link) {
            link.is_up();
        }
        self.dirty.push(link);
    }

    /// The child's bootstrap starts anew: what was sent to it will be sent again.
    pub fn link_restart(&mut self, link: LinkId) {
        if let Some(link) = self.links.get_mut(&link) {
            link.restart();
        }
        self.dirty.push(link);
    }

    /// Sends a frame that concerns the link itself.
    pub fn control(&mut self, link: LinkId, kind: Kind, payload: Vec<u8>) {
        let header = Header::new(kind, self.id(), ContextId(0));
        self.enqueue(link, Frame { header, payload });
    }

    /// Tells a child who it is, before anything else that waits for it.
    pub fn boot(&mut self, link: LinkId, boot: &Boot) {
        let header = Header::new(Kind::Boot, self.id(), boot.id);
        let payload = codec::to_bytes(boot).unwrap_or_default();
        if let Some(state) = self.links.get_mut(&link) {
            state.push_first(Frame { header, payload });
            self.dirty.push(link);
        }
    }

    /// Sends a log record to the root.
    pub fn log(&mut self, payload: Vec<u8>) {
        if let Some(up) = self.router.up() {
            let header = Header { handle: Handle::LOG, ..Header::new(Kind::Log, self.id(), ContextId::ROOT) };
            self.enqueue(up, Frame { header, payload });
        }
    }

    /// Opens a flow to a service, with as much of the request as fits. Gives the flow and how much was taken.
    pub fn open(&mut self, dst: ContextId, service: Handle, request: &[u8], opening: Opening) -> (FlowKey, usize) {
        let handle = self.allocate(1 + u32::from(opening.streams));
        let flow = FlowKey { peer: dst, handle, opener: true };
        let taken = request.len().min(MAX_PAYLOAD);
        let end = taken == request.len();
        let mut state = Flow { streams: opening.streams, ..Flow::default() };
        state.outgoing.send(taken, end);
        self.flows.insert(flow, state);
        for stream in 0..opening.streams {
            let mut state = Flow::default();
            if opening.answering & 1 << stream != 0 {
                state.outgoing.close();
            } else {
                state.incoming.close();
            }
            let handle = Handle(handle.0 + 1 + u32::from(stream));
            self.flows.insert(FlowKey { peer: dst, handle, opener: true }, state);
        }
        let header = Header {
            handle: service,
            reply_to: handle,
            flags: Flags::OPENER.with(Flags::END, end).with(Flags::SECRET, opening.secret),
            streams: opening.streams,
            answering: opening.answering,
            offset: opening.new_context.map_or(0, |id| u64::from(id.0)),
            ..Header::new(Kind::Open, self.id(), dst)
        };
        self.dispatch(None, Frame { header, payload: request[..taken].to_vec() });
        (flow, taken)
    }

    fn allocate(&mut self, count: u32) -> Handle {
        if self.next_handle > u32::MAX - 16 {
            self.next_handle = Handle::FIRST_FLOW.0;
        }
        let first = self.next_handle;
        self.next_handle += count;
        Handle(first)
    }

    /// How many bytes may be sent on a flow now; none where it is over.
    pub fn room(&self, flow: FlowKey) -> Option<usize> {
        self.flows.get(&flow).map(|state| state.outgoing.room())
    }

    /// Whether a flow is known here.
    pub fn knows(&self, flow: FlowKey) -> bool {
        self.flows.contains_key(&flow)
    }

    /// Sends as much as there is credit for, and the end with the last byte if `end`. Gives how much was taken, or
    /// none where the flow is over.
    pub fn send(&mut self, flow: FlowKey, bytes: &[u8], end: bool, secret: bool) -> Option<usize> {
        let mut taken = 0;
        loop {
            let state = self.flows.get_mut(&flow)?;
            if state.outgoing.ended() {
                return None;
            }
            let piece = (bytes.len() - taken).min(state.outgoing.room()).min(MAX_PAYLOAD);
            let last = end && taken + piece == bytes.len();
            if piece == 0 && !last {
                return Some(taken);
            }
            let offset = state.outgoing.send(piece, last);
            let header = Header {
                handle: flow.handle,
                flags: Flags::default()
                    .with(Flags::OPENER, flow.opener)
                    .with(Flags::END, last)
                    .with(Flags::SECRET, secret),
                offset,
                ..Header::new(Kind::Data, self.id(), flow.peer)
            };
            let payload = bytes[taken..taken + piece].to_vec();
            taken += piece;
            self.dispatch(None, Frame { header, payload });
            if last {
                self.forget_if_over(flow);
                return Some(taken);
            }
        }
    }

    /// The user of a flow took `length` bytes.
    pub fn consume(&mut self, flow: FlowKey, length: usize) {
        let Some(state) = self.flows.get_mut(&flow) else { return };
        if let Some(limit) = state.incoming.consume(length) {
            let header = Header {
                handle: flow.handle,
                flags: Flags::default().with(Flags::OPENER, flow.opener),
                offset: limit,
                ..Header::new(Kind::Credit, self.id(), flow.peer)
            };
            self.dispatch(None, Frame { header, payload: Vec::new() });
        }
    }

    /// Gives a flow up, and tells the other end why.
    pub fn reset(&mut self, flow: FlowKey, reason: Reason, text: &str) {
        if self.drop_flow(flow).is_none() {
            return;
        }
        let letter = DeadLetter { reason, by: self.id(), text: text.into() };
        let header = Header {
            handle: flow.handle,
            flags: Flags::default().with(Flags::OPENER, flow.opener),
            ..Header::new(Kind::Reset, self.id(), flow.peer)
        };
        self.dispatch(None, Frame { header, payload: codec::to_bytes(&letter).unwrap_or_default() });
    }

    fn forget_if_over(&mut self, flow: FlowKey) {
        if self.flows.get(&flow).is_some_and(|state| state.outgoing.ended() && state.incoming.ended()) {
            self.drop_flow(flow);
        }
    }

    fn drop_flow(&mut self, flow: FlowKey) -> Option<Flow> {
        let state = self.flows.remove(&flow)?;
        self.questions -= usize::from(state.question);
        Some(state)
    }

    /// Takes bytes of a link as they came.
    pub fn receive(&mut self, link: LinkId, bytes: &[u8]) {
        let Some(state) = self.links.get_mut(&link) else { return };
        state.decoder.extend(bytes);
        loop {
            let Some(state) = self.links.get_mut(&link) else { return };
            match state.decoder.next_frame() {
                Ok(Some(frame)) => self.arrive(link, frame),
                Ok(None) => return,
                Err(error) => return self.broken(link, error),
            }
        }
    }

    fn broken(&mut self, link: LinkId, error: WireError) {
        self.events.push_back(Event::Broken { link, why: error.to_string() });
    }

    fn offence(&mut self, link: LinkId, what: &str, header: &Header) {
        let Some(state) = self.links.get_mut(&link) else { return };
        state.offences += 1;
        let (count, who) = (state.offences, state.child.unwrap_or(ContextId::ROOT));
        if count == OFFENCES {
            self.events.push_back(Event::Broken { link, why: format!("{who} keeps sending {what}") });
        } else if count < OFFENCES {
            let Header { src, auth, dst, .. } = header;
            tracing::warn!("dropped {what} from the link of {who}: from {src} for {auth} to {dst}");
        }
    }

    fn arrive(&mut self, link: LinkId, frame: Frame) {
        let header = frame.header;
        if header.kind.is_link_local() {
            return self.arrive_local(link, frame);
        }
        if !self.router.believes(link, &header) {
            return self.offence(link, "a frame in another's name", &header);
        }
        self.dispatch(Some(link), frame);
    }

    fn arrive_local(&mut self, link: LinkId, mut frame: Frame) {
        let from_parent = self.router.up() == Some(link);
        match frame.header.kind {
            Kind::Route if !from_parent => self.route_news(link, &frame),
            Kind::Boot | Kind::Shutdown if !from_parent => {
                self.offence(link, "an order that only a parent gives", &frame.header);
            }
            Kind::Boot => match codec::from_bytes::<Boot>(&frame.payload) {
                Ok(boot) => {
                    self.router.become_context(boot.id, boot.ancestors.clone());
                    self.events.push_back(Event::Boot(boot));
                }
                Err(error) => self.events.push_back(Event::Broken { link, why: format!("boot: {error}") }),
            },
            Kind::Hello | Kind::Route if from_parent => {
                self.offence(link, "news that only a child has", &frame.header);
            }
            kind => {
                let bytes = std::mem::take(&mut frame.payload);
                self.events.push_back(Event::Control { link, kind, bytes });
            }
        }
    }

    fn route_news(&mut self, link: LinkId, frame: &Frame) {
        match codec::from_bytes(&frame.payload) {
            Ok(RouteNews::Added(id)) => {
                if self.router.add(id, link) {
                    self.tell_parent(&RouteNews::Added(id));
                } else {
                    self.offence(link, "a route that is another's", &frame.header);
                }
            }
            Ok(RouteNews::Gone { contexts, text }) => {
                let gone: Vec<_> = contexts.into_iter().filter(|id| self.router.remove(*id, link)).collect();
                self.gone(gone, text);
            }
            Err(_) => self.offence(link, "route news that cannot be read", &frame.header),
        }
    }

    fn tell_parent(&mut self, news: &RouteNews) {
        if let (Some(up), Ok(payload)) = (self.router.up(), codec::to_bytes(news)) {
            self.control(up, Kind::Route, payload);
        }
    }

    /// Ends every flow with the contexts that are gone and passes the news on.
    fn gone(&mut self, contexts: Vec<ContextId>, text: String) {
        if contexts.is_empty() {
            return;
        }
        self.close_flows(&text, |key| contexts.contains(&key.peer));
        self.tell_parent(&RouteNews::Gone { contexts: contexts.clone(), text });
        self.events.push_back(Event::Gone(contexts));
    }

    fn close_flows(&mut self, text: &str, mut of: impl FnMut(&FlowKey) -> bool) {
        let mut keys: Vec<_> = self.flows.keys().filter(|key| of(key)).copied().collect();
        keys.sort_unstable();
        for flow in keys {
            self.drop_flow(flow);
            let letter = DeadLetter { reason: Reason::Lost, by: self.id(), text: text.into() };
            self.events.push_back(Event::Closed { flow, letter });
        }
    }

    /// A link is no more. Everything behind it is gone; what waited for it is returned with `reason`.
    pub fn link_lost(&mut self, link: LinkId, reason: Reason, text: &str) {
        let Some(mut state) = self.links.remove(&link) else { return };
        let contexts = self.router.remove_link(link);
        for frame in state.take_all() {
            self.return_frame(&frame, reason, text);
        }
        if state.child.is_none() {
            self.close_flows(text, |_| true);
        }
        self.gone(contexts, text.into());
    }

    fn enqueue(&mut self, link: LinkId, frame: Frame) {
        let Some(state) = self.links.get_mut(&link) else { return };
        if let Err(frame) = state.push(frame) {
            return self.return_frame(&frame, Reason::QueueFull, "it is still connecting");
        }
        if self.dirty.last() != Some(&link) {
            self.dirty.push(link);
        }
    }

    fn dispatch(&mut self, from: Option<LinkId>, frame: Frame) {
        let header = frame.header;
        match self.router.route(from, header.dst) {
            Verdict::Here => self.deliver(from, frame),
            Verdict::Return(reason) => self.return_frame(&frame, reason, &format!("on the way to {}", header.dst)),
            Verdict::Forward(link) => {
                // The ancestors of a context to be learn its route from the order itself, so that frames for it can
                // follow at once.
                if header.kind == Kind::Open
                    && header.handle == Handle::CONNECT
                    && header.offset != 0
                    && Some(link) != self.router.up()
                    && !self.router.add(ContextId(header.offset as u32), link)
                {
                    return self.return_frame(&frame, Reason::Refused, "its number is in use");
                }
                self.enqueue(link, frame);
            }
        }
    }

    /// Sends a frame back as a dead letter, unless it is itself an ending.
    fn return_frame(&mut self, frame: &Frame, reason: Reason, text: &str) {
        let header = &frame.header;
        let handle = match header.kind {
            Kind::Open => header.reply_to,
            Kind::Data => header.handle,
            _ => return,
        };
        let letter = DeadLetter { reason, by: self.id(), text: text.into() };
        let flow = FlowKey { peer: header.dst, handle, opener: header.flags.has(Flags::OPENER) };
        if header.src == self.id() {
            return self.close(flow, letter);
        }
        let dead = Header {
            handle,
            flags: Flags::default().with(Flags::OPENER, flow.opener),
            reply_to: Handle(header.dst.0),
            ..Header::new(Kind::Dead, self.id(), header.src)
        };
        self.dispatch(None, Frame { header: dead, payload: codec::to_bytes(&letter).unwrap_or_default() });
    }

    fn close(&mut self, flow: FlowKey, letter: DeadLetter) {
        let Some(state) = self.drop_flow(flow) else { return };
        if flow.opener {
            for stream in 1..=u32::from(state.streams) {
                self.close(FlowKey { handle: Handle(flow.handle.0 + stream), ..flow }, letter.clone());
            }
        }
        self.events.push_back(Event::Closed { flow, letter });
    }

    fn deliver(&mut self, from: Option<LinkId>, mut frame: Frame) {
        let header = frame.header;
        let end = header.flags.has(Flags::END);
        let flow =
            FlowKey { peer: header.src, handle: header.handle, opener: !header.flags.has(Flags::OPENER) };
        match header.kind {
            Kind::Open => self.deliver_open(from, frame),
            Kind::Data => {
                let Some(state) = self.flows.get_mut(&flow) else {
                    return self.return_frame(&frame, Reason::NoHandle, "the flow is over");
                };
                if let Err(violation) = state.incoming.receive(header.offset, frame.payload.len(), end) {
                    return self.violated(flow, violation);
                }
                let bytes = std::mem::take(&mut frame.payload);
                if !bytes.is_empty() || end {
                    self.events.push_back(Event::Data { flow, bytes, end });
                }
                self.forget_if_over(flow);
            }
            Kind::Credit => {
                if let Some(state) = self.flows.get_mut(&flow)
                    && state.outgoing.grant(header.offset)
                {
                    self.events.push_back(Event::Room(flow));
                }
            }
            Kind::Reset => {
                let letter = read_letter(&frame, header.src);
                self.close(flow, letter);
            }
            Kind::Dead => {
                let peer = ContextId(header.reply_to.0);
                let flow = FlowKey { peer, handle: header.handle, opener: header.flags.has(Flags::OPENER) };
                // Only a node on the way to the peer can know what became of a frame to it.
                if from.is_none() || self.router.link_to(peer).is_none_or(|way| Some(way) == from) {
                    let letter = read_letter(&frame, header.src);
                    self.close(flow, letter);
                }
            }
            Kind::Log if self.router.up().is_none() => {
                let bytes = std::mem::take(&mut frame.payload);
                self.events.push_back(Event::Log { from: header.src, bytes });
            }
            _ => {}
        }
    }

    fn violated(&mut self, flow: FlowKey, violation: Violation) {
        let text = violation.to_string();
        self.reset(flow, Reason::Violation, &text);
        let letter = DeadLetter { reason: Reason::Violation, by: self.id(), text };
        self.events.push_back(Event::Closed { flow, letter });
    }

    fn deliver_open(&mut self, from: Option<LinkId>, mut frame: Frame) {
        let header = frame.header;
        let Some((_, policy)) = self.services.iter().find(|(service, _)| *service == header.handle) else {
            return self.return_frame(&frame, Reason::NoHandle, &format!("service {}", header.handle.0));
        };
        let question = *policy == Policy::Descendants;
        if !self.router.permits(*policy, header.auth) {
            if let Some(state) = from.and_then(|link| self.links.get_mut(&link)) {
                // Said often enough for a reader, and not as often as a child likes.
                state.refusals += 1;
                if state.refusals < OFFENCES {
                    tracing::warn!("refused {} a flow to service {}", header.auth, header.handle.0);
                }
            }
            return self.return_frame(&frame, Reason::Refused, &format!("service {}", header.handle.0));
        }
        let flow = FlowKey { peer: header.src, handle: header.reply_to, opener: false };
        if question && self.questions >= QUESTIONS {
            return self.return_frame(&frame, Reason::QueueFull, "too many questions are open");
        }
        let crowded = self.flows.len() + usize::from(header.streams) >= FLOWS_PER_NODE;
        if header.streams > 8 || crowded || self.flows.contains_key(&flow) {
            let link = from.unwrap_or(LinkId(0));
            return self.offence(link, "a flow that cannot be opened", &header);
        }
        let mut child = None;
        if header.handle == Handle::CONNECT {
            let id = ContextId(header.offset as u32);
            let Some(link) = self.add_child(id) else {
                return self.return_frame(&frame, Reason::Refused, &format!("the number {id} is in use"));
            };
            child = Some((id, link));
        }
        let end = header.flags.has(Flags::END);
        let mut state = Flow { question, ..Flow::default() };
        if state.incoming.receive(0, frame.payload.len(), end).is_err() {
            return;
        }
        self.questions += usize::from(question);
        self.flows.insert(flow, state);
        for stream in 0..header.streams {
            let mut state = Flow::default();
            if header.answering & 1 << stream != 0 {
                state.incoming.close();
            } else {
                state.outgoing.close();
            }
            let handle = Handle(header.reply_to.0.wrapping_add(1 + u32::from(stream)));
            self.flows.insert(FlowKey { peer: header.src, handle, opener: false }, state);
        }
        let bytes = std::mem::take(&mut frame.payload);
        let service = header.handle;
        self.events.push_back(Event::Opened { flow, service, streams: header.streams, child, bytes, end });
    }
}

fn read_letter(frame: &Frame, by: ContextId) -> DeadLetter {
    codec::from_bytes(&frame.payload).unwrap_or(DeadLetter { reason: Reason::Violation, by, text: String::new() })
}
