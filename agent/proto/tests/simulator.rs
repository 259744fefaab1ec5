//! Random trees with random failures violate no invariant. `sim/mod.rs` explains the simulator, and
//! the use of a seed.

mod sim;

use sim::check::{Bounds, Check};
use sim::generate;
use sim::plan::{Answer, Forgery, Step};
use sim::run::{Options, run};
use sim::steps::{call, connect, hostile, stream, wait};
use sim::world::Sabotage;
use std::collections::BTreeMap;

fn number_from(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

#[test]
fn a_million_random_events_violate_no_check() {
    let wanted = number_from("OFFSHOOT_SIM_EVENTS", 1_000_000);
    let first = number_from("OFFSHOOT_SIM_SEED", 1);
    let (mut events, mut bytes, mut held, mut of_bound, mut overtaken) = (0, 0, 0, 0, 0);
    let (mut steps, mut happened) = (BTreeMap::new(), BTreeMap::new());
    let mut seed = first;
    while events < wanted {
        let plan = generate::plan(seed);
        let done = run(&plan, Options::of(seed));
        if let Some(failure) = &done.failure {
            println!("seed {seed}: {:?}: {}", failure.check, failure.what);
            let (small, failure) = sim::shrunk(&plan, Options::of(seed), failure);
            println!("{} steps of {} are enough:\n", small.len(), plan.len());
            println!("{}", sim::shrink::as_test(seed, &small, &failure));
            panic!("seed {seed} breaks {:?}: {}", failure.check, failure.what);
        }
        events += done.events;
        bytes += done.totals.bytes;
        held = done.totals.most_held.max(held);
        of_bound = done.totals.most_of_bound.max(of_bound);
        overtaken = done.totals.most_overtaken.max(overtaken);
        for (name, count) in done.totals.steps {
            *steps.entry(name).or_insert(0) += count;
        }
        for (name, count) in done.totals.happened {
            *happened.entry(name).or_insert(0) += count;
        }
        seed += 1;
    }
    // An action that never happens proves nothing: every kind of step was taken, and some came too
    // late.
    assert!(
        wanted < 1_000_000 || steps.len() == 21,
        "not every kind of step was taken: {steps:#?}"
    );
    println!(
        "seeds {first} to {}: {events} events, {bytes} bytes carried",
        seed - 1
    );
    println!(
        "most held for links by one node: {held} bytes, {of_bound}% of what it may; most bulk before a call: {overtaken} bytes"
    );
    println!("steps: {steps:#?}\nwhat came of them: {happened:#?}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 1..40 {
        let plan = generate::plan(seed);
        assert_eq!(plan, generate::plan(seed));
        let options = Options {
            record: seed < 10,
            ..Options::of(seed)
        };
        let (once, again) = (run(&plan, options), run(&plan, options));
        assert_eq!(once.lines, again.lines, "seed {seed}");
        assert_eq!(
            (once.events, once.sum),
            (again.events, again.sum),
            "seed {seed}"
        );
        assert!(once.events > 0 && once.lines.is_empty() != options.record);
    }
    let sum = |seed| run(&generate::plan(seed), Options::of(seed)).sum;
    assert_ne!(sum(1), sum(2));
}

/// Returns a small plan without failures.
fn quiet() -> Vec<Step> {
    vec![
        connect(0, 1),
        connect(1, 2),
        connect(0, 3),
        wait(20),
        call(0, 1),
        call(0, 2),
        stream(2, 200_000),
        wait(50),
    ]
}

/// A log record of a hostile child in the name of its sibling.
fn lie() -> Step {
    let frame = Forgery {
        kind: 11,
        flags: 0,
        dst: 0,
        src: 3,
        auth: 3,
        handle: 6,
        reply_to: 0,
        streams: 0,
        answering: 0,
        offset: 0,
        size: 64,
    };
    Step::Forge {
        at: 4,
        times: 1,
        frame,
    }
}

#[test]
fn a_quiet_tree_violates_no_check_and_answers_everything() {
    let plan = [
        quiet(),
        vec![
            hostile(0, 4),
            wait(20),
            lie(),
            call(2, 0),
            call(1, 3),
            call(0, 9),
        ],
    ]
    .concat();
    let done = sim::replay(7, &plan);
    assert_eq!(done.totals.steps.get("passed over"), None);
    assert_eq!(done.totals.happened.get("broken"), None);
}

/// Tests a check: with one thing sabotaged, exactly this invariant must be violated.
fn notices(sabotage: Sabotage, check: Check, more: &[Step]) {
    let bounds = Bounds {
        held: 1 << 20,
        events: 100_000,
        ..Options::of(7).bounds
    };
    let options = Options {
        sabotage: Some(sabotage),
        bounds,
        ..Options::of(7)
    };
    let plan = [&quiet(), more].concat();
    let honest = run(
        &plan,
        Options {
            sabotage: None,
            ..options
        },
    )
    .failure;
    assert!(honest.is_none(), "without sabotage: {honest:?}");
    let failure = run(&plan, options).failure;
    assert_eq!(
        failure.as_ref().map(|failure| failure.check),
        Some(check),
        "{sabotage:?}: {failure:?}"
    );
}

#[test]
fn duplicated_bytes_are_detected() {
    notices(Sabotage::DeliverTwice, Check::InOrder, &[]);
}

#[test]
fn reordered_bytes_are_detected() {
    notices(Sabotage::SwapBytes, Check::InOrder, &[]);
}

#[test]
fn a_request_without_an_outcome_is_detected() {
    notices(Sabotage::LoseClosed, Check::Settled, &[call(0, 9)]);
}

#[test]
fn a_request_with_two_outcomes_is_detected() {
    notices(Sabotage::CloseTwice, Check::OneOutcome, &[call(0, 9)]);
}

#[test]
fn a_forged_source_is_detected() {
    notices(
        Sabotage::BelieveForger,
        Check::Identity,
        &[hostile(0, 4), wait(20), lie()],
    );
}

#[test]
fn obeying_a_non_ancestor_is_detected() {
    notices(Sabotage::ObeyAnyone, Check::Authority, &[call(2, 0)]);
}

#[test]
fn a_route_that_outlives_its_link_is_detected() {
    let cut = Step::Cut {
        child: 1,
        keep: 100,
        parent_ms: 1,
        child_ms: 1,
    };
    notices(Sabotage::KeepRoute, Check::RouteAndLink, &[cut, wait(50)]);
}

#[test]
fn a_context_without_a_route_is_detected() {
    let sabotage = Options {
        sabotage: Some(Sabotage::ForgetRoute),
        ..Options::of(7)
    };
    let failure = run(&[connect(0, 1)], sabotage).failure;
    assert_eq!(
        failure.map(|failure| failure.check),
        Some(Check::RouteAndTruth)
    );
}

#[test]
fn a_node_that_buffers_too_much_is_detected() {
    notices(
        Sabotage::ReadWithoutReading,
        Check::Held,
        &[stream(1, 2_000_000)],
    );
}

#[test]
fn a_call_that_waits_for_bulk_data_is_detected() {
    notices(
        Sabotage::DelayCalls,
        Check::Overtaking,
        &[stream(1, 2_000_000), wait(1), call(0, 1)],
    );
}

#[test]
fn a_leaked_flow_is_detected() {
    let silent = Step::Call {
        from: 0,
        to: 1,
        size: 8,
        answer: Answer::Silent,
    };
    notices(
        Sabotage::KeepFlow,
        Check::Forgotten,
        &[silent, Step::Cancel { back: 0 }],
    );
}

#[test]
fn closing_an_honest_link_is_detected() {
    notices(Sabotage::BreakHonest, Check::Innocence, &[]);
}

#[test]
fn a_tree_that_never_settles_is_detected() {
    notices(Sabotage::NeverRest, Check::Endless, &[]);
}

#[test]
fn a_failing_plan_is_shrunk_to_a_minimum() {
    let seed = 3;
    let options = Options {
        sabotage: Some(Sabotage::DeliverTwice),
        ..Options::of(seed)
    };
    let plan = generate::plan(seed);
    let failure = run(&plan, options)
        .failure
        .expect("the sabotage is noticed");
    let (small, failure) = sim::shrunk(&plan, options, &failure);
    assert!(
        plan.len() > 40 && small.len() <= 3,
        "{} steps became {}: {small:#?}",
        plan.len(),
        small.len()
    );
    assert_eq!(failure.check, Check::InOrder);
    let test = sim::shrink::as_test(seed, &small, &failure);
    assert!(
        test.contains("#[test]\nfn seed_3()") && test.contains("InOrder"),
        "{test}"
    );
    assert!(small.iter().all(|step| test.contains(&format!("{step:?}"))));
}
