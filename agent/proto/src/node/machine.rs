//! State machine of a node, without any input or output: routes, flows and links.
//!
//! Inputs are received bytes, the time and the requests of this process. Outputs are bytes to send
//! and [`Event`]s. There is no descriptor, clock or thread, so that whole trees run in one test.
//! After every call the owner drains [`Node::poll_event`] and calls [`Node::transmit`] for each
//! link of [`Node::take_dirty`]. It calls [`Node::expire`] at the time of [`Node::next_due`].

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

/// Number of protocol violations after which a link is ended.
pub(crate) const OFFENCES: u32 = 64;

/// Parameters of a flow to open.
#[derive(Copy, Clone, Default)]
pub struct Opening {
    /// Number of additional flows, each of one direction; at most 8.
    pub streams: u8,
    /// Bit n is set if the n-th additional flow carries bytes to the opener.
    pub answering: u8,
    /// Number of the new context, for a connect.
    pub new_context: Option<ContextId>,
    /// True if the request holds a secret.
    pub secret: bool,
    /// True if more of the request follows.
    pub more: bool,
}

/// State machine of a node.
pub struct Node {
    /// Routes.
    pub router: RoutingTable,
    /// Links.
    pub(crate) links: SortedMap<LinkId, Link>,
    /// Flows.
    pub(crate) flows: FlowTable,
    /// Services with their policies.
    pub(crate) services: SortedMap<Handle, Policy>,
    /// Events that the owner has not polled yet.
    pub(crate) events: VecDeque<Event>,
    /// Links with new frames to send; may contain duplicates.
    pub(crate) dirty: Vec<LinkId>,
    /// Handle of the next flow.
    pub(crate) next_handle: u32,
    next_link: u32,
    /// Context numbers granted to contexts below.
    pub(crate) grants: IdGrants,
    /// Bytes by which all receive windows together may still grow.
    pub(crate) growth_left: u64,
    /// Bytes queued because of all children.
    pub(crate) bytes_attributed: usize,
    /// Time in milliseconds.
    pub(crate) now: u64,
    /// Payload buffers for reuse.
    pub(crate) used: Vec<Vec<u8>>,
    /// True if frames are reported as events.
    pub(crate) shows_frames: bool,
    /// Times at which links are checked, earliest first.
    pub(crate) heartbeat_queue: BinaryHeap<Reverse<(u64, LinkId)>>,
}

impl Node {
    /// Creates the root of a tree.
    pub fn root() -> Self {
        Self::with_router(RoutingTable::new(ContextId::ROOT, Vec::new(), None))
    }

    /// Creates an agent, whose parent will send its identity, and its link to the parent.
    pub fn agent() -> (Self, LinkId) {
        let up = LinkId(0);
        let mut node =
            Self::with_router(RoutingTable::new(ContextId(u32::MAX), Vec::new(), Some(up)));
        node.next_link = 1;
        node.links.insert(up, Link::new(None));
        (node, up)
    }

    fn with_router(router: RoutingTable) -> Self {
        Self {
            router,
            links: SortedMap::default(),
            flows: FlowTable::default(),
            services: SortedMap::default(),
            events: VecDeque::new(),
            dirty: Vec::new(),
            next_handle: Handle::FIRST_FLOW.0,
            next_link: 0,
            grants: IdGrants::default(),
            growth_left: GROWTH_OF_ALL,
            bytes_attributed: 0,
            now: 0,
            used: Vec::new(),
            shows_frames: false,
            heartbeat_queue: BinaryHeap::new(),
        }
    }

    /// Returns the number of this context.
    pub fn id(&self) -> ContextId {
        self.router.id()
    }

    /// Sets whether every frame sent or received is reported as an event.
    pub fn show_frames(&mut self, shown: bool) {
        self.shows_frames = shown;
    }

    /// Reports a message for the log of this process. The owner decides what becomes of it.
    pub fn say(&mut self, level: Level, text: String) {
        self.events.push_back(Event::Say(level, text));
    }

    /// Offers a service to contexts that `policy` admits. There is no service without a policy.
    pub fn serve(&mut self, service: Handle, policy: Policy) {
        self.services.insert(service, policy);
    }

    /// Withdraws a service.
    pub fn withdraw(&mut self, service: Handle) {
        self.services.remove(&service);
    }

    /// Returns true if `peer`, on behalf of `auth`, satisfies `policy` at this node.
    pub fn permits(&self, policy: Policy, peer: ContextId, auth: ContextId) -> bool {
        let link = self
            .router
            .link_to(peer)
            .and_then(|link| self.links.get(&link));
        self.router
            .permits(policy, auth, link.and_then(|link| link.child))
    }

    /// Adds the link of a child that is about to connect. Frames for the child are queued from now
    /// on. Returns `None` if the number is in use.
    pub fn add_child(&mut self, child: ContextId) -> Option<LinkId> {
        let link = LinkId(self.next_link);
        // Another link can have announced the child only if its number was used twice.
        if !self.router.add(child, link, self.router.id()) {
            return None;
        }
        self.next_link += 1;
        self.links.insert(link, Link::new(Some(child)));
        Some(link)
    }

    /// Gives the neighbour at `link` the authority of `authority`, and access to everything below.
    /// Used for a process that has authenticated as that context's user. Contexts behind the
    /// neighbour did not authenticate and keep their own authority.
    pub fn set_authority(&mut self, link: LinkId, authority: ContextId) {
        if let Some(state) = self.links.get_mut(&link) {
            state.authority = Some(authority);
            if let Some(guest) = state.child {
                self.router.admit(guest);
            }
        }
    }

    /// Allocates the number of a context that the root starts itself. Returns `None` at other nodes
    /// and if no numbers are left.
    pub fn new_context(&mut self) -> Option<ContextId> {
        self.router.up().is_none().then(|| self.grants.one())?
    }

    /// Grants a block of numbers to a context below. Returns the first number and their count;
    /// `None` if the context holds too many, or at nodes other than the root. Every node on the
    /// path learns of the grant first.
    pub fn grant(&mut self, owner: ContextId) -> Option<(ContextId, u32)> {
        let link = self
            .router
            .link_down(owner)
            .filter(|_| self.router.up().is_none())?;
        let now = self.now;
        let state = self.links.get_mut(&link)?;
        state
            .numbers
            .take(now, BLOCKS_AT_ONCE, BLOCKS_EACH_SECOND)
            .then_some(())?;
        let (first, count) = self.grants.block(owner, link)?;
        self.control(
            link,
            Kind::Grant,
            [first.0.to_le_bytes(), owner.0.to_le_bytes()].concat(),
        );
        Some((first, count))
    }

    /// Allows or forbids two contexts below to talk although neither is an ancestor of the other.
    /// Used by the root; takes effect at the node where their paths part.
    pub fn pair(&mut self, one: ContextId, other: ContextId, open: bool) {
        let (Some(first), Some(second)) =
            (self.router.link_down(one), self.router.link_down(other))
        else {
            return;
        };
        if first == second {
            let mut payload = [one.0.to_le_bytes(), other.0.to_le_bytes()].concat();
            payload.push(open.into());
            return self.control(first, Kind::Pair, payload);
        }
        self.router.pair(one, other, open);
        if !open {
            self.part(
                one,
                other,
                Reason::Isolated,
                "the path between them was closed",
            );
            self.part(
                other,
                one,
                Reason::Isolated,
                "the path between them was closed",
            );
        }
    }

    /// Tells the ancestors of a child about it, if its connect request has not passed them.
    pub fn announce(&mut self, child: ContextId) {
        self.tell_parent(&RouteNews::Added(child, self.id()));
    }

    /// Removes and returns the next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns true if there is an event.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Removes and returns the links with new frames to send.
    pub fn take_dirty(&mut self) -> Vec<LinkId> {
        core::mem::take(&mut self.dirty)
    }

    /// Moves frames of `link` into `out` until it holds at least `enough` bytes. Returns true if
    /// any holds a secret.
    pub fn transmit(&mut self, link: LinkId, out: &mut Vec<u8>, enough: usize) -> bool {
        let Some(state) = self.links.get_mut(&link) else {
            return false;
        };
        let mut passed: Vec<(LinkId, usize)> = Vec::new();
        let mut note = |from, size| match passed.last_mut() {
            Some((last, sum)) if *last == from => *sum += size,
            _ => passed.push((from, size)),
        };
        let mut shown = Vec::new();
        let show = self.shows_frames.then_some(&mut shown);
        let secret = state.transmit(out, enough, &mut note, &mut self.used, show);
        for (header, length) in shown {
            let frame = ShownFrame {
                came: false,
                link,
                header,
                length,
            };
            self.events.push_back(Event::Frame(frame));
        }
        for (from, size) in passed {
            self.discharge(from, size);
        }
        self.resume_waiting(link);
        self.report_lost_logs(link);
        secret
    }

    /// Returns the number of bytes queued for `link`.
    pub fn queued(&self, link: LinkId) -> usize {
        self.links.get(&link).map_or(0, Link::queued)
    }

    /// Returns the number of bytes queued for all links, incomplete incoming frames included.
    pub fn held(&self) -> usize {
        self.links
            .values()
            .map(|state| state.queued() + state.decoder.pending())
            .sum()
    }

    /// Returns the number of flows.
    pub fn flows(&self) -> usize {
        self.flows.len()
    }

    /// Records that a child has said hello.
    pub fn link_up(&mut self, link: LinkId) {
        if let Some(link) = self.links.get_mut(&link) {
            link.is_up();
        }
        self.dirty.push(link);
    }

    /// Records that a child's bootstrap starts again, so that early frames are sent again.
    pub fn link_restart(&mut self, link: LinkId) {
        if let Some(link) = self.links.get_mut(&link) {
            link.restart();
        }
        self.dirty.push(link);
    }

    /// Sends a link-local frame.
    pub fn control(&mut self, link: LinkId, kind: Kind, payload: Vec<u8>) {
        if payload.len() > MAX_PAYLOAD {
            let text = format!("a {kind:?} of {} bytes does not fit a frame", payload.len());
            return self.say(Level::ERROR, text);
        }
        let header = Header::new(kind, self.id(), ContextId(0));
        // Answers and expulsions are attributed to the neighbour, so that a neighbour that does not
        // read them is soon not read from.
        let cause = matches!(kind, Kind::Pong | Kind::Expel).then_some(link);
        let _always_fits = self.enqueue(cause, link, Frame::new(header, payload));
    }

    /// Sends a child its identity, before all queued frames.
    pub fn boot(&mut self, link: LinkId, boot: &BootInfo) {
        let header = Header::new(Kind::Boot, self.id(), boot.id);
        let payload = codec::own(boot);
        if let Some(state) = self.links.get_mut(&link) {
            state.queue.push_first(Frame::new(header, payload));
            self.dirty.push(link);
        }
    }

    /// Sends a log filter to all children, including those that are still connecting.
    pub fn pass_filter(&mut self, filter: &[u8]) {
        for link in self.links.keys() {
            if self.router.up() != Some(link) {
                self.control(link, Kind::Filter, filter.to_vec());
            }
        }
    }

    /// Sends an encoded log record to the root.
    pub fn log(&mut self, payload: Vec<u8>) {
        if let Some(up) = self.router.up() {
            let header = Header {
                handle: Handle::LOG,
                ..Header::new(Kind::Log, self.id(), ContextId::ROOT)
            };
            let _counted_where_too_much_waits = self.enqueue(None, up, Frame::new(header, payload));
        }
    }

    /// Reports log records that did not fit the queue of a link, as soon as the report fits.
    fn report_lost_logs(&mut self, link: LinkId) {
        let lost = self.links.get(&link).map_or(0, |state| state.lost_logs);
        if lost > 0 {
            self.log(LogRecord::of_lost(lost).encode());
        }
        if let Some(state) = self.links.get_mut(&link) {
            state.lost_logs = if state.lost_logs == lost { 0 } else { lost };
        }
    }
}
