//! One node of the tree as a pure state machine: router, flows and links in one place.
//!
//! Bytes of links and the wishes of this process go in; bytes for links and [`Event`]s come out. No descriptor, no
//! clock, no thread, so that whole trees can run in one test. After every call the owner drains
//! [`Node::poll_event`] and, for each link of [`Node::take_dirty`], [`Node::transmit`].

mod flows;
mod link;
mod routes;

use crate::codec;
use crate::error::DeadLetter;
use crate::flow::{Incoming, Outgoing};
use crate::id::{ContextId, FlowKey, Handle, LinkId};
use crate::router::{Policy, Router};
use crate::table::Table;
use crate::wire::{Frame, Header, Kind};
use link::Link;
use routes::RouteNews;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, VecDeque};

/// How many forged or senseless frames a link may bring before it is ended.
const OFFENCES: u32 = 64;

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
}
