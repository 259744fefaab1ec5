//! Random trees under random misfortune keep every promise; see `sim/mod.rs` for how, and for what to do with a seed.

mod sim;

use sim::generate;
use sim::run::{Options, run};
use std::collections::BTreeMap;

fn number_from(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn a_million_events_keep_every_promise() {
    let wanted = number_from("OFFSHOOT_SIM_EVENTS", 1_000_000);
    let first = number_from("OFFSHOOT_SIM_SEED", 1);
    let (mut events, mut bytes, mut held, mut overtaken) = (0, 0, 0, 0);
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
        overtaken = done.totals.most_overtaken.max(overtaken);
        for (name, count) in done.totals.steps {
            *steps.entry(name).or_insert(0) += count;
        }
        for (name, count) in done.totals.happened {
            *happened.entry(name).or_insert(0) += count;
        }
        seed += 1;
    }
    println!("seeds {first} to {}: {events} events, {bytes} bytes carried", seed - 1);
    println!("most held by one node: {held} bytes; most bulk before a call: {overtaken} frames");
    println!("steps: {steps:#?}\nwhat came of them: {happened:#?}");
}

#[test]
fn torrent() {
    use sim::plan::{Fate::*, Reader::*, Step::*, Wire};
    let slow = Wire { latency_us: 1000, us_per_kib: 5000, capacity: 65_536 };
    let mut plan = vec![
        Connect { by: 0, parent: 0, child: 1, fate: Up { ms: 1 }, wire: slow, hostile: false },
        Wait { ms: 100 },
        Connect { by: 0, parent: 1, child: 2, fate: Up { ms: 1 }, wire: Wire::NEAR, hostile: false },
        Wait { ms: 500 },
    ];
    for _ in 0..40 {
        plan.push(Stream { from: 0, to: 2, size: 300_000, up: true, reader: Fast });
    }
    plan.push(Wait { ms: 500 });
    plan.push(Vanish { child: 2, ms: 0 });
    sim::replay(1, &plan);
}
