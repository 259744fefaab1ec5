//! One node of the tree as a pure state machine: router, flows and links in one place.
//!
//! Bytes of links, the time and the wishes of this process go in; bytes for links and [`Event`]s come out. No descriptor,
//! no clock, no thread, so that whole trees can run in one test. After every call the owner drains
//! [`Node::poll_event`] and, for each link of [`Node::take_dirty`], [`Node::transmit`]; it calls [`Node::expire`] when
//! [`Node::next_due`] has come.

use crate::collections::sorted_map::SortedMap;
use crate::error::reason::Reason;
use crate::flow::GROWTH_OF_ALL;
use crate::id::ContextId;
use crate::id::Handle;
use crate::id::LinkId;
use crate::log::LogRecord;
use crate::message::boot::BootInfo;
use crate::message::routes::RouteNews;
use crate::node::event::Event;
use crate::node::event::ShownFrame;
use crate::node::flow_table::FlowTable;
use crate::node::link::Link;
use crate::routing::BLOCKS_AT_ONCE;
use crate::routing::BLOCKS_EACH_SECOND;
use crate::routing::IdGrants;
use crate::routing::Policy;
use crate::routing::RoutingTable;
use crate::wire::Frame;
use crate::wire::Header;
use crate::wire::Kind;
use crate::wire::MAX_PAYLOAD;
use alloc::collections::BinaryHeap;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;
use offshoot_codec as codec;
use tracing::Level;

/// How many forged or senseless frames a link may bring before it is ended.
pub(crate) const OFFENCES: u32 = 64;

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
    /// Whether more of the request follows after what is given at first.
    pub more: bool,
}

/// One node.
pub struct Node {
    /// The routes.
    pub router: RoutingTable,
    pub(crate) links: SortedMap<LinkId, Link>,
    pub(crate) flows: FlowTable,
    pub(crate) services: SortedMap<Handle, Policy>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) dirty: Vec<LinkId>,
    pub(crate) next_handle: u32,
    next_link: u32,
    /// The numbers of contexts that were granted to those below.
    pub(crate) grants: IdGrants,
    /// By how much windows may still grow.
    pub(crate) spare: u64,
    /// How many bytes wait because of all children.
    pub(crate) caused: usize,
    pub(crate) now: u64,
    /// Memory of payloads that have gone on, for the next ones.
    pub(crate) used: Vec<Vec<u8>>,
    pub(crate) shows_frames: bool,
    pub(crate) hearts: BinaryHeap<Reverse<(u64, LinkId)>>,
}

impl Node {
    /// The root of a tree.
    pub fn root() -> Node {
        Node::with_router(RoutingTable::new(ContextId::ROOT, Vec::new(), None))
    }

    /// An agent, whose parent will say who it is; and its link to the parent.
    pub fn agent() -> (Node, LinkId) {
        let up = LinkId(0);
        let mut node = Node::with_router(RoutingTable::new(ContextId(u32::MAX), Vec::new(), Some(up)));
        node.next_link = 1;
        node.links.insert(up, Link::new(None));
        (node, up)
    }

    fn with_router(router: RoutingTable) -> Node {
        Node {
            router,
            links: SortedMap::default(),
            flows: FlowTable::default(),
            services: SortedMap::default(),
            events: VecDeque::new(),
            dirty: Vec::new(),
            next_handle: Handle::FIRST_FLOW.0,
            next_link: 0,
            grants: IdGrants::default(),
            spare: GROWTH_OF_ALL,
            caused: 0,
            now: 0,
            used: Vec::new(),
            shows_frames: false,
            hearts: BinaryHeap::new(),
        }
    }

    /// This node's number.
    pub fn id(&self) -> ContextId {
        self.router.id()
    }

    /// Has every frame that comes or goes from now on shown as an event, or none.
    pub fn show_frames(&mut self, shown: bool) {
        self.shows_frames = shown;
    }

    /// Leaves a text for the log of this process. It is no business of the node's who reads that,
    /// or how long that takes.
    pub fn say(&mut self, level: Level, text: String) {
        self.events.push_back(Event::Say(level, text));
    }

    /// Offers a service to those whom `policy` admits. There is no service without a policy.
    pub fn serve(&mut self, service: Handle, policy: Policy) {
        self.services.insert(service, policy);
    }

    /// Offers a service no more.
    pub fn withdraw(&mut self, service: Handle) {
        self.services.remove(&service);
    }

    /// Whether `peer`, on behalf of `auth`, satisfies `policy` here.
    pub fn permits(&self, policy: Policy, peer: ContextId, auth: ContextId) -> bool {
        let link = self.router.link_to(peer).and_then(|link| self.links.get(&link));
        self.router.permits(policy, auth, link.and_then(|link| link.child))
    }

    /// A link to a child that is about to be connected; it is reachable from now on, frames for it wait.
    pub fn add_child(&mut self, child: ContextId) -> Option<LinkId> {
        let link = LinkId(self.next_link);
        // A connect that passed through here announced the child over another link only if its number was used twice.
        if !self.router.add(child, link, self.router.id()) {
            return None;
        }
        self.next_link += 1;
        self.links.insert(link, Link::new(Some(child)));
        Some(link)
    }

    /// Has what a neighbour sends act with the authority of `authority`, and not with its own, and go to all that is below: for
    /// one that has proved to be that one's user. What is behind it has proved nothing, and stays what it is.
    pub fn set_authority(&mut self, link: LinkId, authority: ContextId) {
        if let Some(state) = self.links.get_mut(&link) {
            state.authority = Some(authority);
            if let Some(guest) = state.child {
                self.router.admit(guest);
            }
        }
    }

    /// A number for a context that the root itself starts; none at other nodes, and none when all are used.
    pub fn new_context(&mut self) -> Option<ContextId> {
        self.router.up().is_none().then(|| self.grants.one())?
    }

    /// Grants numbers to a context below: the first, and how many. None where it has too many, and at other nodes than the
    /// root. Every node on the way learns of it first.
    pub fn grant(&mut self, owner: ContextId) -> Option<(ContextId, u32)> {
        let link = self.router.link_down(owner).filter(|_| self.router.up().is_none())?;
        let now = self.now;
        let state = self.links.get_mut(&link)?;
        state.numbers.take(now, BLOCKS_AT_ONCE, BLOCKS_EACH_SECOND).then_some(())?;
        let (first, count) = self.grants.block(owner, link)?;
        self.control(link, Kind::Grant, [first.0.to_le_bytes(), owner.0.to_le_bytes()].concat());
        Some((first, count))
    }

    /// Lets two contexts talk that are not each other's ancestors, or forbids it again. Only the root may want this; it
    /// is carried out where their ways part.
    pub fn pair(&mut self, one: ContextId, other: ContextId, open: bool) {
        let (Some(first), Some(second)) = (self.router.link_down(one), self.router.link_down(other)) else {
            return;
        };
        if first == second {
            let mut payload = [one.0.to_le_bytes(), other.0.to_le_bytes()].concat();
            payload.push(open.into());
            return self.control(first, Kind::Pair, payload);
        }
        self.router.pair(one, other, open);
        if !open {
            self.part(one, other, Reason::Isolated, "the path between them was closed");
            self.part(other, one, Reason::Isolated, "the path between them was closed");
        }
    }

    /// Tells the ancestors of a child whose connect they have not seen pass.
    pub fn announce(&mut self, child: ContextId) {
        self.tell_parent(&RouteNews::Added(child, self.id()));
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
        core::mem::take(&mut self.dirty)
    }

    /// Moves frames of `link` into `out` until it holds at least `enough` bytes. Whether secrets were among them.
    pub fn transmit(&mut self, link: LinkId, out: &mut Vec<u8>, enough: usize) -> bool {
        let Some(state) = self.links.get_mut(&link) else { return false };
        let mut passed: Vec<(LinkId, usize)> = Vec::new();
        let mut note = |from, size| match passed.last_mut() {
            Some((last, sum)) if *last == from => *sum += size,
            _ => passed.push((from, size)),
        };
        let mut shown = Vec::new();
        let show = self.shows_frames.then_some(&mut shown);
        let secret = state.transmit(out, enough, &mut note, &mut self.used, show);
        for (header, length) in shown {
            let frame = ShownFrame { came: false, link, header, length };
            self.events.push_back(Event::Frame(frame));
        }
        for (from, size) in passed {
            self.discharge(from, size);
        }
        self.relieve(link);
        self.tell_lost(link);
        secret
    }

    /// How many bytes wait to go out over `link`.
    pub fn queued(&self, link: LinkId) -> usize {
        self.links.get(&link).map_or(0, Link::queued)
    }

    /// How many bytes wait to go out over all links, and of frames that are not whole yet.
    pub fn held(&self) -> usize {
        self.links.values().map(|state| state.queued() + state.decoder.pending()).sum()
    }

    /// How many flows there are.
    pub fn flows(&self) -> usize {
        self.flows.len()
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
        if payload.len() > MAX_PAYLOAD {
            let text = format!("a {kind:?} of {} bytes does not fit a frame", payload.len());
            return self.say(Level::ERROR, text);
        }
        let header = Header::new(kind, self.id(), ContextId(0));
        // A neighbour that asks, or has somebody behind it who is to go, and does not read is soon not read from either.
        let cause = matches!(kind, Kind::Pong | Kind::Expel).then_some(link);
        let _always_fits = self.enqueue(cause, link, Frame::new(header, payload));
    }

    /// Tells a child who it is, before anything else that waits for it.
    pub fn boot(&mut self, link: LinkId, boot: &BootInfo) {
        let header = Header::new(Kind::Boot, self.id(), boot.id);
        let payload = codec::own(boot);
        if let Some(state) = self.links.get_mut(&link) {
            state.lanes.push_first(Frame::new(header, payload));
            self.dirty.push(link);
        }
    }

    /// Tells all children, those that are still connecting as well, which log records are wanted from now on.
    pub fn pass_filter(&mut self, filter: &[u8]) {
        for link in self.links.keys() {
            if self.router.up() != Some(link) {
                self.control(link, Kind::Filter, filter.to_vec());
            }
        }
    }

    /// Sends a log record to the root.
    pub fn log(&mut self, payload: Vec<u8>) {
        if let Some(up) = self.router.up() {
            let header = Header { handle: Handle::LOG, ..Header::new(Kind::Log, self.id(), ContextId::ROOT) };
            let _counted_where_too_much_waits = self.enqueue(None, up, Frame::new(header, payload));
        }
    }

    /// Says how many log records did not fit a link, as soon as that fits.
    fn tell_lost(&mut self, link: LinkId) {
        let lost = self.links.get(&link).map_or(0, |state| state.lost_logs);
        if lost > 0 {
            self.log(LogRecord::of_lost(lost).encode());
        }
        if let Some(state) = self.links.get_mut(&link) {
            state.lost_logs = if state.lost_logs == lost { 0 } else { lost };
        }
    }
}
