//! Situations designed by hand: pairs, heartbeats, clocks, all kinds of forgers, readers that stop.

use super::check::Bounds;
use super::held::FLIGHT;
use super::ledger::Outcome;
use super::plan::{Answer, Reader, Step};
use super::replay;
use super::run::{Options, Run, run};
use super::steps::{call, connect, connect_by, connect_slowly, forge, hostile, visit, wait};
use super::world::BEAT;
use offshoot_proto::node::ATTRIBUTED;
use offshoot_proto::wire::Kind;

const QUICK: Answer = Answer::Reply { ms: 1, size: 8 };

fn count(run: &Run, what: &str) -> u64 {
    run.totals.happened.get(what).copied().unwrap_or(0)
}

/// Returns the outcomes of the requests after the first `skip`.
fn outcomes(run: &Run, skip: usize) -> Vec<Option<Outcome>> {
    run.requests
        .iter()
        .skip(skip)
        .map(|(outcome, _)| *outcome)
        .collect()
}

#[test]
fn two_contexts_talk_only_while_the_root_has_paired_them() {
    let tree = [
        connect(0, 1),
        connect(1, 2),
        connect(1, 3),
        connect(3, 4),
        connect(0, 5),
        wait(50),
    ];
    let visits = [
        visit(2, 4, QUICK),
        visit(4, 2, QUICK),
        visit(2, 5, QUICK),
        visit(5, 2, QUICK),
        wait(50),
    ];
    let pair = |open| {
        let pair = |one, other| Step::Pair { one, other, open };
        [pair(2, 4), pair(5, 2), wait(50)]
    };
    let closing = [
        wait(6000),
        visit(2, 4, Answer::Silent),
        visit(4, 2, Answer::Silent),
    ];
    let plan: Vec<Step> = [
        tree.as_slice(),
        &visits,
        &pair(true),
        &visits,
        &[visit(2, 3, QUICK), visit(4, 2, Answer::Silent), wait(50)],
        &pair(false),
        &closing,
        &visits,
    ]
    .concat();
    let (value, closed) = (Some(Outcome::Value), Some(Outcome::Closed));
    let expected = [
        [closed; 4].as_slice(),
        &[value; 4],
        &[closed; 2],
        &[closed; 6],
    ]
    .concat();
    assert_eq!(outcomes(&replay(1, &plan), 5), expected);
}

#[test]
fn a_context_is_told_when_its_pair_is_lost() {
    let tree = [
        connect(0, 1),
        connect(1, 2),
        connect(0, 3),
        connect(3, 4),
        wait(50),
    ];
    let pair = [
        Step::Pair {
            one: 2,
            other: 4,
            open: true,
        },
        wait(50),
    ];
    let silent = [
        visit(2, 4, Answer::Silent),
        visit(4, 2, Answer::Silent),
        wait(50),
    ];
    for (lost, its) in [(1, Outcome::Closed), (2, Outcome::Orphaned)] {
        let plan = [
            tree.as_slice(),
            &pair,
            &silent,
            &[Step::Vanish { child: lost, ms: 1 }, wait(50)],
        ]
        .concat();
        let run = replay(1, &plan);
        assert_eq!(
            outcomes(&run, 4),
            [Some(its), Some(Outcome::Closed)],
            "{lost}"
        );
    }
}

#[test]
fn a_grandchild_gets_its_id_from_a_granted_block() {
    let plan = [
        connect(0, 1),
        connect(1, 2),
        wait(50),
        connect_by(1, 2, 3),
        wait(50),
        call(0, 3),
        call(1, 3),
        wait(50),
    ];
    let run = replay(1, &plan);
    assert_eq!(outcomes(&run, 0), [Some(Outcome::Value); 6]);
    assert_eq!(count(&run, "grant"), 1);
}

#[test]
fn a_link_survives_two_missed_heartbeats_but_not_five() {
    for (up, beats, silent) in [(true, 2, 0), (false, 2, 0), (true, 5, 1), (false, 5, 1)] {
        let ms = beats * BEAT as u32;
        let plan = [
            connect(0, 1),
            connect(1, 2),
            wait(700),
            Step::Stall { child: 1, up, ms },
            wait(100),
            call(0, 2),
            wait(9000),
        ];
        let run = replay(1, &plan);
        assert_eq!(count(&run, "silent"), silent, "{beats} beats");
        let outcome = if silent > 0 {
            Outcome::Closed
        } else {
            Outcome::Value
        };
        assert_eq!(outcomes(&run, 2), [Some(outcome)]);
    }
}

/// Splits a line of a trace into its time in microseconds and the rest.
fn noted(line: &str) -> (u64, &str) {
    let (time, what) = line
        .trim_start()
        .split_once(' ')
        .expect("a time and what happened");
    (time.parse().expect("a number"), what)
}

#[test]
fn silence_is_detected_three_heartbeats_after_the_last_byte_in_any_phase() {
    for (up, phase) in [true, false]
        .into_iter()
        .flat_map(|up| (0..BEAT as u32).step_by(23).map(move |ms| (up, ms)))
    {
        let stall = Step::Stall {
            child: 1,
            up,
            ms: 20 * BEAT as u32,
        };
        let plan = [
            connect(0, 1),
            wait(2000 + phase),
            call(0, 1),
            wait(phase / 3),
            stall,
            wait(9000),
        ];
        let run = run(
            &plan,
            Options {
                record: true,
                ..Options::of(1)
            },
        );
        assert!(run.failure.is_none(), "{:?}", run.failure);
        let lines: Vec<_> = run.lines.iter().map(|line| noted(line)).collect();
        let at = lines
            .iter()
            .position(|(_, what)| *what == format!("silent {} 1 0", u8::from(!up)));
        let at = at.expect("the silence is noticed");
        let bytes = if up { "carry 1 " } else { "carry 0 " };
        let last = lines[..at]
            .iter()
            .rfind(|(_, what)| what.starts_with(bytes))
            .expect("something came")
            .0;
        let silent = lines[at].0 - last;
        // Nodes count in milliseconds.
        let beats = 3 * BEAT * 1000;
        assert!(
            (beats - 1000..=beats + 1000).contains(&silent),
            "{up} {phase}: after {silent} us"
        );
    }
}

#[test]
fn a_clock_jump_closes_no_link() {
    let jump = |at| Step::Jump { at };
    let plan = [
        connect(0, 1),
        connect(1, 2),
        wait(700),
        jump(1),
        jump(0),
        jump(2),
        wait(3000),
        jump(1),
        wait(100),
        call(0, 2),
        wait(3000),
    ];
    let run = replay(1, &plan);
    assert_eq!(
        (
            count(&run, "silent"),
            count(&run, "broken"),
            run.totals.steps["jump"]
        ),
        (0, 0, 4)
    );
    assert_eq!(outcomes(&run, 2), [Some(Outcome::Value)]);
}

#[test]
fn no_kind_of_forged_frame_harms_a_sibling() {
    let honest = [call(0, 3), call(0, 1), call(0, 2), wait(20)];
    for kind in 0..Kind::ALL.len() as u8 {
        for flags in [0, 1, 3] {
            let forged = |at: u32, other: u32| {
                let about = |dst: u32, offset: u64| {
                    forge(at, kind, 3, move |frame| {
                        (frame.dst, frame.flags, frame.offset) = (dst, flags, offset)
                    })
                };
                [
                    about(other, 3),
                    about(0, u64::MAX),
                    about(at, 8),
                    about(3, 1),
                ]
            };
            let plan = [
                [
                    connect(0, 1),
                    connect(1, 2),
                    connect(0, 3),
                    hostile(2, 4),
                    wait(40),
                ]
                .as_slice(),
                &forged(4, 2),
                &[wait(5)],
                &honest,
                &forged(4, 1),
                &honest,
            ]
            .concat();
            let run = replay(u64::from(kind), &plan);
            assert_eq!(
                outcomes(&run, 4),
                [Some(Outcome::Value); 6],
                "{:?} {flags}",
                Kind::ALL[usize::from(kind)]
            );
        }
    }
}

#[test]
fn a_flooding_child_that_ignores_choke_is_not_read_from() {
    let data = 7;
    let flood = forge(4, data, 6000, |frame| frame.size = 5000);
    let plan = [
        connect_slowly(0, 1),
        wait(100),
        hostile(1, 4),
        connect(1, 2),
        wait(500),
        flood,
        wait(2000),
        call(0, 2),
        wait(2000),
    ];
    let bounds = Bounds {
        held: (ATTRIBUTED + FLIGHT) as u64,
        ..Options::of(1).bounds
    };
    let run = run(
        &plan,
        Options {
            bounds,
            ..Options::of(1)
        },
    );
    assert!(run.failure.is_none(), "{:?}", run.failure);
    assert!(count(&run, "pause") > 0 && count(&run, "resume") > 0);
    assert_eq!(outcomes(&run, 3), [Some(Outcome::Value)]);
}

/// Maximum number of bytes that all links and readers together may hold.
const LITTLE: u64 = 16 << 20;

fn chain() -> Vec<Step> {
    vec![
        connect(0, 1),
        connect(1, 2),
        connect(2, 3),
        connect(3, 4),
        connect(3, 5),
        wait(100),
    ]
}

#[test]
fn a_gibibyte_for_a_stalled_reader_waits_at_its_sender() {
    let stops = |size, after| Step::Stream {
        from: 0,
        to: 4,
        size,
        up: false,
        reader: Reader::Stops { after },
    };
    let mut plan = [chain(), vec![stops(1 << 30, 20 << 20)]].concat();
    plan.extend((0..15).map(|_| stops(64 << 20, 0)));
    for _ in 0..10 {
        plan.extend([wait(3), call(0, 4), call(0, 5), call(4, 4), wait(3)]);
    }
    let run = replay(1, &plan);
    println!(
        "{} bytes over links, at most {} in one node",
        run.totals.bytes, run.totals.most_at_one
    );
    assert!(
        run.totals.most_at_one < LITTLE,
        "{}",
        run.totals.most_at_one
    );
    for (outcome, took) in run.requests.iter().skip(5 + 16) {
        assert_eq!(*outcome, Some(Outcome::Value));
        assert!(*took < 20_000, "a call took {took} us");
    }
}

#[test]
fn data_for_a_child_that_does_not_read_waits_at_its_sender() {
    let deaf = Step::Stall {
        child: 4,
        up: false,
        ms: 10_000,
    };
    let to_it = Step::Stream {
        from: 0,
        to: 4,
        size: 16 << 20,
        up: false,
        reader: Reader::Stops { after: 0 },
    };
    let mut plan = [chain(), vec![deaf]].concat();
    plan.extend((0..64).map(|_| to_it.clone()));
    plan.extend([wait(500), call(0, 5), call(0, 3), call(3, 5), wait(500)]);
    let run = run(
        &plan,
        Options {
            beat: 0,
            ..Options::of(1)
        },
    );
    assert!(run.failure.is_none(), "{:?}", run.failure);
    println!("at most {} for the links of one node", run.totals.most_held);
    assert!(run.totals.most_held < 3 << 20, "{}", run.totals.most_held);
    for (outcome, took) in run.requests.iter().skip(5 + 64) {
        assert_eq!(*outcome, Some(Outcome::Value));
        assert!(*took < 20_000, "a call took {took} us");
    }
}

#[test]
fn a_request_in_flight_ends_with_its_pair() {
    let ends = [
        Step::Vanish { child: 2, ms: 0 },
        Step::Pair {
            one: 2,
            other: 4,
            open: false,
        },
    ];
    for end in ends {
        let tree = [
            connect(0, 1),
            connect(1, 2),
            connect(0, 3),
            connect_slowly(3, 4),
            wait(100),
        ];
        let pair = [
            Step::Pair {
                one: 2,
                other: 4,
                open: true,
            },
            wait(50),
        ];
        let mut plan = [tree.as_slice(), &pair].concat();
        let bulk = Step::Stream {
            from: 0,
            to: 4,
            size: 300_000,
            up: false,
            reader: Reader::Fast,
        };
        plan.extend((0..4).map(|_| bulk.clone()));
        plan.push(wait(3));
        plan.extend((0..3).map(|_| visit(2, 4, Answer::Silent)));
        plan.extend([wait(1), end, wait(5000)]);
        replay(1, &plan);
    }
}

#[test]
fn many_last_streams_of_a_context_do_not_close_an_honest_link() {
    let mut plan = vec![connect_slowly(0, 1), wait(100), connect(1, 2), wait(500)];
    let words = Step::Stream {
        from: 0,
        to: 2,
        size: 3000,
        up: true,
        reader: Reader::Fast,
    };
    plan.extend((0..250).map(|_| words.clone()));
    plan.extend([wait(400), Step::Vanish { child: 2, ms: 0 }]);
    replay(1, &plan);
}

#[test]
fn a_context_throttled_by_lost_peers_is_read_from_again() {
    let mut plan = vec![connect(0, 1)];
    plan.extend((10..20).map(|slow| connect_slowly(0, slow)));
    plan.push(wait(300));
    for slow in 10..20 {
        plan.extend([
            Step::Pair {
                one: 1,
                other: slow,
                open: true,
            },
            wait(5),
        ]);
        plan.extend((0..8).map(|_| Step::Visit {
            from: 1,
            to: slow,
            size: 300_000,
            answer: QUICK,
        }));
        plan.extend([wait(100), Step::Vanish { child: slow, ms: 1 }, wait(50)]);
    }
    plan.extend([call(0, 1), call(1, 1), wait(100)]);
    let run = replay(1, &plan);
    assert_eq!(outcomes(&run, 11 + 80), [Some(Outcome::Value); 2]);
}
