//! Forged frames of every kind, sent from every position of a tree to every other. None has an
//! effect, each is logged with the forger's number, and other contexts continue.

mod by_hand;

use by_hand::Tree;
use offshoot_proto::node::Event;
use offshoot_proto::wire::{Flags, Giver, Header, Kind, Scope};
use offshoot_proto::{ContextId, Handle};
use offshoot_proto::{DeadLetter, Reason};

/// The tree: 0 over 1 and 5; 1 over 2 and 4; 2 over 3; 5 over 6.
const PAIRS: [(u32, u32); 6] = [(0, 1), (0, 5), (1, 2), (1, 4), (2, 3), (5, 6)];
/// Contexts that forge.
const POSITIONS: [u32; 6] = [1, 2, 3, 4, 5, 6];
/// Forged sources and authorities: all contexts, and one that does not exist.
const NAMES: [u32; 8] = [0, 1, 2, 3, 4, 5, 6, 99];

fn below(context: u32) -> &'static [u32] {
    match context {
        1 => &[1, 2, 3, 4],
        2 => &[2, 3],
        5 => &[5, 6],
        3 => &[3],
        4 => &[4],
        6 => &[6],
        _ => &[],
    }
}

fn grown() -> Tree {
    let mut tree = Tree::grown(&PAIRS);
    for id in NAMES.iter().filter(|id| **id != 99) {
        tree.events(*id);
    }
    tree
}

/// Runs `forge` in a new tree as context `by`. Returns the events of all other contexts, and the
/// log.
fn played(by: u32, forge: impl FnOnce(&mut Tree)) -> (Vec<(u32, Event)>, Vec<String>, Tree) {
    let mut tree = grown();
    forge(&mut tree);
    let mut happened = Vec::new();
    for id in NAMES.iter().filter(|id| **id != 99 && **id != by) {
        happened.extend(tree.events(*id).into_iter().map(|event| (*id, event)));
    }
    let logged = std::mem::take(&mut tree.said);
    (happened, logged, tree)
}

/// Asserts that the tree is unharmed: every context answers the root from its place.
fn all_answer(tree: &mut Tree, but: u32) {
    for id in NAMES
        .iter()
        .filter(|id| **id != 99 && **id != 0 && !below(but).contains(id))
    {
        let call = tree.call(0, *id);
        tree.settle();
        tree.echo(*id);
        assert_eq!(tree.answers(0), [(call, b"hello".to_vec())], "context {id}");
    }
}

fn open(src: u32, auth: u32, dst: u32, handle: u32) -> Header {
    Header {
        auth: ContextId(auth),
        handle: Handle(handle),
        reply_to: Handle(5000),
        flags: Flags::OPENER.with(Flags::END, true),
        offset: 777,
        ..Header::new(Kind::Open, ContextId(src), ContextId(dst))
    }
}

#[test]
fn a_child_opens_flows_only_under_its_own_name_and_to_permitted_services() {
    for by in POSITIONS {
        for dst in NAMES {
            let names = NAMES.iter().flat_map(|src| NAMES.map(|auth| (*src, auth)));
            // Two foreign names prove no more than one.
            let worth = |src: u32, auth: u32| src == auth || src == by || auth == by;
            for (src, auth) in names.filter(|(src, auth)| worth(*src, *auth)) {
                for handle in 0..12 {
                    let (happened, logged, _) = played(by, |tree| {
                        tree.forge(by, open(src, auth, dst, handle), b"evil")
                    });
                    let own = below(by).contains(&src) && below(by).contains(&auth);
                    let what = format!("{by} as {src} for {auth} to {dst} at {handle}");
                    for (at, event) in &happened {
                        // A service that the root offers to descendants, under the true name;
                        // nothing else is delivered.
                        let offered = handle == Handle::ALLOCATE.0 && dst == 0 && own && *at == 0;
                        assert!(
                            offered && matches!(event, Event::Opened { .. }),
                            "{what}: {event:?}"
                        );
                    }
                    if !own {
                        let said = logged
                            .iter()
                            .any(|line| line.contains(&format!("the link of #{by}")));
                        assert!(said, "{what}: the offender is not named: {logged:?}");
                    } else if dst == 0 && [Handle::CALL.0, Handle::CONNECT.0].contains(&handle) {
                        assert!(
                            logged
                                .iter()
                                .any(|line| line.contains(&format!("refused #{auth}"))),
                            "{what}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn orders_or_a_second_hello_from_a_child_are_violations() {
    for by in POSITIONS {
        let orders = Kind::ALL
            .iter()
            .copied()
            .filter(|kind| kind.scope() == Scope::Link(Giver::Parent));
        for kind in orders.chain([Kind::Hello]) {
            let header = Header::new(kind, ContextId(by), ContextId(0));
            let payload = [6, 0, 0, 0, 3, 0, 0, 0, 1];
            let (happened, logged, mut tree) = played(by, |tree| tree.forge(by, header, &payload));
            assert!(happened.is_empty(), "{by} {kind:?}: {happened:?}");
            assert!(
                logged
                    .iter()
                    .any(|line| line.contains(&format!("the link of #{by}"))),
                "{by} {kind:?}"
            );
            all_answer(&mut tree, by);
        }
    }
}

/// Returns encoded route news: a new context with its parent, or lost contexts.
fn news(added: Option<(u32, u32)>, gone: &[u32]) -> Vec<u8> {
    use offshoot_codec::to_bytes;
    // Layout of an enum: number of the variant, then its fields.
    match added {
        Some((id, parent)) => [
            to_bytes(&0_u32).unwrap(),
            to_bytes(&(ContextId(id), ContextId(parent))).unwrap(),
        ]
        .concat(),
        None => {
            let contexts: Vec<ContextId> = gone.iter().copied().map(ContextId).collect();
            let fields = to_bytes(&(contexts, Reason::Lost, "evil".to_owned())).unwrap();
            [to_bytes(&1_u32).unwrap(), fields].concat()
        }
    }
}

#[test]
fn routes_are_accepted_only_from_the_link_they_lead_to() {
    for by in POSITIONS {
        for about in NAMES.into_iter().filter(|about| !below(by).contains(about)) {
            for payload in [
                news(Some((about, by)), &[]),
                news(None, &[about]),
                news(None, &NAMES[..2]),
            ] {
                let header = Header::new(Kind::Route, ContextId(by), ContextId(0));
                let (happened, logged, mut tree) =
                    played(by, |tree| tree.forge(by, header, &payload));
                assert!(happened.is_empty(), "{by} about {about}: {happened:?}");
                if payload[0] == 0 {
                    let said = logged
                        .iter()
                        .any(|line| line.contains(&format!("the link of #{by}")));
                    assert!(said, "{by} claims {about}: {logged:?}");
                }
                all_answer(&mut tree, by);
            }
        }
    }
}

#[test]
fn a_granted_id_is_accepted_only_from_the_link_it_was_granted_to() {
    for by in POSITIONS {
        let mut tree = grown();
        let (first, count) = tree.node(0).grant(ContextId(2)).expect("it is below");
        tree.settle();
        let last = first.0 + count - 1;
        // A parent that is elsewhere is not accepted either.
        let elsewhere = NAMES.into_iter().filter(|id| !below(by).contains(id));
        for parent in elsewhere.chain([last, last - 1]) {
            let claim = news(Some((last, parent)), &[]);
            tree.forge(
                by,
                Header::new(Kind::Route, ContextId(by), ContextId(0)),
                &claim,
            );
            assert!(
                tree.node(0).router.link_down(ContextId(last)).is_none(),
                "{by} {parent}"
            );
        }
        let claim = news(Some((last, by)), &[]);
        tree.forge(
            by,
            Header::new(Kind::Route, ContextId(by), ContextId(0)),
            &claim,
        );
        let known = tree.node(0).router.link_down(ContextId(last)).is_some();
        assert_eq!(known, [1, 2].contains(&by), "{by}");
        // The number behind the block is not granted.
        let claim = news(Some((last + 1, by)), &[]);
        tree.forge(
            by,
            Header::new(Kind::Route, ContextId(by), ContextId(0)),
            &claim,
        );
        assert!(
            tree.node(0).router.link_down(ContextId(last + 1)).is_none(),
            "{by}"
        );
    }
}

#[test]
fn dead_letters_are_accepted_only_from_nodes_on_the_route() {
    let letter = DeadLetter {
        reason: Reason::Lost,
        by: ContextId(0),
        text: "evil".into(),
    };
    let payload = offshoot_codec::to_bytes(&letter).unwrap();
    for by in POSITIONS {
        for about in [1, 2, 3, 4, 5, 6]
            .into_iter()
            .filter(|about| !below(by).contains(about))
        {
            let mut tree = grown();
            let call = tree.call(0, about);
            tree.settle();
            for (src, handle) in [
                (by, call.handle),
                (about, call.handle),
                (0, call.handle),
                (by, Handle::NONE),
            ] {
                let header = Header {
                    reply_to: Handle(about),
                    handle,
                    flags: Flags::OPENER,
                    ..Header::new(Kind::Dead, ContextId(src), ContextId(0))
                };
                tree.forge(by, header, &payload);
            }
            tree.echo(about);
            assert_eq!(
                tree.answers(0),
                [(call, b"hello".to_vec())],
                "{by} about {about}"
            );
        }
    }
}

#[test]
fn data_credit_and_resets_are_accepted_only_from_the_called_context() {
    for by in POSITIONS {
        for called in [1, 2, 3, 4, 5, 6]
            .into_iter()
            .filter(|called| !below(by).contains(called))
        {
            let mut tree = grown();
            let call = tree.call(0, called);
            tree.settle();
            for kind in [Kind::Data, Kind::Credit, Kind::Reset] {
                for src in [by, called] {
                    let header = Header {
                        handle: call.handle,
                        flags: if kind == Kind::Data {
                            Flags::END
                        } else {
                            Flags::default()
                        },
                        offset: if kind == Kind::Credit { u64::MAX } else { 0 },
                        ..Header::new(kind, ContextId(src), ContextId(0))
                    };
                    tree.forge(by, header, b"");
                }
            }
            tree.echo(called);
            assert_eq!(
                tree.answers(0),
                [(call, b"hello".to_vec())],
                "{by} for {called}"
            );
        }
    }
}

#[test]
fn a_log_record_under_a_foreign_name_is_dropped_and_reported() {
    for by in POSITIONS {
        for src in NAMES.into_iter().filter(|src| !below(by).contains(src)) {
            let header = Header {
                handle: Handle::LOG,
                ..Header::new(Kind::Log, ContextId(src), ContextId::ROOT)
            };
            let (happened, logged, _) = played(by, |tree| tree.forge(by, header, b"evil"));
            assert!(happened.is_empty(), "{by} as {src}: {happened:?}");
            assert!(
                logged
                    .iter()
                    .any(|line| line.contains(&format!("the link of #{by}"))),
                "{by} as {src}"
            );
        }
    }
}

#[test]
fn a_flow_control_violation_closes_only_the_link_of_the_offender() {
    // Credit beyond any window, bytes out of order, bytes beyond the credit.
    let abuses: [(Kind, u64, usize); 3] = [
        (Kind::Credit, u64::MAX, 0),
        (Kind::Data, 77, 1),
        (Kind::Data, 1 << 40, 60_000),
    ];
    for by in [1, 2, 3, 4, 6] {
        for (kind, offset, length) in abuses {
            let mut tree = grown();
            let call = tree.call(0, by);
            tree.settle();
            let header = Header {
                handle: call.handle,
                offset,
                ..Header::new(kind, ContextId(by), ContextId(0))
            };
            tree.forge(by, header, &vec![0; length]);
            let (parent, link, _) = *tree
                .cables
                .iter()
                .find(|cable| cable.2.0 == by)
                .expect("it is there");
            for id in NAMES.iter().filter(|id| **id != 99) {
                for event in tree.events(*id) {
                    if let Event::Broken {
                        link: broken,
                        reason,
                        ..
                    } = event
                    {
                        assert_eq!(
                            (*id, broken, reason),
                            (parent.0, link, Reason::Violation),
                            "{by} {kind:?}"
                        );
                        tree.node(*id)
                            .link_lost(broken, reason, "it broke the rules");
                    }
                }
            }
            tree.settle();
            assert!(
                tree.node(0).router.link_down(ContextId(by)).is_none(),
                "{by} {kind:?} is still there"
            );
            for id in NAMES {
                if id != 99 {
                    tree.events(id);
                }
            }
            all_answer(&mut tree, by);
        }
    }
}

#[test]
fn a_link_with_delegated_authority_still_cannot_forge_its_source() {
    let mut tree = grown();
    let (parent, link, _) = *tree
        .cables
        .iter()
        .find(|cable| cable.2.0 == 5)
        .expect("it is there");
    tree.node(parent.0).set_authority(link, ContextId::ROOT);
    tree.forge(5, open(1, 0, 0, Handle::CALL.0), b"evil");
    assert!(tree.events(0).is_empty(), "another's name");
    tree.forge(5, open(5, 5, 0, Handle::CALL.0), b"hello");
    let events = tree.events(0);
    let opened = events.iter().any(|event| {
        matches!(
            event,
            Event::Opened {
                auth: ContextId::ROOT,
                ..
            }
        )
    });
    assert!(opened, "it speaks for the root now: {events:?}");
}

/// Returns a tree in which 5 has the authority of the root.
fn with_a_guest() -> Tree {
    let mut tree = grown();
    let (parent, link, _) = *tree
        .cables
        .iter()
        .find(|cable| cable.2.0 == 5)
        .expect("it is there");
    tree.node(parent.0).set_authority(link, ContextId::ROOT);
    tree
}

#[test]
fn a_joined_context_reaches_all_descendants_and_is_told_when_they_are_gone() {
    let mut tree = with_a_guest();
    for below in [1, 2, 3, 4] {
        let call = tree.call(5, below);
        tree.settle();
        tree.echo(below);
        assert_eq!(
            tree.answers(5),
            [(call, b"hello".to_vec())],
            "context {below}"
        );
    }
    // They may answer the guest, but not call it.
    let call = tree.call(3, 5);
    tree.settle();
    assert_eq!(tree.reasons(3), [(call, Reason::Isolated, ContextId::ROOT)]);
    assert!(tree.events(5).is_empty());
    let (waits, waited_for) = (tree.call(5, 3), tree.call(5, 4));
    tree.settle();
    let (parent, link, _) = *tree
        .cables
        .iter()
        .find(|cable| cable.2.0 == 3)
        .expect("it is there");
    tree.node(parent.0).link_lost(link, Reason::Lost, "cut");
    tree.settle();
    assert_eq!(tree.reasons(5), [(waits, Reason::Lost, ContextId::ROOT)]);
    tree.echo(4);
    assert_eq!(tree.answers(5), [(waited_for, b"hello".to_vec())]);
    // They learn of its loss as well.
    tree.events(4);
    let (parent, link, _) = *tree
        .cables
        .iter()
        .find(|cable| cable.2.0 == 5)
        .expect("it is there");
    tree.call(5, 4);
    tree.settle();
    let opened = tree.events(4).into_iter().find_map(|event| match event {
        Event::Opened { flow, .. } => Some(flow),
        _ => None,
    });
    let call = opened.expect("it is asked");
    tree.node(parent.0).link_lost(link, Reason::Lost, "cut");
    tree.settle();
    assert_eq!(tree.reasons(4), [(call, Reason::Lost, ContextId::ROOT)]);
}

#[test]
fn contexts_behind_a_joined_context_do_not_have_its_authority() {
    let mut tree = with_a_guest();
    for (dst, reason, by) in [(0, Reason::Refused, 0), (3, Reason::Isolated, 0)] {
        let call = tree.call(6, dst);
        tree.settle();
        assert_eq!(tree.reasons(6), [(call, reason, ContextId(by))], "to {dst}");
    }
    let call = tree.call(3, 6);
    tree.settle();
    assert_eq!(tree.reasons(3), [(call, Reason::Isolated, ContextId::ROOT)]);
    // Nor in the guest's name, from behind it.
    tree.forge(6, open(5, 5, 0, Handle::CALL.0), b"evil");
    tree.forge(6, open(5, 5, 3, Handle::CALL.0), b"evil");
    assert!(tree.events(0).is_empty() && tree.events(3).is_empty());
}
