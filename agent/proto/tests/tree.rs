//! Trees of nodes in one thread. The test carries the bytes, so that every rule of routing,
//! authority and credit is visible without processes.

mod by_hand;

use by_hand::Tree;
use offshoot_proto::Reason;
use offshoot_proto::node::{Event, Opening};
use offshoot_proto::wire::{Flags, Giver, Header, Kind, Scope};
use offshoot_proto::{ContextId, FlowKey, Handle};
use std::collections::VecDeque;

#[test]
fn nested_connects_and_the_call_behind_them_are_sent_at_once() {
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
fn a_failed_connect_returns_everything_queued_with_the_reason() {
    let mut tree = Tree::grown(&[(0, 1)]);
    let order = tree.order(1, 2);
    let call = tree.call(0, 2);
    let deeper = tree.order(2, 3);
    tree.settle();
    let (_, link, _) = tree.connecting.remove(0);
    tree.node(1)
        .link_lost(link, Reason::ConnectFailed, "no route to host");
    tree.settle();
    let mut reasons = tree.reasons(0);
    reasons.sort_by_key(|(flow, ..)| *flow);
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    for (flow, reason, by) in reasons {
        assert!(flow == call || flow == deeper);
        assert!(flow != order, "the service answers the request itself");
        assert!(matches!(reason, Reason::ConnectFailed | Reason::Lost) && by != ContextId(2));
    }
    let late = tree.call(0, 2);
    tree.settle();
    assert_eq!(
        tree.reasons(0),
        [(late, Reason::ConnectFailed, ContextId::ROOT)],
        "it is remembered why"
    );
    // A hop from the lost context, and what is sent behind it.
    let late = [tree.order(2, 4), tree.call(0, 4), tree.order(4, 5)];
    tree.settle();
    let mut reasons = tree.reasons(0);
    reasons.sort_by_key(|(flow, ..)| *flow);
    let expected = late.map(|flow| (flow, Reason::ConnectFailed, ContextId::ROOT));
    assert_eq!(reasons, expected);
}

#[test]
fn a_lost_link_ends_every_wait_for_contexts_behind_it() {
    let mut tree = Tree::grown(&[(0, 1), (1, 2), (2, 3), (0, 4)]);
    let calls = [tree.call(0, 1), tree.call(0, 2), tree.call(0, 3)];
    let other = tree.call(0, 4);
    tree.settle();
    let (parent, link, _) = tree.cables[1];
    assert_eq!(parent, ContextId(1));
    tree.node(1).link_lost(link, Reason::Lost, "cut");
    tree.settle();
    let mut flows: Vec<_> = tree
        .reasons(0)
        .into_iter()
        .map(|(flow, reason, _)| (flow, reason))
        .collect();
    // Connect requests are never answered in this test; they end with their contexts.
    flows.retain(|(flow, _)| flow.handle >= calls[0].handle);
    assert_eq!(flows, [(calls[1], Reason::Lost), (calls[2], Reason::Lost)]);
    tree.echo(1);
    tree.echo(4);
    assert_eq!(
        tree.answers(0)
            .into_iter()
            .map(|(flow, _)| flow)
            .collect::<Vec<_>>(),
        [calls[0], other]
    );
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
fn a_child_cannot_call_its_ancestors_but_may_use_services_of_the_root() {
    let mut tree = Tree::grown(&[(0, 1), (1, 2)]);
    for to in [0, 1] {
        let call = tree.call(2, to);
        tree.settle();
        let (flow, reason, by) = tree.reasons(2).remove(0);
        assert_eq!((flow, reason, by), (call, Reason::Refused, ContextId(to)));
    }
    let ask = tree
        .node(2)
        .open(ContextId::ROOT, Handle::ALLOCATE, b"", Opening::default())
        .0;
    tree.settle();
    tree.echo(0);
    assert_eq!(tree.answers(2), [(ask, Vec::new())]);
}

#[test]
fn frames_with_a_forged_source_are_dropped() {
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
    // A reply to a call of another context.
    let reply = Header {
        handle: call.handle,
        flags: Flags::END,
        ..Header::new(Kind::Data, ContextId(2), ContextId(0))
    };
    tree.forge(1, reply, b"evil");
    let own_name = Header {
        src: ContextId(1),
        auth: ContextId(1),
        ..reply
    };
    tree.forge(1, own_name, b"evil");
    // News that another context is lost, from a context that is not on the path.
    let dead = Header {
        reply_to: Handle(2),
        flags: Flags::OPENER,
        ..Header::new(Kind::Dead, ContextId(1), ContextId(0))
    };
    tree.forge(
        1,
        Header {
            handle: call.handle,
            ..dead
        },
        b"",
    );
    assert!(tree.events(0).is_empty(), "nothing forged is delivered");
    tree.echo(2);
    assert_eq!(tree.answers(0), [(call, b"hello".to_vec())]);
}

#[test]
fn orders_reserved_to_a_parent_are_ignored_from_a_child() {
    let mut tree = Tree::grown(&[(0, 1)]);
    for kind in Kind::ALL
        .iter()
        .copied()
        .filter(|kind| kind.scope() == Scope::Link(Giver::Parent))
    {
        tree.forge(1, Header::new(kind, ContextId(1), ContextId(0)), b"");
    }
    assert!(tree.events(0).is_empty());
}

#[test]
fn a_link_that_keeps_forging_is_closed() {
    let mut tree = Tree::grown(&[(0, 1)]);
    for _ in 0..200 {
        tree.forge(1, Header::new(Kind::Data, ContextId(7), ContextId(0)), b"");
    }
    let broken = tree
        .events(0)
        .into_iter()
        .filter(|event| matches!(event, Event::Broken { .. }))
        .count();
    assert_eq!(broken, 1, "said once");
}

#[test]
fn a_flow_buffers_at_most_its_credit_and_resumes_as_it_is_read() {
    let mut tree = Tree::grown(&[(0, 1), (1, 2)]);
    let opening = Opening {
        streams: 1,
        ..Opening::default()
    };
    let flow = tree
        .node(0)
        .open(ContextId(2), Handle::CALL, b"", opening)
        .0;
    let stream = FlowKey {
        handle: Handle(flow.handle.0 + 1),
        ..flow
    };
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
    let mut sent = 0;
    let mut received: VecDeque<u8> = VecDeque::new();
    let mut rounds = 0;
    while received.len() < bytes.len() {
        rounds += 1;
        assert!(
            rounds < 1000,
            "it stands still at {} of {}",
            received.len(),
            bytes.len()
        );
        // The link takes some bytes at a time, the flow as much as there is credit for.
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
        assert!(got as u64 <= offshoot_proto::flow::MAX_WINDOW);
        if rounds == 1 {
            assert_eq!(got as u64, offshoot_proto::flow::INITIAL_WINDOW);
        }
        let theirs = FlowKey {
            peer: ContextId::ROOT,
            handle: stream.handle,
            opener: false,
        };
        tree.node(2).consume(theirs, got);
        tree.settle();
    }
    assert!(received.iter().eq(bytes.iter()));
    assert!(
        rounds < 12,
        "the window grows while the reader keeps up: {rounds} rounds"
    );
}

#[test]
fn a_small_call_overtakes_bulk_data() {
    let mut tree = Tree::grown(&[(0, 1)]);
    let opening = Opening {
        streams: 1,
        ..Opening::default()
    };
    let flow = tree
        .node(0)
        .open(ContextId(1), Handle::CALL, b"", opening)
        .0;
    let stream = FlowKey {
        handle: Handle(flow.handle.0 + 1),
        ..flow
    };
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
fn an_id_in_use_is_refused_to_a_second_connect() {
    let mut tree = Tree::grown(&[(0, 1), (0, 2)]);
    let order = tree.order(1, 2);
    tree.settle();
    let (flow, reason, _) = tree.reasons(0).remove(0);
    assert_eq!((flow, reason), (order, Reason::Refused));
}

#[test]
fn a_watch_ends_with_its_context_and_data_on_it_is_a_violation() {
    let mut tree = Tree::grown(&[(0, 1), (1, 2), (0, 3)]);
    let before = tree.node(0).flows();
    let [far, near] = [2, 3].map(|id| tree.node(0).watch(ContextId(id)));
    let dropped = tree.node(0).watch(ContextId(2));
    tree.node(0).unwatch(dropped);
    tree.settle();
    assert_eq!(
        (tree.reasons(0), tree.node(0).flows()),
        (Vec::new(), before + 2)
    );
    // One byte beyond the credit.
    let header = Header {
        handle: near.handle,
        flags: Flags::END,
        ..Header::new(Kind::Data, ContextId(3), ContextId(0))
    };
    tree.forge(3, header, b"x");
    let events = tree.events(0);
    assert!(events.iter().any(|event| matches!(
        event,
        Event::Broken {
            reason: Reason::Violation,
            ..
        }
    )));
    let (_, link, _) = *tree
        .cables
        .iter()
        .find(|cable| cable.2 == ContextId(2))
        .expect("it is there");
    tree.node(1).link_lost(link, Reason::Lost, "cut");
    tree.settle();
    assert_eq!(tree.reasons(0), [(far, Reason::Lost, ContextId(0))]);
    assert!(tree.node(0).flows() <= before);
}
