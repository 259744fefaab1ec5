//! One context of the simulated tree. **All contact with `Node` is in this file**: only this file
//! depends on its interface.

use super::end::End;
use super::plan::Step;
use offshoot_codec as codec;
use offshoot_proto::Reason;
use offshoot_proto::log::Filter;
use offshoot_proto::message::boot::BootInfo;
use offshoot_proto::node::{Event, Node, Opening};
use offshoot_proto::routing::Policy;
use offshoot_proto::wire::{Flags, Header, Kind};
use offshoot_proto::{ContextId, FlowKey, Handle, LinkId};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// First number that is granted to other contexts; the root uses lower ones itself.
pub(crate) const FIRST_GRANT: u32 = 512;
/// A service that admits every context.
pub(crate) const VISIT: Handle = Handle(99);
/// The link of every agent to its parent.
pub(crate) const UP: LinkId = LinkId(0);

/// Row of `Route` in the table of kinds; forged ones need a valid payload to have an effect.
pub(crate) const ROUTE: u8 = row(Kind::Route);
/// Row of `Open` in the table of kinds.
pub(crate) const OPEN: u8 = row(Kind::Open);

/// Returns the row of a kind in the table. Plans name kinds by their rows.
const fn row(kind: Kind) -> u8 {
    let mut row = 0;
    while Kind::ALL[row] as u8 != kind as u8 {
        row += 1;
    }
    row as u8
}

/// Event of a node, as far as the simulator acts on it.
#[derive(Clone)]
pub(crate) enum Happening {
    Opened {
        flow: FlowKey,
        service: Handle,
        child: Option<(u32, LinkId)>,
        bytes: Vec<u8>,
        end: bool,
    },
    Data {
        flow: FlowKey,
        bytes: Vec<u8>,
        end: bool,
    },
    Room(FlowKey),
    Closed(FlowKey, Reason),
    Booted,
    Hello(LinkId),
    Shutdown,
    Broken(LinkId, Reason, String),
    Pause(LinkId, bool),
    Log {
        from: u32,
        bytes: Vec<u8>,
    },
    Other,
}

/// A context: its node, its links, and the users of its flows.
pub(crate) struct Place {
    node: Node,
    pub id: u32,
    /// Cable of each link.
    pub cables: BTreeMap<LinkId, usize>,
    /// Users of flows. Never iterated, because its order differs between runs.
    pub ends: HashMap<FlowKey, End>,
    /// True if the context has received its identity.
    pub booted: bool,
    /// Bytes queued for each link, and in all.
    queued: BTreeMap<LinkId, usize>,
    pub queued_sum: usize,
    /// Bytes that the users hold unread.
    pub unread: u64,
    /// Granted numbers, and connects that wait for a number.
    pub pool: VecDeque<u32>,
    pub wanting: Vec<Step>,
    /// Time of the next heartbeat check on the agenda, and lead of the clock, in milliseconds.
    pub beat_at: Option<u64>,
    pub ahead: u64,
    pub jumped: Option<u64>,
}

impl Place {
    fn new(id: u32, mut node: Node, obey_anyone: bool) -> Self {
        node.serve(VISIT, Policy::Anyone);
        for service in [Handle::CALL, Handle::CONNECT, Handle::EXEC] {
            node.serve(service, Policy::Ancestors);
        }
        if obey_anyone {
            node.serve(Handle::CALL, Policy::Descendants);
        }
        Self {
            node,
            id,
            cables: BTreeMap::new(),
            ends: HashMap::new(),
            booted: false,
            queued: BTreeMap::new(),
            queued_sum: 0,
            unread: 0,
            pool: VecDeque::new(),
            wanting: Vec::new(),
            beat_at: None,
            ahead: 0,
            jumped: None,
        }
    }

    /// Creates the root. One that obeys everybody is used to test the tests.
    pub(crate) fn root(obey_anyone: bool) -> Self {
        let mut place = Self::new(0, Node::root(), obey_anyone);
        for _ in 1..FIRST_GRANT {
            place.node.new_context();
        }
        place.node.serve(Handle::ALLOCATE, Policy::Descendants);
        place.booted = true;
        place
    }

    /// Creates an agent that has just started: it says hello and waits for its identity.
    pub(crate) fn agent(id: u32) -> Self {
        let (node, up) = Node::agent();
        debug_assert_eq!(up, UP);
        let mut place = Self::new(id, node, false);
        place.node.control(UP, Kind::Hello, Vec::new());
        place
    }

    /// Sets the virtual time in milliseconds.
    pub(crate) fn set_time(&mut self, ms: u64) {
        self.node.set_time(ms + self.ahead);
    }

    /// Checks heartbeats.
    pub(crate) fn expire(&mut self, ms: u64) {
        self.node.expire(ms + self.ahead);
    }

    /// Returns the time of the next heartbeat check.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.node
            .next_due()
            .map(|due| due.saturating_sub(self.ahead))
    }

    /// Begins heartbeats on the link of a child.
    pub(crate) fn beat(&mut self, link: LinkId, every: u64) {
        self.node.beat(link, every);
    }

    /// Grants numbers to a context below.
    pub(crate) fn grant(&mut self, owner: u32) -> Option<(u32, u32)> {
        self.node
            .grant(ContextId(owner))
            .map(|(first, count)| (first.0, count))
    }

    pub(crate) fn pair(&mut self, one: u32, other: u32, open: bool) {
        self.node.pair(ContextId(one), ContextId(other), open);
    }

    pub(crate) fn next(&mut self) -> Option<Happening> {
        Some(match self.node.poll_event()? {
            Event::Opened {
                flow,
                service,
                child,
                bytes,
                end,
                ..
            } => Happening::Opened {
                flow,
                service,
                child: child.map(|(id, link)| (id.0, link)),
                bytes,
                end,
            },
            Event::Data { flow, bytes, end } => Happening::Data { flow, bytes, end },
            Event::Room(flow) => Happening::Room(flow),
            Event::Closed { flow, letter } => Happening::Closed(flow, letter.reason),
            Event::Boot(boot) => {
                self.node.beat(UP, boot.heartbeat.into());
                Happening::Booted
            }
            Event::Control {
                link,
                kind: Kind::Hello,
                ..
            } => Happening::Hello(link),
            Event::Control {
                kind: Kind::Shutdown,
                ..
            } => Happening::Shutdown,
            Event::Control {
                link,
                kind: Kind::Ping,
                ..
            } => {
                self.node.control(link, Kind::Pong, Vec::new());
                Happening::Other
            }
            Event::Broken { link, reason, why } => Happening::Broken(link, reason, why),
            Event::Pause(link) => Happening::Pause(link, true),
            Event::Resume(link) => Happening::Pause(link, false),
            Event::Log { from, bytes } => Happening::Log {
                from: from.0,
                bytes,
            },
            _ => Happening::Other,
        })
    }

    /// Returns the links with bytes to send.
    pub(crate) fn dirty(&mut self) -> Vec<LinkId> {
        let mut links = self.node.take_dirty();
        links.sort_unstable();
        links.dedup();
        links
    }

    /// Updates the number of bytes queued for `link`.
    pub(crate) fn weigh(&mut self, link: LinkId) {
        let now = self.node.queued(link);
        let before = self.queued.insert(link, now).unwrap_or(0);
        self.queued_sum = self.queued_sum + now - before;
        if now == 0 {
            self.queued.remove(&link);
        }
    }

    pub(crate) fn transmit(&mut self, link: LinkId, out: &mut Vec<u8>, enough: usize) {
        self.node.transmit(link, out, enough);
    }

    pub(crate) fn receive(&mut self, link: LinkId, bytes: &[u8]) {
        self.node.receive(link, bytes);
    }

    pub(crate) fn open(
        &mut self,
        dst: u32,
        service: Handle,
        bytes: &[u8],
        opening: Opening,
    ) -> (FlowKey, usize) {
        self.node.open(ContextId(dst), service, bytes, opening)
    }

    pub(crate) fn send(&mut self, flow: FlowKey, bytes: &[u8], end: bool) -> Option<usize> {
        self.node.send(flow, bytes, end, false)
    }

    pub(crate) fn consume(&mut self, flow: FlowKey, length: usize) {
        self.node.consume(flow, length);
    }

    pub(crate) fn reset(&mut self, flow: FlowKey) {
        self.node.reset(flow, Reason::Cancelled, "given up");
    }

    /// Returns true if the node has state for a flow.
    pub(crate) fn knows(&self, flow: FlowKey) -> bool {
        self.node.knows(flow)
    }

    pub(crate) fn log(&mut self, bytes: Vec<u8>) {
        self.node.log(bytes);
    }

    pub(crate) fn shut_down(&mut self, link: LinkId) {
        self.node.control(link, Kind::Shutdown, Vec::new());
    }

    /// Sends a child its identity, before everything else.
    pub(crate) fn name_child(&mut self, link: LinkId, child: u32, announce: bool, heartbeat: u32) {
        let id = ContextId(child);
        if announce {
            self.node.announce(id);
        }
        let mut ancestors = vec![self.node.id()];
        ancestors.extend_from_slice(self.node.router.ancestors());
        self.node.boot(
            link,
            &BootInfo {
                id,
                ancestors,
                name: String::new(),
                filter: Filter::default(),
                heartbeat,
            },
        );
    }

    pub(crate) fn link_up(&mut self, link: LinkId) {
        self.node.link_up(link);
    }

    pub(crate) fn restart(&mut self, link: LinkId) {
        self.node.link_restart(link);
    }

    pub(crate) fn lost(&mut self, link: LinkId, connecting: bool) {
        let reason = if connecting {
            Reason::ConnectFailed
        } else {
            Reason::Lost
        };
        self.node.link_lost(link, reason, "cut");
        self.weigh(link);
    }

    /// Returns the link over which `id` is reached.
    pub(crate) fn way_to(&self, id: u32) -> Option<LinkId> {
        self.node.router.link_to(ContextId(id))
    }

    /// Returns all routes to contexts below.
    pub(crate) fn routes(&self) -> Vec<(u32, LinkId)> {
        let mut routes: Vec<_> = self
            .node
            .router
            .below()
            .map(|(id, link)| (id.0, link))
            .collect();
        routes.sort_unstable();
        routes
    }

    /// Breaks the router to test the tests.
    pub(crate) fn forget_route(&mut self, id: u32, link: LinkId) {
        self.node.router.remove(ContextId(id), link);
    }

    /// Breaks the router to test the tests.
    pub(crate) fn keep_route(&mut self, id: u32, link: LinkId) {
        self.node.router.add(ContextId(id), link, self.node.id());
    }
}

/// The parts of a frame that relays see, read from its bytes according to the table in `wire`.
pub(crate) struct Glance {
    pub kind: u8,
    pub size: usize,
    pub src: u32,
    pub dst: u32,
    pub handle: u32,
    pub reply_to: u32,
}

impl Glance {
    pub(crate) fn at(bytes: &[u8]) -> Self {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Self {
            kind: bytes[3],
            size: offshoot_proto::wire::HEADER_LEN + word(4) as usize,
            dst: word(8),
            src: word(12),
            handle: word(20),
            reply_to: word(24),
        }
    }

    pub(crate) fn is_call(&self) -> bool {
        self.kind == Kind::Open as u8 && self.handle == Handle::CALL.0
    }

    pub(crate) fn is_bulk(&self) -> bool {
        self.kind == Kind::Data as u8
    }
}

/// Forged route news, with the encoding of the node's own.
#[derive(serde::Serialize)]
enum Claim {
    Added(ContextId, ContextId),
    Gone {
        contexts: Vec<ContextId>,
        reason: Reason,
        text: String,
    },
}

/// Returns a forged frame.
pub(crate) fn forged(frame: &super::plan::Forgery, mark: &[u8]) -> (Header, Vec<u8>) {
    let header = Header {
        kind: Kind::ALL[usize::from(frame.kind) % Kind::ALL.len()],
        flags: Flags(frame.flags & 15),
        dst: ContextId(frame.dst),
        src: ContextId(frame.src),
        auth: ContextId(frame.auth),
        handle: Handle(frame.handle),
        reply_to: Handle(frame.reply_to),
        streams: frame.streams,
        answering: frame.answering,
        offset: frame.offset,
    };
    let id = ContextId(frame.offset as u32);
    let payload = match header.kind {
        Kind::Route if frame.flags & 1 == 0 => {
            codec::to_bytes(&Claim::Added(id, ContextId(frame.src))).unwrap_or_default()
        }
        Kind::Route => codec::to_bytes(&Claim::Gone {
            contexts: vec![id],
            reason: Reason::Lost,
            text: "gone".into(),
        })
        .unwrap_or_default(),
        Kind::Choke | Kind::Free if frame.flags & 1 == 0 => Vec::new(),
        Kind::Choke | Kind::Free | Kind::Pair | Kind::Grant => {
            let names = [frame.dst, frame.src, frame.auth]
                .map(u32::to_le_bytes)
                .concat();
            if header.kind == Kind::Pair {
                [&names[..8], &[1]].concat()
            } else {
                names
            }
        }
        Kind::Expel => {
            codec::to_bytes(&(ContextId(frame.dst), String::from("expelled"))).unwrap_or_default()
        }
        _ => mark
            .iter()
            .copied()
            .cycle()
            .take(frame.size as usize)
            .collect(),
    };
    (header, payload)
}
