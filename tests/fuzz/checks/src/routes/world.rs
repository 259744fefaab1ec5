//! The tree: nodes, the cables between them, and the actions of each broker.

use super::record::{self, Record};
use offshoot_proto::Reason;
use offshoot_proto::collections::steps::counted as steps;
use offshoot_proto::log::Filter;
use offshoot_proto::message::boot::BootInfo;
use offshoot_proto::node::{Event, FAVOUR, FAVOURED, LENT, Node, Opening};
use offshoot_proto::routing::Policy;
use offshoot_proto::wire::{Decoder, Frame, HEADER_LEN, Kind, MAX_PAYLOAD};
use offshoot_proto::{ContextId, FlowKey, Handle, LinkId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub(super) const UP: LinkId = LinkId(0);
/// The most contexts of one run.
const CONTEXTS: usize = 12;
/// Bytes carried over a cable per turn while the tree settles.
const TURN: usize = 2 * MAX_PAYLOAD;
/// A service with policy `Anyone`.
pub(super) const OPEN_TO_ALL: Handle = Handle(77);
/// The length of a request for ids.
const ASKED: usize = 3;
/// Bytes that may be queued for a connecting child, without the boot message and repeated frames.
const CONNECTING: usize = (4 << 20) + (512 << 10);

/// Watches of every node on each of its children: the cost of a frame must not depend on them.
const BALLAST: usize = 300;
/// List entries that a node may visit per received frame, and per event.
const STEPS: u64 = 200;

/// One direction of a cable. Frames are decoded and renumbered, so that forged ones can be
/// inserted.
#[derive(Default)]
pub(super) struct Lane {
    decoder: Decoder,
    pub frames: VecDeque<Frame>,
    pub sequence: u32,
}

/// A link between two nodes.
pub(super) struct Cable {
    pub parent: ContextId,
    pub link: LinkId,
    pub child: ContextId,
    pub down: Lane,
    pub up: Lane,
}

/// A connecting child.
struct Connecting {
    parent: ContextId,
    link: LinkId,
    child: ContextId,
    down: Lane,
}

/// A whole tree.
pub(super) struct World {
    pub nodes: BTreeMap<ContextId, Node>,
    pub cables: Vec<Cable>,
    connecting: Vec<Connecting>,
    pub flows: Vec<(ContextId, FlowKey)>,
    pub record: Record,
    /// Every requested context, in order.
    pub names: Vec<ContextId>,
    /// Granted and unused ids by context.
    granted: BTreeMap<ContextId, VecDeque<ContextId>>,
    /// Ids granted on a flow whose reply has not arrived yet.
    answers: BTreeMap<(ContextId, FlowKey), (ContextId, u32)>,
    /// Links that are not read from at present.
    pub paused: BTreeSet<(ContextId, LinkId)>,
    /// Milliseconds since the start.
    now: u64,
    /// Seconds between heartbeats; 0 for none.
    heartbeat: u32,
    /// Time of the last input and heartbeat interval of each link.
    heard: BTreeMap<(ContextId, LinkId), (u64, u64)>,
    /// The remaining number of frames forged in bulk, for speed.
    pub forgeries: u32,
    /// Bytes injected or sent, and steps taken: the bound for everything queued.
    pub put_in: usize,
    /// The watches of [`BALLAST`].
    ballast: BTreeSet<(ContextId, FlowKey)>,
    /// Entries visited by each node and the allowance, since its events were last handled.
    cost: BTreeMap<ContextId, (u64, u64)>,
}

fn serve(node: &mut Node) {
    for service in [Handle::CALL, Handle::EXEC, Handle::CONNECT] {
        node.serve(service, Policy::Ancestors);
    }
    node.serve(OPEN_TO_ALL, Policy::Anyone);
}

impl World {
    pub(super) fn grown(pairs: &[(u32, u32)], heartbeat: u32) -> Self {
        let mut root = Node::root();
        serve(&mut root);
        root.serve(Handle::ALLOCATE, Policy::Descendants);
        let mut world = Self {
            nodes: BTreeMap::from([(ContextId::ROOT, root)]),
            cables: Vec::new(),
            connecting: Vec::new(),
            flows: Vec::new(),
            record: Record::default(),
            names: vec![ContextId::ROOT],
            granted: BTreeMap::new(),
            answers: BTreeMap::new(),
            paused: BTreeSet::new(),
            now: 0,
            heartbeat,
            heard: BTreeMap::new(),
            forgeries: 1000,
            put_in: 0,
            ballast: BTreeSet::new(),
            cost: BTreeMap::new(),
        };
        for (parent, _) in pairs {
            world.order(ContextId::ROOT, ContextId(*parent));
            world.settle();
            world.bring_up(0);
            world.settle();
        }
        world
    }

    /// Returns a context by its index, or a nonexistent one.
    pub(super) fn name(&self, number: usize) -> ContextId {
        self.names
            .get(number)
            .copied()
            .unwrap_or(ContextId(1_000_000))
    }

    pub(super) fn open(
        &mut self,
        from: ContextId,
        to: ContextId,
        service: Handle,
        length: usize,
        opening: Opening,
    ) -> usize {
        let Some(node) = named(&mut self.nodes, from) else {
            return 0;
        };
        let (flow, taken) = node.open(to, service, &record::opening(from, length), opening);
        self.put_in += taken;
        *self.record.questions.entry(from).or_default() += 1 + usize::from(opening.streams);
        self.record
            .opened_here(from, flow, opening.streams, opening.answering);
        self.record.sent(from, flow, taken, taken == length);
        for stream in 0..=u32::from(opening.streams) {
            self.flows.push((
                from,
                FlowKey {
                    handle: Handle(flow.handle.0 + stream),
                    ..flow
                },
            ));
        }
        taken
    }

    pub(super) fn send(&mut self, at: ContextId, flow: FlowKey, length: usize, end: bool) -> usize {
        let Some(node) = self.nodes.get_mut(&at) else {
            return 0;
        };
        let bytes = self.record.bytes(at, flow, length);
        let room = node.room(flow);
        let Some(taken) = node.send(flow, &bytes, end, false) else {
            return 0;
        };
        assert!(
            room.is_some_and(|room| taken <= room),
            "not beyond the credit"
        );
        self.put_in += taken;
        self.record.sent(at, flow, taken, end && taken == length);
        if taken < length {
            self.record.starved.insert((at, flow));
        }
        taken
    }

    pub(super) fn consume(&mut self, at: ContextId, flow: FlowKey, length: usize) {
        if let Some(node) = self.nodes.get_mut(&at) {
            node.consume(flow, length);
            self.record.consumed(at, flow, length);
        }
    }

    pub(super) fn reset(&mut self, at: ContextId, flow: FlowKey) {
        if let Some(node) = self.nodes.get_mut(&at) {
            if node.knows(flow) {
                self.record.reset_here(at, flow);
            }
            node.reset(flow, Reason::Cancelled, "no more");
        }
    }

    /// `from` requests ids from the root.
    pub(super) fn ask(&mut self, from: ContextId) {
        self.open(
            from,
            ContextId::ROOT,
            Handle::ALLOCATE,
            ASKED,
            Opening::default(),
        );
    }

    /// The root answers a request for ids.
    fn grant(&mut self, flow: FlowKey) {
        let Some(root) = self.nodes.get_mut(&ContextId::ROOT) else {
            return;
        };
        let Some((first, count)) = root.grant(flow.peer) else {
            return;
        };
        (first.0..first.0 + count).for_each(|id| self.record.handed_out(ContextId(id)));
        self.answers
            .insert(record::mirrored(ContextId::ROOT, flow), (first, count));
        self.send(ContextId::ROOT, flow, 1, true);
    }

    /// The root opens or closes a path.
    pub(super) fn pair(&mut self, one: ContextId, other: ContextId, open: bool) {
        if one != other
            && let Some(root) = self.nodes.get_mut(&ContextId::ROOT)
        {
            self.record
                .paired
                .extend(open.then_some((one.min(other), one.max(other))));
            root.pair(one, other, open);
        }
    }

    /// `from` tells `parent` to connect a new context.
    pub(super) fn order(&mut self, from: ContextId, parent: ContextId) {
        if self.names.len() >= CONTEXTS {
            return;
        }
        let Some(node) = named(&mut self.nodes, from) else {
            return;
        };
        let child = if from == ContextId::ROOT {
            let child = node.new_context().expect("they do not run out");
            self.record.handed_out(child);
            child
        } else {
            let Some(child) = self.granted.get_mut(&from).and_then(VecDeque::pop_front) else {
                return;
            };
            child
        };
        self.names.push(child);
        let opening = Opening {
            new_context: Some(child),
            ..Opening::default()
        };
        let (flow, _) = node.open(parent, Handle::CONNECT, b"", opening);
        self.record.opened_here(from, flow, 0, 0);
        self.record.sent(from, flow, 0, true);
        self.record.ordered.insert(child, parent);
        self.flows.push((from, flow));
    }

    /// Advances the time: nodes check their links.
    pub(super) fn pass(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        for node in self.nodes.values_mut() {
            node.set_time(self.now);
            if node.next_due().is_some_and(|due| due <= self.now) {
                node.expire(self.now);
            }
        }
    }

    fn beat(&mut self, at: ContextId, link: LinkId, seconds: u32) {
        if let Some(node) = self.nodes.get_mut(&at).filter(|_| seconds > 0) {
            let every = u64::from(seconds) * 1000;
            node.beat(link, every);
            self.heard.insert((at, link), (self.now, every));
        }
    }

    /// Delivers bytes over a link.
    pub(super) fn read(&mut self, at: ContextId, link: LinkId, bytes: &[u8]) {
        let Some(node) = self.nodes.get_mut(&at).filter(|_| !bytes.is_empty()) else {
            return;
        };
        let before = steps();
        node.receive(link, bytes);
        let (cost, frames) = self.cost.entry(at).or_default();
        *cost += steps() - before;
        *frames += 1 + (bytes.len() / HEADER_LEN) as u64;
        if let Some((heard, _)) = self.heard.get_mut(&(at, link)) {
            *heard = self.now;
        }
    }

    /// The agent of a connecting child sends its hello.
    pub(super) fn bring_up(&mut self, number: usize) {
        if self.connecting.is_empty() {
            return;
        }
        let Connecting {
            parent,
            link,
            child,
            down,
        } = self.connecting.remove(number % self.connecting.len());
        if self.nodes.contains_key(&child)
            || self.record.is_used(child, parent)
            || !self.nodes.contains_key(&parent)
        {
            // With a made-up id or a lost parent no child connects.
            if let Some(node) = self.nodes.get_mut(&parent) {
                node.link_lost(link, Reason::ConnectFailed, "nobody there");
            }
            return;
        }
        let (mut node, _) = Node::agent();
        serve(&mut node);
        node.set_time(self.now);
        node.control(UP, Kind::Hello, Vec::new());
        self.nodes.insert(child, node);
        self.record.alive(child, parent);
        self.cables.push(Cable {
            parent,
            link,
            child,
            down,
            up: Lane::default(),
        });
    }

    pub(super) fn fail_connect(&mut self, number: usize, reason: Reason) {
        if !self.connecting.is_empty() {
            let Connecting {
                parent,
                link,
                child,
                ..
            } = self.connecting.remove(number % self.connecting.len());
            self.record.dead(child);
            if let Some(node) = self.nodes.get_mut(&parent) {
                node.link_lost(link, reason, "it failed");
            }
        }
    }

    /// Restarts the bootstrap of a connecting child.
    pub(super) fn restart(&mut self, number: usize) {
        if !self.connecting.is_empty() {
            let at = number % self.connecting.len();
            let connecting = &mut self.connecting[at];
            connecting.down = Lane::default();
            if let Some(node) = self.nodes.get_mut(&connecting.parent) {
                node.link_restart(connecting.link);
            }
        }
    }

    /// Loses a link and with it all processes below.
    pub(super) fn cut(&mut self, number: usize) {
        if !self.cables.is_empty() {
            self.cut_at(number % self.cables.len());
        }
    }

    /// Loses the link to this child, if it exists.
    pub(super) fn cut_child(&mut self, child: ContextId) {
        if let Some(at) = self.cables.iter().position(|cable| cable.child == child) {
            self.cut_at(at);
        }
    }

    fn cut_at(&mut self, at: usize) {
        let Cable {
            parent,
            link,
            child,
            ..
        } = self.cables.swap_remove(at);
        if let Some(node) = self.nodes.get_mut(&parent) {
            node.link_lost(link, Reason::Lost, "cut");
        }
        self.die(child);
    }

    fn die(&mut self, context: ContextId) {
        if let Some(node) = self.nodes.get_mut(&context) {
            node.link_lost(UP, Reason::Lost, "cut");
            self.hear(context);
        }
        self.nodes.remove(&context);
        self.record.dead(context);
        self.connecting
            .retain(|connecting| connecting.parent != context);
        while let Some(at) = self.cables.iter().position(|cable| cable.parent == context) {
            let cable = self.cables.swap_remove(at);
            self.die(cable.child);
        }
    }

    /// Sends pings and log records.
    pub(super) fn chat(&mut self, at: ContextId, what: u8) {
        let links: Vec<LinkId> = self
            .cables
            .iter()
            .filter(|cable| cable.parent == at)
            .map(|cable| cable.link)
            .collect();
        let Some(node) = named(&mut self.nodes, at) else {
            return;
        };
        match what % 3 {
            0 => node.log(vec![0; usize::from(what)]),
            1 if at != ContextId::ROOT => node.control(UP, Kind::Ping, Vec::new()),
            _ => links
                .into_iter()
                .for_each(|link| node.control(link, Kind::Ping, Vec::new())),
        }
    }

    /// Carries up to `count` frames over one cable, split after `piece` bytes. Returns true if
    /// there were any.
    pub(super) fn carry(&mut self, number: usize, up: bool, count: usize, piece: usize) -> bool {
        if self.cables.is_empty() {
            return false;
        }
        let at = number % self.cables.len();
        let cable = &mut self.cables[at];
        let ends = [(cable.parent, cable.link), (cable.child, UP)];
        let (lane, [(from, outgoing), (to, link)]) = if up {
            (&mut cable.up, [ends[1], ends[0]])
        } else {
            (&mut cable.down, ends)
        };
        // Small counts are carried one by one.
        let (few, enough) = (count < 16, if count < 16 { 1 } else { TURN });
        while lane.frames.len() < count
            && take(self.nodes.get_mut(&from), outgoing, lane, enough)
            && few
        {}
        if lane.frames.is_empty() || self.paused.contains(&(to, link)) {
            return false;
        }
        let mut bytes = Vec::new();
        for frame in lane.frames.drain(..count.min(lane.frames.len())) {
            frame.encode(lane.sequence, &mut bytes);
            lane.sequence = lane.sequence.wrapping_add(1);
        }
        let (one, other) = bytes.split_at(piece.min(bytes.len()));
        self.read(to, link, one);
        self.read(to, link, other);
        true
    }

    /// Carries everything until the tree is idle.
    pub(super) fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 10_000, "it never comes to rest");
            let mut moved = self.listen();
            for connecting in &mut self.connecting {
                let node = self.nodes.get_mut(&connecting.parent);
                moved |= take(node, connecting.link, &mut connecting.down, usize::MAX);
            }
            for at in 0..self.cables.len() {
                for up in [false, true] {
                    moved |= self.carry(at, up, usize::MAX, usize::MAX);
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// Handles all events as the broker of each node would.
    pub(super) fn listen(&mut self) -> bool {
        let mut any = false;
        self.put_in += 1;
        loop {
            let contexts: Vec<ContextId> = self.nodes.keys().copied().collect();
            let heard = contexts
                .into_iter()
                .fold(false, |heard, context| self.hear(context) | heard);
            if !heard {
                break;
            }
            any = true;
        }
        self.bounded();
        any
    }

    fn hear(&mut self, at: ContextId) -> bool {
        let mut any = false;
        let (cost, mut frames) = self.cost.remove(&at).unwrap_or_default();
        while let Some(event) = self.nodes.get_mut(&at).and_then(Node::poll_event) {
            any = true;
            frames += 1;
            if let Event::Closed { flow, .. } = &event
                && self.ballast.remove(&(at, *flow))
            {
                continue;
            }
            self.record.event(at, &event);
            match event {
                Event::Opened {
                    flow,
                    streams,
                    child,
                    service,
                    bytes,
                    ..
                } => {
                    for stream in 0..=u32::from(streams) {
                        let handle = Handle(flow.handle.0.wrapping_add(stream));
                        self.flows.push((at, FlowKey { handle, ..flow }));
                    }
                    if service == Handle::ALLOCATE && bytes.len() == ASKED {
                        self.grant(flow);
                    }
                    if let Some((child, link)) = child {
                        self.accept(at, flow.peer, child, link);
                    }
                }
                Event::Data { flow, .. } => {
                    if let Some((first, count)) = self.answers.remove(&(at, flow)) {
                        let numbers = (first.0..first.0 + count).map(ContextId);
                        self.granted.entry(at).or_default().extend(numbers);
                    }
                }
                Event::Control {
                    link,
                    kind: Kind::Hello,
                    ..
                } => {
                    if let Some(node) = self.nodes.get_mut(&at) {
                        node.link_up(link);
                        let child = self
                            .cables
                            .iter()
                            .find(|cable| (cable.parent, cable.link) == (at, link));
                        let child = child.map_or(at, |cable| cable.child);
                        self.ballast
                            .extend((0..BALLAST).map(|_| (at, node.watch(child))));
                    }
                    self.beat(at, link, self.heartbeat);
                }
                Event::Control {
                    link,
                    kind: Kind::Ping,
                    ..
                } => {
                    if let Some(node) = self.nodes.get_mut(&at) {
                        node.control(link, Kind::Pong, Vec::new());
                    }
                }
                Event::Boot(boot) => self.beat(at, UP, boot.heartbeat),
                Event::Pause(link) => {
                    assert!(self.paused.insert((at, link)), "it is paused already")
                }
                Event::Resume(link) => assert!(self.paused.remove(&(at, link)), "it is not paused"),
                Event::Broken { link, reason, .. } => {
                    let cable = |cable: &Cable| match link == UP && at != ContextId::ROOT {
                        true => cable.child == at,
                        false => cable.parent == at && cable.link == link,
                    };
                    if let Some(number) = self.cables.iter().position(cable) {
                        if reason == Reason::Silent {
                            let silent = |(heard, every)| self.now - heard >= 3 * every;
                            let quiet = self.heard.get(&(at, link)).copied().is_some_and(silent);
                            assert!(quiet, "{at} gives a link up that it has heard");
                        } else {
                            self.record.blamed(at, &self.cables[number]);
                        }
                        self.cut_at(number);
                    }
                }
                _ => {}
            }
        }
        if let Some(node) = self.nodes.get_mut(&at) {
            node.take_dirty();
        }
        assert!(
            cost <= STEPS * frames,
            "{at} has looked at {cost} entries for {frames} frames and events"
        );
        any
    }

    fn accept(&mut self, parent: ContextId, by: ContextId, child: ContextId, link: LinkId) {
        let Some(node) = self.nodes.get_mut(&parent) else {
            return;
        };
        if by != ContextId::ROOT {
            node.announce(child);
        }
        let mut ancestors = vec![node.id()];
        ancestors.extend_from_slice(node.router.ancestors());
        node.boot(
            link,
            &BootInfo {
                id: child,
                ancestors,
                name: "fuzz".into(),
                filter: Filter::default(),
                heartbeat: self.heartbeat,
            },
        );
        self.connecting.push(Connecting {
            parent,
            link,
            child,
            down: Lane::default(),
        });
    }

    /// Lets the tree settle, and checks that nobody waits forever and that forgeries end with their
    /// forgers.
    pub(super) fn finish(&mut self) {
        self.settle();
        if self.record.forged.is_empty() {
            return self.flows_on();
        }
        let forgers: Vec<_> = self.record.forged.iter().map(|(child, _)| *child).collect();
        forgers.into_iter().for_each(|child| self.cut_child(child));
        self.settle();
        for context in self.record.untouched() {
            let before = self.record.flows_at(ContextId::ROOT);
            self.open(
                context,
                ContextId::ROOT,
                Handle::ALLOCATE,
                0,
                Opening::default(),
            );
            self.settle();
            let heard = self.record.flows_at(ContextId::ROOT) > before;
            assert!(
                heard || self.record.may_be_crowded(context),
                "frames from {context} are ignored"
            );
        }
    }

    /// Without forgeries: once all input is consumed, every flow may continue or has ended.
    fn flows_on(&mut self) {
        while !self.connecting.is_empty() {
            self.bring_up(0);
            self.settle();
        }
        loop {
            let held: Vec<_> = self
                .record
                .unused()
                .filter(|(at, _, _)| self.nodes.contains_key(at))
                .collect();
            if held.is_empty() {
                break;
            }
            held.into_iter()
                .for_each(|(at, flow, length)| self.consume(at, flow, length));
            self.settle();
        }
        for context in self.record.untouched() {
            let before = self.record.flows_at(context);
            self.open(
                ContextId::ROOT,
                context,
                Handle::CALL,
                0,
                Opening::default(),
            );
            self.settle();
            assert!(
                self.record.flows_at(context) > before,
                "the root does not reach {context}"
            );
        }
        assert!(
            self.paused
                .iter()
                .all(|(at, link)| !self.is_live(*at, *link)),
            "nothing waits any more"
        );
        for (context, node) in &mut self.nodes {
            for flow in self.record.waiting_for_the_gone(*context) {
                assert!(
                    !node.knows(flow),
                    "{context} waits on {flow:?} for one that is gone"
                );
            }
            for flow in self.record.to_send(*context) {
                assert_ne!(
                    node.room(flow),
                    Some(0),
                    "{context} may never send on {flow:?} again"
                );
            }
            assert_eq!(node.held(), 0, "{context} keeps something");
        }
        for (at, flow) in &self.record.starved {
            let known = self.nodes.get(at).is_some_and(|node| node.knows(*flow));
            assert!(!known, "{at} was never told that {flow:?} has room");
        }
    }

    fn is_live(&self, at: ContextId, link: LinkId) -> bool {
        self.cables
            .iter()
            .any(|cable| cable.parent == at && cable.link == link)
    }

    /// Checks the bounds of queues: for a connecting child by the node's limit, in total by the
    /// bytes injected.
    fn bounded(&self) {
        let mut all = 0;
        for connecting in &self.connecting {
            if let Some(node) = self.nodes.get(&connecting.parent) {
                let queued = node.queued(connecting.link);
                assert!(
                    queued <= CONNECTING,
                    "{queued} bytes wait for {}",
                    connecting.child
                );
                all += queued;
            }
        }
        let lent = |at: ContextId, link| {
            let (lent, flows) = self.nodes.get(&at).map_or((0, 0), |node| node.lent(link));
            assert!(
                lent <= LENT + FAVOURED * FAVOUR,
                "{at} has lent {lent} bytes over one link"
            );
            assert!(
                flows > 0 || lent == 0,
                "{at} has {lent} bytes of credit without a flow"
            );
        };
        for cable in &self.cables {
            lent(cable.parent, cable.link);
            lent(cable.child, UP);
            all += self
                .nodes
                .get(&cable.parent)
                .map_or(0, |node| node.queued(cable.link));
            all += self
                .nodes
                .get(&cable.child)
                .map_or(0, |node| node.queued(UP));
        }
        let limit = (1 << 20) + 8 * self.put_in * (HEADER_LEN + 200);
        assert!(
            all <= limit,
            "{all} bytes wait, {} were put in",
            self.put_in
        );
    }
}

/// Creates a node that has received its boot message.
fn named(nodes: &mut BTreeMap<ContextId, Node>, at: ContextId) -> Option<&mut Node> {
    nodes
        .get_mut(&at)
        .filter(|node| node.id() != ContextId(u32::MAX))
}

/// Takes a node's output for a link. Returns true if there was any.
fn take(node: Option<&mut Node>, link: LinkId, lane: &mut Lane, enough: usize) -> bool {
    let Some(node) = node else { return false };
    let mut bytes = Vec::new();
    node.transmit(link, &mut bytes, enough);
    let mut rest = &bytes[..];
    while let Some(frame) = lane
        .decoder
        .next_frame(&mut rest)
        .expect("a node sends what can be read")
    {
        lane.frames.push_back(frame);
    }
    assert_eq!(lane.decoder.pending(), 0, "a node sends whole frames");
    !bytes.is_empty()
}
