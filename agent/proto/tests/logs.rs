//! Log records and filters in trees of nodes: who receives them, and that lost records are counted.

mod by_hand;

use by_hand::{Tree, UP};
use offshoot_codec as codec;
use offshoot_proto::node::Event;
use offshoot_proto::wire::{Header, Kind};
use offshoot_proto::{ContextId, Handle};

/// The tree: 0 over 1 and 5; 1 over 2; 2 over 3.
const PAIRS: [(u32, u32); 4] = [(0, 1), (0, 5), (1, 2), (2, 3)];

/// Returns the filters that a context has received.
fn filters(tree: &mut Tree, id: u32) -> Vec<String> {
    let filter = |event| match event {
        Event::Control {
            kind: Kind::Filter,
            bytes,
            link: UP,
        } => Some(String::from_utf8(bytes).unwrap()),
        _ => None,
    };
    tree.events(id).into_iter().filter_map(filter).collect()
}

#[test]
fn a_filter_reaches_connected_and_connecting_contexts() {
    let mut tree = Tree::grown(&PAIRS);
    tree.order(3, 7);
    tree.settle();
    tree.node(0).pass_filter(b"=3");
    tree.settle();
    tree.node(0).pass_filter(b"a=5,=2");
    tree.settle();
    tree.bring_up(7);
    for id in [1, 2, 3, 5, 7] {
        assert_eq!(filters(&mut tree, id), ["=3", "a=5,=2"], "context {id}");
    }
    // A context in the middle changes the filter only for contexts below it.
    tree.node(2).pass_filter(b"=1");
    tree.settle();
    for (id, count) in [(1, 0), (2, 0), (3, 1), (5, 0), (7, 1)] {
        assert_eq!(filters(&mut tree, id).len(), count, "context {id}");
    }
}

/// Returns the number of records at the root, and the number of dropped ones that they report.
fn arrived(tree: &mut Tree) -> (usize, usize) {
    const NOTICE: &str = " log records were too many here and are dropped";
    let (mut records, mut dropped) = (0, 0);
    for event in tree.events(0) {
        let Event::Log { bytes, .. } = event else {
            continue;
        };
        // Level, target, message, fields and spans; records of the test's own have another form.
        let record = codec::from_bytes::<(u8, String, String, String, String)>(&bytes);
        match record
            .as_ref()
            .ok()
            .and_then(|record| record.2.strip_suffix(NOTICE))
        {
            Some(count) => dropped += count.parse::<usize>().expect("it says how many"),
            None => records += 1,
        }
    }
    (records, dropped)
}

#[test]
fn records_dropped_at_a_full_link_are_counted_and_reported() {
    let mut tree = Tree::grown(&PAIRS);
    for _round in 0..3 {
        for _ in 0..100 {
            tree.node(3).log(vec![b'x'; 8000]);
            tree.node(1).log(vec![b'y'; 8000]);
        }
        tree.settle();
        let (records, dropped) = arrived(&mut tree);
        assert_eq!(records + dropped, 200, "{records} have arrived");
        assert!(records >= 2 * 30 && dropped > 100, "{records} have arrived");
    }
    tree.node(3).log(b"one more".to_vec());
    tree.settle();
    assert_eq!(arrived(&mut tree), (1, 0), "a loss is reported once");
}

#[test]
fn records_over_the_rate_limit_of_a_link_are_counted_and_reported() {
    for end in ["more", "beat", "lost"] {
        let mut tree = Tree::grown(&PAIRS);
        tree.node(0).set_time(1000);
        let link = tree.node(0).router.link_down(ContextId(1)).unwrap();
        tree.node(0).beat(link, 1000);
        let header = |src| Header {
            handle: Handle::LOG,
            ..Header::new(Kind::Log, ContextId(src), ContextId::ROOT)
        };
        for number in 0..2700 {
            tree.forge(1, header([1, 2, 3][number % 3]), b"much");
        }
        assert_eq!(arrived(&mut tree), (2000, 0));
        match end {
            "more" => {
                tree.node(0).set_time(1500);
                tree.forge(1, header(2), b"more");
            }
            "beat" => tree.node(0).expire(2000),
            _ => tree
                .node(0)
                .link_lost(link, offshoot_proto::Reason::Lost, "gone"),
        }
        tree.settle();
        let logged = std::mem::take(&mut tree.said);
        let told = "700 log records from the link of #1 were too many and are dropped";
        assert_eq!(
            logged
                .iter()
                .filter(|line| line.contains("too many"))
                .collect::<Vec<_>>(),
            [told],
            "{end}"
        );
    }
}
