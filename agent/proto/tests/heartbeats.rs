//! Heartbeats of suspended neighbours and sleeping owners, on a virtual clock.

mod by_hand;

use by_hand::{Tree, UP};
use offshoot_proto::Reason;
use offshoot_proto::node::Event;
use offshoot_proto::wire::Kind;
use offshoot_proto::{ContextId, LinkId};

const EVERY: u64 = 1000;

/// A root and a child that send each other heartbeats from time 0 on.
struct Pair {
    tree: Tree,
    link: LinkId,
    now: u64,
    /// True if the root's process is stopped: it neither reads nor checks its links.
    stopped: bool,
}

impl Pair {
    fn new() -> Self {
        let mut tree = Tree::grown(&[(0, 1)]);
        let link = tree
            .node(0)
            .router
            .link_down(ContextId(1))
            .expect("it is connected");
        tree.node(0).beat(link, EVERY);
        tree.node(1).beat(UP, EVERY);
        Self {
            tree,
            link,
            now: 0,
            stopped: false,
        }
    }

    /// Advances the time. Returns the broken links with reason and text.
    fn pass(&mut self, ms: u64) -> Vec<(u32, Reason, String)> {
        let mut broken = Vec::new();
        for _ in 0..ms / 10 {
            self.now += 10;
            let (root, child) = (ContextId::ROOT, ContextId(1));
            self.tree.node(1).expire(self.now);
            if !self.stopped {
                self.tree.node(0).expire(self.now);
                self.carry(child, UP, root, self.link);
            }
            self.carry(root, self.link, child, UP);
            for at in [0, 1] {
                while let Some(event) = self.tree.node(at).poll_event() {
                    match event {
                        Event::Broken { reason, why, .. } => broken.push((at, reason, why)),
                        Event::Control {
                            link,
                            kind: Kind::Ping,
                            ..
                        } => {
                            self.tree.node(at).control(link, Kind::Pong, Vec::new());
                        }
                        _ => {}
                    }
                }
            }
        }
        broken
    }

    /// Carries all bytes, if there are any: an empty read would count as a sign of life.
    fn carry(&mut self, from: ContextId, over: LinkId, to: ContextId, into: LinkId) {
        if self.tree.node(from.0).queued(over) > 0 {
            self.tree.carry(from, over, to, into);
        }
    }

    /// Stops the root's process, with or without announcement.
    fn stop(&mut self, told: bool) {
        if told {
            self.tree.node(0).rest(true);
            self.carry(ContextId::ROOT, self.link, ContextId(1), UP);
        }
        self.stopped = true;
    }

    fn go_on(&mut self, told: bool) {
        self.stopped = false;
        self.tree.node(0).set_time(self.now);
        if told {
            self.tree.node(0).rest(false);
        }
    }
}

#[test]
fn a_paused_neighbour_is_kept_and_a_silent_one_disconnected() {
    for told in [true, false] {
        let mut pair = Pair::new();
        assert_eq!(pair.pass(4500), []);
        pair.stop(told);
        let broken = pair.pass(60 * EVERY);
        match broken.as_slice() {
            [] => assert!(told),
            [(1, Reason::Silent, why)] => {
                assert!(!told && why.contains("nothing received for 3 s"), "{why}")
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn no_pings_are_queued_for_a_paused_neighbour() {
    let mut pair = Pair::new();
    assert_eq!(pair.pass(4500), []);
    pair.stop(true);
    assert_eq!(pair.pass(EVERY), []);
    let before = pair.tree.node(1).queued(UP);
    assert_eq!(pair.pass(100_000 * EVERY), []);
    assert_eq!(pair.tree.node(1).queued(UP), before);
}

#[test]
fn heartbeats_resume_after_a_pause() {
    let mut pair = Pair::new();
    pair.pass(1700);
    pair.stop(true);
    pair.pass(30 * EVERY);
    pair.go_on(true);
    assert_eq!(pair.pass(30 * EVERY), [], "both answer again");
    // Without announcement this time.
    pair.stop(false);
    let broken = pair.pass(10 * EVERY);
    assert!(
        matches!(broken.as_slice(), [(1, Reason::Silent, _)]),
        "{broken:?}"
    );
}

#[test]
fn a_node_that_was_paused_pings_again_before_it_disconnects_anybody() {
    for phase in (0..4000).step_by(170) {
        let mut pair = Pair::new();
        pair.pass(3000 + phase);
        pair.stop(true);
        pair.pass(100 * EVERY);
        pair.go_on(true);
        assert_eq!(pair.pass(10 * EVERY), [], "{phase}");
    }
}

#[test]
fn a_pause_is_announced_to_a_child_that_is_still_connecting() {
    let mut tree = Tree::new();
    tree.order(0, 7);
    tree.settle();
    tree.node(0).rest(true);
    tree.bring_up(7);
    tree.node(7).set_time(10);
    tree.node(7).beat(UP, EVERY);
    for now in 0..100 {
        tree.node(7).expire(now * EVERY);
    }
    assert!(
        !tree
            .events(7)
            .iter()
            .any(|event| matches!(event, Event::Broken { .. }))
    );
}
