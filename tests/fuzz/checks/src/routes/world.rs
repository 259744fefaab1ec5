//! The tree: nodes, the cables between them, and what the broker of each would do.

use super::record::{self, Record};
use offshoot_agent::error::Reason;
use offshoot_agent::id::{ContextId, FlowKey, Handle, LinkId};
use offshoot_agent::node::{Boot, Event, Node, Opening};
use offshoot_agent::router::Policy;
use offshoot_agent::wire::{Decoder, Frame, HEADER_LEN, Kind, encode};
use std::collections::{BTreeMap, VecDeque};

pub const UP: LinkId = LinkId(0);
/// The most contexts of one run.
const CONTEXTS: u32 = 12;
/// What may wait for a connecting child, by the node's own promise; a boot and what goes again come on top.
const CONNECTING: usize = (4 << 20) + (512 << 10);

/// One direction of a cable. Frames are taken apart and numbered anew, so that others can be put between them.
#[derive(Default)]
pub struct Lane {
    decoder: Decoder,
    pub frames: VecDeque<Frame>,
    pub sequence: u32,
}

/// A link between two nodes.
pub struct Cable {
    pub parent: ContextId,
    pub link: LinkId,
    pub child: ContextId,
    pub down: Lane,
    pub up: Lane,
}

/// A child that is being connected.
struct Connecting {
    parent: ContextId,
    link: LinkId,
    child: ContextId,
    down: Lane,
}

/// A whole tree.
pub struct World {
    pub nodes: BTreeMap<ContextId, Node>,
    pub cables: Vec<Cable>,
    connecting: Vec<Connecting>,
    pub flows: Vec<(ContextId, FlowKey)>,
    pub record: Record,
    next: u32,
    /// How many frames may still be forged by the dozen: one run is to be quick.
    pub forgeries: u32,
    /// Bytes that were put in from outside or sent, and steps that were taken: what all that waits is measured by.
    pub put_in: usize,
}

fn serve(node: &mut Node) {
    for service in [Handle::CALL, Handle::EXEC, Handle::CONNECT] {
        node.serve(service, Policy::Ancestors);
    }
}

impl World {
    pub fn grown(pairs: &[(u32, u32)]) -> World {
        let mut root = Node::root();
        serve(&mut root);
        root.serve(Handle::ALLOCATE, Policy::Descendants);
        let mut world = World {
            nodes: BTreeMap::from([(ContextId::ROOT, root)]),
            cables: Vec::new(),
            connecting: Vec::new(),
            flows: Vec::new(),
            record: Record::default(),
            next: 1,
            forgeries: 1000,
            put_in: 0,
        };
        for (parent, _) in pairs {
            world.order(ContextId::ROOT, ContextId(*parent));
            world.settle();
            world.bring_up(0);
            world.settle();
        }
        world
    }

    /// The number that the next context gets.
    pub fn newest(&self) -> ContextId {
        ContextId(self.next)
    }

    pub fn open(
        &mut self,
        from: ContextId,
        to: ContextId,
        service: Handle,
        length: usize,
        opening: Opening,
    ) -> usize {
        let Some(node) = self.nodes.get_mut(&from) else { return 0 };
        let (flow, taken) = node.open(to, service, &record::opening(from, length), opening);
        self.put_in += taken;
        self.record.honest_questions += usize::from(service == Handle::ALLOCATE);
        self.record.opened_here(from, flow, opening.streams);
        self.record.sent(from, flow, taken, taken == length);
        for stream in 0..=u32::from(opening.streams) {
            self.flows.push((from, FlowKey { handle: Handle(flow.handle.0 + stream), ..flow }));
        }
        taken
    }

    pub fn send(&mut self, at: ContextId, flow: FlowKey, length: usize, end: bool) -> usize {
        let Some(node) = self.nodes.get_mut(&at) else { return 0 };
        let bytes = self.record.bytes(at, flow, length);
        let room = node.room(flow);
        let Some(taken) = node.send(flow, &bytes, end, false) else { return 0 };
        assert!(room.is_some_and(|room| taken <= room), "not beyond the credit");
        self.put_in += taken;
        self.record.sent(at, flow, taken, end && taken == length);
        taken
    }

    pub fn consume(&mut self, at: ContextId, flow: FlowKey, length: usize) {
        if let Some(node) = self.nodes.get_mut(&at) {
            node.consume(flow, length);
            self.record.consumed(at, flow, length);
        }
    }

    pub fn reset(&mut self, at: ContextId, flow: FlowKey) {
        if let Some(node) = self.nodes.get_mut(&at) {
            if node.knows(flow) {
                self.record.reset_here(at, flow);
            }
            node.reset(flow, Reason::Cancelled, "no more");
        }
    }

    /// `from` orders `parent` to connect a new context.
    pub fn order(&mut self, from: ContextId, parent: ContextId) {
        if self.next >= CONTEXTS {
            return;
        }
        let Some(node) = self.nodes.get_mut(&from) else { return };
        let child = ContextId(self.next);
        self.next += 1;
        let opening = Opening { new_context: Some(child), ..Opening::default() };
        let (flow, _) = node.open(parent, Handle::CONNECT, b"", opening);
        self.record.opened_here(from, flow, 0);
        self.record.sent(from, flow, 0, true);
        self.record.ordered(child, parent, from);
        self.flows.push((from, flow));
    }

    /// The agent of a connecting child says hello.
    pub fn bring_up(&mut self, number: usize) {
        if self.connecting.is_empty() {
            return;
        }
        let Connecting { parent, link, child, down } = self.connecting.remove(number % self.connecting.len());
        if self.nodes.contains_key(&child)
            || self.record.is_used(child, parent)
            || !self.nodes.contains_key(&parent)
        {
            // A number that was made up, or a parent that is gone: nobody comes up.
            if let Some(node) = self.nodes.get_mut(&parent) {
                node.link_lost(link, Reason::ConnectFailed, "nobody there");
            }
            return;
        }
        let (mut node, _) = Node::agent();
        serve(&mut node);
        node.control(UP, Kind::Hello, Vec::new());
        self.nodes.insert(child, node);
        self.record.alive(child, parent);
        self.cables.push(Cable { parent, link, child, down, up: Lane::default() });
    }

    pub fn fail_connect(&mut self, number: usize, reason: Reason) {
        if !self.connecting.is_empty() {
            let Connecting { parent, link, child, .. } =
                self.connecting.remove(number % self.connecting.len());
            self.record.dead(child);
            if let Some(node) = self.nodes.get_mut(&parent) {
                node.link_lost(link, reason, "it failed");
            }
        }
    }

    /// The bootstrap of a connecting child begins anew.
    pub fn restart(&mut self, number: usize) {
        if !self.connecting.is_empty() {
            let at = number % self.connecting.len();
            let connecting = &mut self.connecting[at];
            connecting.down = Lane::default();
            if let Some(node) = self.nodes.get_mut(&connecting.parent) {
                node.link_restart(connecting.link);
            }
        }
    }

    /// A link is lost, and with it all processes below.
    pub fn cut(&mut self, number: usize) {
        if !self.cables.is_empty() {
            self.cut_at(number % self.cables.len());
        }
    }

    /// The link to this child is lost, if it is there.
    pub fn cut_child(&mut self, child: ContextId) {
        if let Some(at) = self.cables.iter().position(|cable| cable.child == child) {
            self.cut_at(at);
        }
    }

    fn cut_at(&mut self, at: usize) {
        let Cable { parent, link, child, .. } = self.cables.swap_remove(at);
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
        self.connecting.retain(|connecting| connecting.parent != context);
        while let Some(at) = self.cables.iter().position(|cable| cable.parent == context) {
            let cable = self.cables.swap_remove(at);
            self.die(cable.child);
        }
    }

    /// Pings and log records.
    pub fn chat(&mut self, at: ContextId, what: u8) {
        let links: Vec<LinkId> =
            self.cables.iter().filter(|cable| cable.parent == at).map(|cable| cable.link).collect();
        let Some(node) = self.nodes.get_mut(&at) else { return };
        match what % 3 {
            0 => node.log(vec![0; usize::from(what)]),
            1 if at != ContextId::ROOT => node.control(UP, Kind::Pong, Vec::new()),
            _ => links.into_iter().for_each(|link| node.control(link, Kind::Ping, Vec::new())),
        }
    }

    /// Takes what nodes have to send off them.
    fn collect(&mut self) -> bool {
        let mut moved = false;
        let mut take = |node: Option<&mut Node>, link: LinkId, lane: &mut Lane| {
            let Some(node) = node else { return };
            let mut bytes = Vec::new();
            node.transmit(link, &mut bytes, usize::MAX);
            moved |= !bytes.is_empty();
            lane.decoder.extend(&bytes);
            while let Some(frame) = lane.decoder.next_frame().expect("a node sends what can be read") {
                lane.frames.push_back(frame);
            }
            assert_eq!(lane.decoder.pending(), 0, "a node sends whole frames");
        };
        for cable in &mut self.cables {
            take(self.nodes.get_mut(&cable.parent), cable.link, &mut cable.down);
            take(self.nodes.get_mut(&cable.child), UP, &mut cable.up);
        }
        for connecting in &mut self.connecting {
            take(self.nodes.get_mut(&connecting.parent), connecting.link, &mut connecting.down);
        }
        moved
    }

    /// Carries up to `count` frames over one cable, cut after `piece` bytes.
    pub fn carry(&mut self, number: usize, up: bool, count: usize, piece: usize) {
        self.collect();
        if self.cables.is_empty() {
            return;
        }
        let at = number % self.cables.len();
        let cable = &mut self.cables[at];
        let lane = if up { &mut cable.up } else { &mut cable.down };
        let mut bytes = Vec::new();
        for frame in lane.frames.drain(..count.min(lane.frames.len())) {
            encode(&frame.header, &frame.payload, lane.sequence, &mut bytes);
            lane.sequence = lane.sequence.wrapping_add(1);
        }
        let (to, link) = if up { (cable.parent, cable.link) } else { (cable.child, UP) };
        if let Some(node) = self.nodes.get_mut(&to) {
            let (one, other) = bytes.split_at(piece.min(bytes.len()));
            node.receive(link, one);
            node.receive(link, other);
        }
    }

    /// Carries everything until nothing moves.
    pub fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 10_000, "it never comes to rest");
            let mut moved = self.listen();
            moved |= self.collect();
            for at in 0..self.cables.len() {
                for up in [false, true] {
                    if let Some(cable) = self.cables.get(at) {
                        let lane = if up { &cable.up } else { &cable.down };
                        if !lane.frames.is_empty() {
                            self.carry(at, up, usize::MAX, usize::MAX);
                            moved = true;
                        }
                    }
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// Does what the broker of each node would, for all that has happened.
    pub fn listen(&mut self) -> bool {
        let mut any = false;
        self.put_in += 1;
        loop {
            let contexts: Vec<ContextId> = self.nodes.keys().copied().collect();
            let heard = contexts.into_iter().fold(false, |heard, context| self.hear(context) | heard);
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
        while let Some(event) = self.nodes.get_mut(&at).and_then(Node::poll_event) {
            any = true;
            self.record.event(at, &event);
            match event {
                Event::Opened { flow, streams, child, .. } => {
                    for stream in 0..=u32::from(streams) {
                        let handle = Handle(flow.handle.0.wrapping_add(stream));
                        self.flows.push((at, FlowKey { handle, ..flow }));
                    }
                    if let Some((child, link)) = child {
                        self.accept(at, flow.peer, child, link);
                    }
                }
                Event::Control { link, kind: Kind::Hello, .. } => {
                    if let Some(node) = self.nodes.get_mut(&at) {
                        node.link_up(link);
                    }
                }
                Event::Broken { link, .. } => {
                    let cable = |cable: &Cable| match link == UP && at != ContextId::ROOT {
                        true => cable.child == at,
                        false => cable.parent == at && cable.link == link,
                    };
                    if let Some(number) = self.cables.iter().position(cable) {
                        self.record.blamed(at, &self.cables[number]);
                        self.cut_at(number);
                    }
                }
                _ => {}
            }
        }
        if let Some(node) = self.nodes.get_mut(&at) {
            node.take_dirty();
        }
        any
    }

    fn accept(&mut self, parent: ContextId, by: ContextId, child: ContextId, link: LinkId) {
        let Some(node) = self.nodes.get_mut(&parent) else { return };
        if by != ContextId::ROOT {
            node.announce(child);
        }
        let mut ancestors = vec![node.id()];
        ancestors.extend_from_slice(node.router.ancestors());
        node.boot(link, &Boot { id: child, ancestors, name: "fuzz".into(), log_level: 0, heartbeat: 0 });
        self.connecting.push(Connecting { parent, link, child, down: Lane::default() });
    }

    /// Lets everything come to rest, and checks that nobody waits for ever, and that what forgers did ends with them.
    pub fn finish(&mut self) {
        self.settle();
        if self.record.forged.is_empty() {
            for (context, node) in &self.nodes {
                for flow in self.record.waiting_for_the_gone(*context) {
                    assert!(!node.knows(flow), "{context} waits on {flow:?} for one that is gone");
                }
            }
            return;
        }
        let forgers: Vec<_> = self.record.forged.iter().map(|(child, _)| *child).collect();
        forgers.into_iter().for_each(|child| self.cut_child(child));
        self.settle();
        let crowded = self.record.may_be_crowded();
        // Each asks twice, for a single free place among the questions is none.
        for context in self.record.untouched().repeat(2) {
            let before = self.record.flows_at_root();
            self.open(context, ContextId::ROOT, Handle::ALLOCATE, 0, Opening::default());
            self.settle();
            assert!(crowded || self.record.flows_at_root() > before, "{context} is heard no more");
        }
    }

    /// What waits is bounded: for a connecting child by the node's promise, in all by what was put in.
    fn bounded(&self) {
        let mut all = 0;
        for connecting in &self.connecting {
            if let Some(node) = self.nodes.get(&connecting.parent) {
                let queued = node.queued(connecting.link);
                assert!(queued <= CONNECTING, "{queued} bytes wait for {}", connecting.child);
                all += queued;
            }
        }
        for cable in &self.cables {
            all += self.nodes.get(&cable.parent).map_or(0, |node| node.queued(cable.link));
            all += self.nodes.get(&cable.child).map_or(0, |node| node.queued(UP));
        }
        let limit = (1 << 20) + 8 * self.put_in * (HEADER_LEN + 200);
        assert!(all <= limit, "{all} bytes wait, {} were put in", self.put_in);
    }
}
