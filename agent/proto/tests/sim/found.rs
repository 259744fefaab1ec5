//! Minimal plans of bugs that the simulator has found.

use super::check::Bounds;
use super::held::FLIGHT;
use super::place::OPEN;
use super::plan::{Fate, Forgery, Reader, Step, Wire};
use super::run::{Options, run};
use super::steps::{connect, forge, hostile, wait};
use offshoot_proto::node::ATTRIBUTED;

#[test]
fn a_request_sent_before_its_route_is_known_is_answered() {
    let by = |by, parent, child| Step::Connect {
        by,
        parent,
        child,
        fate: Fate::Up { ms: 1 },
        wire: Wire::NEAR,
        hostile: false,
    };
    let chain = [
        connect(6, 12),
        connect(12, 15),
        connect(15, 16),
        connect(16, 17),
        by(6, 17, 18),
    ];
    super::replay(26, &[vec![connect(0, 6), wait(1)], chain.to_vec()].concat());
}

#[test]
fn a_returned_connect_request_leaves_no_route() {
    let trouble = [
        Step::Stall {
            child: 1,
            up: true,
            ms: 4,
        },
        Step::Corrupt {
            child: 2,
            up: false,
            bit: 214_371_600,
        },
        connect(2, 5),
        wait(2),
        connect(5, 7),
    ];
    super::replay(
        51,
        &[
            vec![connect(0, 1), connect(1, 2), wait(2)],
            trouble.to_vec(),
        ]
        .concat(),
    );
}

#[test]
fn the_last_bytes_of_a_context_do_not_close_an_honest_link() {
    let slow = Wire {
        latency_us: 1000,
        us_per_kib: 5000,
        capacity: 65_536,
    };
    let relay = Step::Connect {
        by: 0,
        parent: 0,
        child: 1,
        fate: Fate::Up { ms: 1 },
        wire: slow,
        hostile: false,
    };
    let mut plan = vec![relay, wait(100), connect(1, 2), wait(500)];
    plan.extend((0..40).map(|_| Step::Stream {
        from: 0,
        to: 2,
        size: 300_000,
        up: true,
        reader: Reader::Fast,
    }));
    plan.extend([wait(500), Step::Vanish { child: 2, ms: 0 }]);
    super::replay(1, &plan);
}

#[test]
fn a_hostile_grandchild_does_not_close_an_honest_link() {
    let frame = Forgery {
        kind: 6,
        flags: 1,
        dst: 0,
        src: 4,
        auth: 4,
        handle: 4,
        reply_to: 2,
        streams: 1,
        answering: 0,
        offset: 8,
        size: 8,
    };
    super::replay(
        719,
        &[
            connect(0, 1),
            hostile(1, 4),
            wait(3),
            Step::Forge {
                at: 4,
                times: 100,
                frame,
            },
        ],
    );
}

#[test]
fn a_claim_to_a_context_elsewhere_is_ignored() {
    let frame = Forgery {
        kind: 5,
        flags: 0,
        dst: 0,
        src: 4,
        auth: 4,
        handle: 0,
        reply_to: 0,
        streams: 0,
        answering: 0,
        offset: 3,
        size: 8,
    };
    let plan = [
        connect(0, 1),
        connect(1, 2),
        connect(0, 3),
        wait(20),
        hostile(2, 4),
        wait(20),
    ];
    super::replay(
        2229,
        &[
            plan.to_vec(),
            vec![
                Step::Forge {
                    at: 4,
                    times: 1,
                    frame,
                },
                wait(20),
            ],
        ]
        .concat(),
    );
}

#[test]
fn a_relay_in_front_of_a_slow_link_holds_a_bounded_amount() {
    let slow = Wire {
        latency_us: 1000,
        us_per_kib: 5000,
        capacity: 65_536,
    };
    let relay = Step::Connect {
        by: 0,
        parent: 0,
        child: 1,
        fate: Fate::Up { ms: 1 },
        wire: slow,
        hostile: false,
    };
    let mut plan = vec![relay, wait(100), connect(1, 2), wait(500)];
    plan.extend((0..300).map(|_| Step::Stream {
        from: 0,
        to: 2,
        size: 300_000,
        up: true,
        reader: Reader::Fast,
    }));
    super::replay(1, &plan);
}

#[test]
fn nothing_piles_up_for_a_child_that_does_not_read() {
    let frame = Forgery {
        kind: 7,
        flags: 1,
        dst: 0,
        src: 4,
        auth: 4,
        handle: 5000,
        reply_to: 0,
        streams: 0,
        answering: 0,
        offset: 0,
        size: 0,
    };
    let deaf = Step::Stall {
        child: 4,
        up: false,
        ms: 100_000,
    };
    let plan = [
        hostile(0, 4),
        wait(20),
        deaf,
        Step::Forge {
            at: 4,
            times: 100_000,
            frame,
        },
        wait(20_000),
    ];
    let bounds = Bounds {
        held: (ATTRIBUTED + FLIGHT) as u64,
        ..Options::of(1).bounds
    };
    let failure = run(
        &plan,
        Options {
            bounds,
            ..Options::of(1)
        },
    )
    .failure;
    assert!(failure.is_none(), "{failure:?}");
}

#[test]
fn a_forged_connect_request_does_not_take_over_a_route() {
    let far = Wire {
        latency_us: 30_000,
        us_per_kib: 20,
        capacity: 65_536,
    };
    let relay = Step::Connect {
        by: 0,
        parent: 0,
        child: 1,
        fate: Fate::Up { ms: 1 },
        wire: far,
        hostile: false,
    };
    let forged = forge(4, OPEN, 1, |frame| {
        (frame.dst, frame.handle, frame.offset) = (1, 2, 7)
    });
    let plan = [
        relay,
        wait(200),
        hostile(1, 4),
        wait(200),
        connect(1, 7),
        forged,
        wait(200),
    ];
    super::replay(1, &plan);
}
