//! Whole trees of nodes in one thread: bytes are carried by the test, so every rule of routing, authority and credit is
//! seen without a process.

use offshoot_agent::error::Reason;
use offshoot_agent::id::{ContextId, FlowKey, Handle, LinkId};
use offshoot_agent::node::{Boot, Event, Node, Opening};
use offshoot_agent::router::Policy;
use offshoot_agent::wire::{Flags, Header, Kind, encode};
use std::collections::{HashMap, VecDeque};

/// A context with what has happened at it.
struct Place {
    node: Node,
    events: Vec<Event>,
}

/// A tree; each context has the number it is found by.
struct Tree {
    places: HashMap<ContextId, Place>,
    /// From the parent's link to the child, and the child's only link up.
    cables: Vec<(ContextId, LinkId, ContextId)>,
    /// Contexts that nobody has brought up yet: the link that waits for each.
    connecting: Vec<(ContextId, LinkId, ContextId)>,
}

const UP: LinkId = LinkId(0);

fn services(node: &mut Node) {
    for service in [Handle::CALL, Handle::CONNECT] {
        node.serve(service, Policy::Ancestors);
    }
}

impl Tree {
    fn new() -> Tree {
        let mut node = Node::root();
        services(&mut node);
        node.serve(Handle::ALLOCATE, Policy::Descendants);
        let places = HashMap::from([(ContextId::ROOT, Place { node, events: Vec::new() })]);
        Tree { places, cables: Vec::new(), connecting: Vec::new() }
    }

    fn node(&mut self, id: u32) -> &mut Node {
        &mut self.places.get_mut(&ContextId(id)).expect("the test made it").node
    }

    /// The root orders `parent` to connect `child`.
    fn order(&mut self, parent: u32, child: u32) -> FlowKey {
        let opening = Opening { new_context: Some(ContextId(child)), secret: true, ..Opening::default() };
        self.node(0).open(ContextId(parent), Handle::CONNECT, b"recipe", opening).0
    }

    /// Carries bytes until nothing moves.
    fn settle(&mut self) {
        loop {
            let mut moved = false;
            let ids: Vec<_> = self.places.keys().copied().collect();
            for id in ids {
                let place = self.places.get_mut(&id).expect("it is there");
                while let Some(event) = place.node.poll_event() {
                    if let Event::Opened { child: Some((child, link)), .. } = &event {
                        self.connecting.push((id, *link, *child));
                    }
                    place.events.push(event);
                    moved = true;
                }
                place.node.take_dirty();
            }
            for index in 0..self.cables.len() {
                let (parent, link, child) = self.cables[index];
                moved |= self.carry(parent, link, child, UP);
                moved |= self.carry(child, UP, parent, link);
            }
            if !moved {
                return;
            }
        }
    }

    fn carry(&mut self, from: ContextId, over: LinkId, to: ContextId, into: LinkId) -> bool {
        let mut bytes = Vec::new();
        if let Some(place) = self.places.get_mut(&from) {
            place.node.transmit(over, &mut bytes, 4096);
        }
        if let Some(place) = self.places.get_mut(&to) {
            place.node.receive(into, &bytes);
        }
        !bytes.is_empty()
    }

    /// The agent of a context that is being connected comes up.
    fn bring_up(&mut self, child: u32) {
        let child = ContextId(child);
        let at = self.connecting.iter().position(|(_, _, other)| *other == child).expect("it was ordered");
        let (parent, link, _) = self.connecting.remove(at);
        let parent_node = &mut self.places.get_mut(&parent).expect("it is there").node;
        let mut ancestors = vec![parent];
        ancestors.extend_from_slice(parent_node.router.ancestors());
        parent_node
            .boot(link, &Boot { id: child, ancestors, name: "test".into(), log_level: 0, heartbeat: 0 });
        let (mut node, _) = Node::agent();
        services(&mut node);
        node.control(UP, Kind::Hello, Vec::new());
        self.places.insert(child, Place { node, events: Vec::new() });
        self.cables.push((parent, link, child));
        self.settle();
        self.places.get_mut(&parent).expect("it is there").node.link_up(link);
        self.settle();
    }

    /// A tree in which each pair (parent, child) is connected.
    fn grown(pairs: &[(u32, u32)]) -> Tree {
        let mut tree = Tree::new();
        for &(parent, child) in pairs {
            tree.order(parent, child);
            tree.settle();
            tree.bring_up(child);
        }
        for place in tree.places.values_mut() {
            place.events.clear();
        }
        tree
    }

    fn events(&mut self, id: u32) -> Vec<Event> {
        std::mem::take(&mut self.places.get_mut(&ContextId(id)).expect("it is there").events)
    }

    /// What context `id` was asked for, answered with the same bytes.
    fn echo(&mut self, id: u32) {
        for event in self.events(id) {
            if let Event::Opened { flow, bytes, .. } = event {
                self.node(id).send(flow, &bytes, true, false);
            }
        }
        self.settle();
    }

    fn call(&mut self, from: u32, to: u32) -> FlowKey {
        self.node(from).open(ContextId(to), Handle::CALL, b"hello", Opening::default()).0
    }

    fn reasons(&mut self, id: u32) -> Vec<(FlowKey, Reason, ContextId)> {
        let closed = |event: Event| match event {
            Event::Closed { flow, letter } => Some((flow, letter.reason, letter.by)),
            _ => None,
        };
        self.events(id).into_iter().filter_map(closed).collect()
    }

    fn answers(&mut self, id: u32) -> Vec<(FlowKey, Vec<u8>)> {
        let data = |event: Event| match event {
            Event::Data { flow, bytes, end: true } => Some((flow, bytes)),
            _ => None,
        };
        self.events(id).into_iter().filter_map(data).collect()
    }

    /// A frame made by hand comes over the link of `child` to its parent, as from a hostile agent.
    fn forge(&mut self, child: u32, header: Header, payload: &[u8]) {
        let (parent, link, _) =
            *self.cables.iter().find(|(_, _, id)| *id == ContextId(child)).expect("it is connected");
        // What the child really sent, with its numbers, then the forgery.
        let mut bytes = Vec::new();
        self.places.get_mut(&ContextId(child)).expect("it is there").node.transmit(
            UP,
            &mut bytes,
            usize::MAX,
        );
        let sequence = SEQUENCES.with(|sent| *sent.borrow().get(&child).unwrap_or(&1));
        encode(&header, payload, sequence, &mut bytes);
        SEQUENCES.with(|sent| sent.borrow_mut().insert(child, sequence + 1));
        self.places.get_mut(&parent).expect("it is there").node.receive(link, &bytes);
        self.settle();
    }
}

thread_local! {
    /// How many frames each child has sent: after its hello that is one.
    static SEQUENCES: std::cell::RefCell<HashMap<u32, u32>> = std::cell::RefCell::default();
}

#[test]
fn a_chain_and_the_call_at_its_end_are_sent_in_one_breath() {
    let mut tree = Tree::new();
    tree.order(0, 1);
    tree.order(1, 2);
    tree.order(2, 3);
    let call = tree.call(0, 3);
    tree.settle();
    for context in [1, 2, 3] {
        tree.bring_up(context);
    }
    tree.echo(3);
    assert_eq!(tree.answers(0), [(call, b"hello".to_vec())]);
}

#[test]
fn a_failed_connect_returns_all_that_waited_with_the_reason() {
    let mut tree = Tree::grown(&[(0, 1)]);
    let order = tree.order(1, 2);
    let call = tree.call(0, 2);
    let deeper = tree.order(2, 3);
    tree.settle();
    let (_, link, _) = tree.connecting.remove(0);
    tree.node(1).link_lost(link, Reason::ConnectFailed, "no route to host");
    tree.settle();
    let mut reasons = tree.reasons(0);
    reasons.sort_by_key(|(flow, ..)| *flow);
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    for (flow, reason, by) in reasons {
        assert!(flow == call || flow == deeper);
        assert!(flow != order, "the order itself is answered by whoever carries it out");
        assert!(matches!(reason, Reason::ConnectFailed | Reason::Lost) && by != ContextId(2));
    }
    let late = tree.call(0, 2);
    tree.settle();
    assert_eq!(tree.reasons(0), [(late, Reason::ConnectFailed, ContextId::ROOT)], "it is remembered why");
}

#[test]
fn a_lost_link_ends_every_wait_for_what_was_behind_it() {
    let mut tree = Tree::grown(&[(0, 1), (1, 2), (2, 3), (0, 4)]);
    let calls = [tree.call(0, 1), tree.call(0, 2), tree.call(0, 3)];
    let other = tree.call(0, 4);
    tree.settle();
    let (parent, link, _) = tree.cables[1];
    assert_eq!(parent, ContextId(1));
    tree.node(1).link_lost(link, Reason::Lost, "cut");
    tree.settle();
    let mut flows: Vec<_> = tree.reasons(0).into_iter().map(|(flow, reason, _)| (flow, reason)).collect();
    // The orders to connect were never answered in this test; they end with their contexts, too.
    flows.retain(|(flow, _)| flow.handle >= calls[0].handle);
    assert_eq!(flows, [(calls[1], Reason::Lost), (calls[2], Reason::Lost)]);
    tree.echo(1);
    tree.echo(4);
    assert_eq!(tree.answers(0).into_iter().map(|(flow, _)| flow).collect::<Vec<_>>(), [calls[0], other]);
}

#[test]
fn siblings_and_cousins_cannot_reach_each_other() {
    let mut tree = Tree::grown(&[(0, 1), (0, 2), (1, 3), (1, 4)]);
    for (from, to) in [(1, 2), (3, 4), (3, 2), (4, 3)] {
        let call = tree.call(from, to);
        tree.settle();
        let (flow, reason, _) = tree.reasons(from).remove(0);
        assert_eq!((flow, reason), (call, Reason::Isolated), "{from} to {to}");
        assert!(tree.events(to).is_empty());
    }
}

#[test]
fn a_child_cannot_call_its_ancestors_but_may_ask_the_root_for_what_it_offers() {
    let mut tree = Tree::grown(&[(0, 1), (1, 2)]);
    for to in [0, 1] {
        let call = tree.call(2, to);
        tree.settle();
        let (flow, reason, by) = tree.reasons(2).remove(0);
        assert_eq!((flow, reason, by), (call, Reason::Refused, ContextId(to)));
    }
    let ask = tree.node(2).open(ContextId::ROOT, Handle::ALLOCATE, b"", Opening::default()).0;
    tree.settle();
    tree.echo(0);
    assert_eq!(tree.answers(2), [(ask, Vec::new())]);
}

#[test]
fn frames_in_anothers_name_are_dropped() {
    let mut tree = Tree::grown(&[(0, 1), (0, 2)]);
    let call = tree.call(0, 2);
    tree.settle();
    let opener = |flags: Flags| flags.with(Flags::OPENER, true).with(Flags::END, true);
    for (src, auth) in [(0, 0), (2, 2), (1, 0), (1, 2), (9, 9)] {
        let header = Header {
            auth: ContextId(auth),
            handle: Handle::CALL,
            reply_to: Handle(5000),
            flags: opener(Flags::default()),
            ..Header::new(Kind::Open, ContextId(src), ContextId(2))
        };
        tree.forge(1, header, b"evil");
    }
    // The answer to a call that was made to another.
    let reply = Header {
        handle: call.handle,
        flags: Flags::END,
        ..Header::new(Kind::Data, ContextId(2), ContextId(0))
    };
    tree.forge(1, reply, b"evil");
    let own_name = Header { src: ContextId(1), auth: ContextId(1), ..reply };
    tree.forge(1, own_name, b"evil");
    // That the other is gone, by the word of one that is not on the way.
    let dead = Header {
        reply_to: Handle(2),
        flags: Flags::OPENER,
        ..Header::new(Kind::Dead, ContextId(1), ContextId(0))
    };
    tree.forge(1, Header { handle: call.handle, ..dead }, b"");
    assert!(tree.events(0).is_empty(), "nothing forged is delivered");
    tree.echo(2);
    assert_eq!(tree.answers(0), [(call, b"hello".to_vec())]);
}

#[test]
fn orders_that_only_a_parent_gives_are_not_taken_from_a_child() {
    let mut tree = Tree::grown(&[(0, 1)]);
    for kind in [Kind::Boot, Kind::Shutdown] {
        tree.forge(1, Header::new(kind, ContextId(1), ContextId(0)), b"");
    }
    assert!(tree.events(0).is_empty());
}

#[test]
fn a_link_that_keeps_forging_is_ended() {
    let mut tree = Tree::grown(&[(0, 1)]);
    for _ in 0..200 {
        tree.forge(1, Header::new(Kind::Data, ContextId(7), ContextId(0)), b"");
    }
    let broken = tree.events(0).into_iter().filter(|event| matches!(event, Event::Broken { .. })).count();
    assert_eq!(broken, 1, "said once");
}

#[test]
fn a_flow_holds_no_more_than_its_credit_and_goes_on_as_it_is_read() {
    let mut tree = Tree::grown(&[(0, 1), (1, 2)]);
    let opening = Opening { streams: 1, ..Opening::default() };
    let flow = tree.node(0).open(ContextId(2), Handle::CALL, b"", opening).0;
    let stream = FlowKey { handle: Handle(flow.handle.0 + 1), ..flow };
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
    let mut sent = 0;
    let mut received: VecDeque<u8> = VecDeque::new();
    let mut rounds = 0;
    while received.len() < bytes.len() {
        rounds += 1;
        assert!(rounds < 1000, "it stands still at {} of {}", received.len(), bytes.len());
        // Its link takes some at a time, the flow as much as there is credit for.
        while let Some(taken @ 1..) = tree.node(0).send(stream, &bytes[sent..], true, false) {
            sent += taken;
            tree.settle();
        }
        let mut got = 0;
        for event in tree.events(2) {
            if let Event::Data { bytes, .. } = event {
                got += bytes.len();
                received.extend(bytes);
            }
        }
        assert!(got as u64 <= offshoot_agent::flow::MAX_WINDOW);
        if rounds == 1 {
            assert_eq!(got as u64, offshoot_agent::flow::INITIAL_WINDOW);
        }
        let theirs = FlowKey { peer: ContextId::ROOT, handle: stream.handle, opener: false };
        tree.node(2).consume(theirs, got);
        tree.settle();
    }
    assert!(received.iter().eq(bytes.iter()));
    assert!(rounds < 12, "the window grows while the reader keeps up: {rounds} rounds");
}

#[test]
fn a_small_call_overtakes_bulk() {
    let mut tree = Tree::grown(&[(0, 1)]);
    let opening = Opening { streams: 1, ..Opening::default() };
    let flow = tree.node(0).open(ContextId(1), Handle::CALL, b"", opening).0;
    let stream = FlowKey { handle: Handle(flow.handle.0 + 1), ..flow };
    tree.node(0).send(stream, &[0; 250_000], false, false);
    tree.call(0, 1);
    let (_, link, child) = tree.cables[0];
    let mut bytes = Vec::new();
    tree.node(0).transmit(link, &mut bytes, 1);
    tree.node(0).transmit(link, &mut bytes, 100);
    assert!(bytes.len() < 200, "both opens go before any bulk");
    assert_eq!(child, ContextId(1));
}

#[test]
fn a_number_that_is_in_use_is_refused_to_a_second_connect() {
    let mut tree = Tree::grown(&[(0, 1), (0, 2)]);
    let order = tree.order(1, 2);
    tree.settle();
    let (flow, reason, _) = tree.reasons(0).remove(0);
    assert_eq!((flow, reason), (order, Reason::Refused));
}
