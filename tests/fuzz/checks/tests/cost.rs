//! The cost of a frame, counted in entries of maps and lists that a node visits: a constant and its
//! length, whatever is outstanding.
//!
//! A node is loaded with very much of something, and with a little of it; each kind of frame that a
//! child may send must cost the same with both.

use offshoot_codec::to_bytes;
use offshoot_proto::collections::steps::counted as steps;
use offshoot_proto::log::Filter;
use offshoot_proto::message::boot::BootInfo;
use offshoot_proto::node::{Event, Node, Opening};
use offshoot_proto::routing::Policy;
use offshoot_proto::wire::{Flags, Header, Kind, encode};
use offshoot_proto::{ContextId, FlowKey, Handle, LinkId};
use offshoot_proto::{DeadLetter, Reason};
use serde::Serialize;
use std::collections::BTreeMap;

/// The additional cost allowed with much outstanding: the depth of searches.
const SLACK: u64 = 40;
/// The highest cost of a frame.
const EACH: u64 = 200;
/// A handler of a program with policy `Anyone`.
const OFFERED: Handle = Handle(Handle::FIRST_CUSTOM.0 + 5);

/// The payload of a `Route` frame; mirrors a private type of `offshoot_agent`.
#[derive(Serialize)]
enum News {
    Added(ContextId, ContextId),
    Gone {
        contexts: Vec<ContextId>,
        reason: Reason,
        text: String,
    },
}

/// A node with a hostile child, an honest one, and a parent unless it is the root.
struct AttackedNode {
    node: Node,
    hostile: LinkId,
    honest: LinkId,
    sequences: BTreeMap<LinkId, u32>,
    /// Ids granted to the hostile child.
    numbers: std::ops::Range<u32>,
    flows: Vec<FlowKey>,
}

const HOSTILE: ContextId = ContextId(1);
const HONEST: ContextId = ContextId(2);
const RELAY: ContextId = ContextId(9);
const UP: LinkId = LinkId(0);

fn bytes(value: &impl Serialize) -> Vec<u8> {
    to_bytes(value).expect("it serialises")
}

impl AttackedNode {
    fn new(root: bool) -> Self {
        let mut node = if root { Node::root() } else { Node::agent().0 };
        node.serve(Handle::CALL, Policy::Anyone);
        node.serve(Handle::ALLOCATE, Policy::Descendants);
        node.serve(Handle::EXEC, Policy::Ancestors);
        node.serve(OFFERED, Policy::Anyone);
        // The ids of the children, and more, are used.
        (0..100).for_each(|_| _ = node.new_context());
        let mut world = Self {
            node,
            hostile: UP,
            honest: UP,
            sequences: BTreeMap::new(),
            numbers: 0..0,
            flows: Vec::new(),
        };
        if !root {
            let boot = BootInfo {
                id: RELAY,
                ancestors: vec![ContextId::ROOT],
                name: "relay".into(),
                filter: Filter::default(),
                heartbeat: 0,
            };
            world.say(
                UP,
                &Header::new(Kind::Boot, ContextId::ROOT, RELAY),
                &bytes(&boot),
            );
        }
        for (child, link) in [(HOSTILE, 0), (HONEST, 1)] {
            let up = world.node.add_child(child).expect("its number is free");
            world.say(up, &Header::new(Kind::Hello, child, world.node.id()), &[]);
            world.node.link_up(up);
            *[&mut world.hostile, &mut world.honest][link] = up;
        }
        world.send_all();
        world
    }

    /// Delivers a frame; returns its cost and the events.
    fn say(&mut self, link: LinkId, header: &Header, payload: &[u8]) -> (u64, Vec<Event>) {
        let mut frame = Vec::new();
        let sequence = self.sequences.entry(link).or_default();
        encode(header, payload, *sequence, &mut frame);
        *sequence += 1;
        let before = steps();
        self.node.receive(link, &frame);
        let events: Vec<Event> = std::iter::from_fn(|| self.node.poll_event()).collect();
        (steps() - before, events)
    }

    fn news(&mut self, news: &News) -> u64 {
        let header = Header::new(Kind::Route, HOSTILE, self.node.id());
        self.say(self.hostile, &header, &bytes(news)).0
    }

    /// Returns an id for a made-up context.
    fn number(&mut self) -> ContextId {
        if self.numbers.is_empty() {
            if let Some((first, count)) = self.node.grant(HOSTILE) {
                self.numbers = first.0..first.0 + count;
            } else {
                // A relay gets the grant from its parent.
                let first = 1000 + self.sequences.get(&UP).copied().unwrap_or(0) * 64;
                let grant = [first.to_le_bytes(), HOSTILE.0.to_le_bytes()].concat();
                self.say(
                    UP,
                    &Header::new(Kind::Grant, ContextId::ROOT, RELAY),
                    &grant,
                );
                self.numbers = first..first + 64;
            }
        }
        ContextId(self.numbers.next().expect("they were granted"))
    }

    fn made_up(&mut self) -> ContextId {
        let id = self.number();
        self.news(&News::Added(id, HOSTILE));
        id
    }

    fn gone(&mut self, id: ContextId) -> u64 {
        self.news(&News::Gone {
            contexts: vec![id],
            reason: Reason::Lost,
            text: String::new(),
        })
    }

    /// Sends everything queued to the neighbours, which read it.
    fn send_all(&mut self) -> u64 {
        let before = steps();
        for link in self.node.take_dirty() {
            let mut out = Vec::new();
            self.node.transmit(link, &mut out, usize::MAX);
        }
        steps() - before
    }

    fn open(&mut self, from: ContextId, service: Handle, to: ContextId, number: u32) -> u64 {
        let header = Header {
            handle: service,
            reply_to: Handle(5000 + number),
            flags: Flags::OPENER,
            ..Header::new(Kind::Open, from, to)
        };
        self.say(self.hostile, &header, b"x").0
    }

    fn choke(&mut self, kind: Kind, ids: &[ContextId]) -> u64 {
        let names: Vec<u8> = ids.iter().flat_map(|id| id.0.to_le_bytes()).collect();
        self.say(
            self.hostile,
            &Header::new(kind, HOSTILE, ContextId(0)),
            &names,
        )
        .0
    }

    fn call(&mut self, to: ContextId) {
        self.flows.push(
            self.node
                .open(
                    to,
                    Handle::CALL,
                    b"x",
                    Opening {
                        more: true,
                        ..Opening::default()
                    },
                )
                .0,
        );
    }
}

/// A kind of load, and how to create it.
type Load = (&'static str, fn(&mut AttackedNode, u32));

const LOADS: [Load; 12] = [
    ("nothing", |_, _| {}),
    ("calls to it", |world, count| {
        (0..count).for_each(|_| world.call(HOSTILE));
        world.send_all();
    }),
    ("calls to another", |world, count| {
        (0..count).for_each(|_| world.call(HONEST));
        world.send_all();
    }),
    ("calls that wait for it", |world, count| {
        (0..count).for_each(|_| world.call(HOSTILE));
        world.send_all();
        world.choke(Kind::Choke, &[HOSTILE]);
        for flow in std::mem::take(&mut world.flows) {
            world.node.send(flow, b"more", false, false);
        }
    }),
    ("calls that wait while it takes nothing", |world, count| {
        (0..count).for_each(|_| world.call(HOSTILE));
        world.send_all();
        world.choke(Kind::Choke, &[]);
        for flow in std::mem::take(&mut world.flows) {
            world.node.send(flow, b"more", false, false);
        }
    }),
    ("lanes to it that are choked", |world, count| {
        (0..count).for_each(|_| world.call(HOSTILE));
        world.choke(Kind::Choke, &[HOSTILE]);
        world.send_all();
    }),
    ("lanes up", |world, count| {
        for number in 0..count {
            world.open(HOSTILE, Handle::CALL, ContextId::ROOT, 100_000 + number);
        }
    }),
    ("losses", |world, count| {
        for _ in 0..count.min(4096) {
            let id = world.made_up();
            world.gone(id);
        }
        world.send_all();
    }),
    ("contexts of its own", |world, count| {
        for _ in 0..count {
            world.made_up();
        }
        world.send_all();
    }),
    ("contexts that are choked", |world, count| {
        let ids: Vec<_> = (0..count).map(|_| world.made_up()).collect();
        ids.chunks(4000)
            .for_each(|ids| _ = world.choke(Kind::Choke, ids));
        world.send_all();
    }),
    ("questions", |world, count| {
        for number in 0..count.min(4000) {
            let from = if number % 16 == 0 {
                world.made_up()
            } else {
                ContextId(world.numbers.start - 1)
            };
            world.open(from, Handle::CALL, world.node.id(), 200_000 + number);
        }
        world.send_all();
    }),
    ("paths of a guest", |world, count| {
        let ids: Vec<_> = (0..count).map(|_| world.made_up()).collect();
        world.node.set_authority(world.honest, world.node.id());
        for (number, id) in ids.into_iter().enumerate() {
            let header = Header {
                handle: Handle::CALL,
                reply_to: Handle(64 + number as u32),
                flags: Flags::OPENER,
                ..Header::new(Kind::Open, HONEST, id)
            };
            world.say(world.honest, &header, b"");
        }
        world.send_all();
    }),
];

/// Sends each kind of frame from the hostile child; returns the highest cost of each.
fn attacks(world: &mut AttackedNode) -> Vec<(&'static str, u64)> {
    let (node, relayed) = (world.node.id(), world.node.id() != ContextId::ROOT);
    let letter = bytes(&DeadLetter {
        reason: Reason::Lost,
        by: HOSTILE,
        text: String::new(),
    });
    let own = [world.made_up(), world.made_up()];
    let mut costs = Vec::new();
    for round in 0..3 {
        let mut cost = |what, steps| costs.push((what, steps));
        for number in 0..20 {
            cost(
                "a call",
                world.open(HOSTILE, Handle::CALL, node, 100 * round + number),
            );
        }
        for number in 0..3 {
            cost(
                "a service for others",
                world.open(HOSTILE, Handle::EXEC, node, 900 + number),
            );
            cost(
                "a service that is none",
                world.open(HOSTILE, Handle(60), node, 900 + number),
            );
            cost(
                "what a program offers",
                world.open(own[0], OFFERED, node, 100 * round + number),
            );
            cost(
                "a context that is none",
                world.open(HOSTILE, Handle::CALL, ContextId(3_000_000), 1),
            );
            cost(
                "the other child",
                world.open(HOSTILE, Handle::CALL, HONEST, 1),
            );
        }
        let mut say = |what, header: Header, payload: &[u8]| {
            cost(what, world.say(world.hostile, &header, payload).0);
        };
        let about = |id: ContextId, handle, to| Header {
            handle: Handle(handle),
            reply_to: Handle(id.0),
            ..Header::new(Kind::Dead, HOSTILE, to)
        };
        say("news of a lost flow", about(own[0], 1 << 20, node), &letter);
        say("news of a lost one", about(own[1], 0, node), &letter);
        for to in [HONEST, ContextId::ROOT] {
            say(
                "news of a lost one to another",
                about(own[1], 0, to),
                &letter,
            );
        }
        for kind in [Kind::Data, Kind::Credit, Kind::Reset] {
            let header = Header {
                handle: Handle(1 << 21),
                ..Header::new(kind, HOSTILE, node)
            };
            say("nothing of a flow", header, b"");
        }
        say("a ping", Header::new(Kind::Ping, HOSTILE, node), b"");
        say(
            "a log record",
            Header {
                handle: Handle::LOG,
                ..Header::new(Kind::Log, HOSTILE, ContextId::ROOT)
            },
            b"",
        );
        // The first frame of a kind may undo the load, whose cost was counted there.
        cost("a choke", world.choke(Kind::Choke, &own));
        cost("a free", world.choke(Kind::Free, &own));
        cost("a free of nothing", world.choke(Kind::Free, &own));
        world.node.control(world.hostile, Kind::Pong, Vec::new());
        if !relayed {
            cost("an answer to a ping", world.send_all());
        }
        let id = world.number();
        cost("a context", world.news(&News::Added(id, own[0])));
        cost("its end", world.gone(id));
    }
    costs
}

/// Returns the highest cost of each kind.
fn most(root: bool, load: fn(&mut AttackedNode, u32), count: u32) -> BTreeMap<&'static str, u64> {
    let mut world = AttackedNode::new(root);
    load(&mut world, count);
    let mut most = BTreeMap::new();
    for (what, cost) in attacks(&mut world) {
        let most = most.entry(what).or_insert(0);
        *most = cost.max(*most);
    }
    most
}

#[test]
fn the_cost_of_a_frame_does_not_depend_on_outstanding_work() {
    let mut too_much = Vec::new();
    for root in [true, false] {
        for (name, load) in LOADS {
            let (few, many) = (most(root, load, 20), most(root, load, 5000));
            for (what, cost) in many {
                let alone = few.get(what).copied().unwrap_or(0);
                if cost > alone + SLACK || cost > EACH {
                    too_much.push(format!(
                        "{} with many {name}: {what} costs {cost} steps, and {alone} with few",
                        if root { "the root" } else { "a relay" },
                    ));
                }
            }
        }
    }
    assert!(too_much.is_empty(), "{}", too_much.join("\n"));
}

#[test]
fn endlessly_repeated_refused_requests_close_the_link() {
    const IN_16_SECONDS: u32 = 1 << 16;
    let mut world = AttackedNode::new(true);
    let ask = |world: &mut AttackedNode, from, service| {
        let header = Header {
            handle: service,
            reply_to: Handle(64),
            flags: Flags::OPENER,
            ..Header::new(Kind::Open, from, ContextId::ROOT)
        };
        let (_, events) = world.say(world.hostile, &header, b"");
        world.send_all();
        events.into_iter().any(|event| {
            matches!(
                event,
                Event::Broken {
                    reason: Reason::Violation,
                    ..
                }
            )
        })
    };
    let other = world.made_up();
    for number in 0..IN_16_SECONDS {
        // Every refusal counts: forbidden and missing services.
        let service = if number % 2 == 0 {
            Handle::EXEC
        } else {
            Handle(60)
        };
        assert!(!ask(&mut world, HOSTILE, service), "{number} were too many");
    }
    assert!(
        !ask(&mut world, other, Handle::EXEC),
        "another behind the same link has its own"
    );
    // Old refusals are forgotten.
    world.node.set_time(16_000);
    for number in 0..IN_16_SECONDS {
        assert!(
            !ask(&mut world, HOSTILE, Handle::EXEC),
            "{number} were too many, later"
        );
    }
    world.node.set_time(31_999);
    assert!(ask(&mut world, HOSTILE, Handle::EXEC), "the run never ends");
}

#[test]
fn context_ids_are_granted_at_a_limited_rate() {
    const AT_ONCE: u32 = 1024;
    const EACH_SECOND: u32 = 4;
    let mut world = AttackedNode::new(true);
    let blocks = |world: &mut AttackedNode| {
        let mut count = 0;
        // Each context requests ids and ends, which returns them.
        while let Some(id) = world.node.new_context() {
            world.node.router.add(id, world.hostile, HOSTILE);
            let granted = world.node.grant(id).is_some();
            world.gone(id);
            if !granted {
                break;
            }
            count += 1;
        }
        count
    };
    assert_eq!(blocks(&mut world), AT_ONCE);
    world.node.set_time(5000);
    assert_eq!(blocks(&mut world), 5 * EACH_SECOND);
    assert!(world.node.grant(HONEST).is_some(), "others have their own");
}
