//! Cases of calls: many at once, large arguments, many hops, and the cost of pending replies.

use crate::bench::fixture::{Bench, ROUNDS, Result, Row, Samples, Unit, spread};
use crate::bench::programs::numbers;

/// The number of calls that start before the first reply is awaited.
const WINDOW: &str = "20000";

/// The number of calls of offshoot; Mitogen makes one window of them, which takes seconds.
const CALLS: &str = "200000";

pub(super) fn pipeline(bench: &mut Bench<'_>) -> Result<Samples> {
    let mut samples = Samples::new();
    for _ in 0..ROUNDS {
        let ours = bench.ours(&["pipeline", CALLS, WINDOW], |command| command)?;
        samples.entry("ours").or_default().extend(ours);
        let theirs = numbers(bench.programs.mitogen(&["pipeline", WINDOW, WINDOW]))?;
        samples.entry("mitogen").or_default().extend(theirs);
    }
    Ok(samples)
}

pub(super) fn argument(bench: &mut Bench<'_>) -> Result<Samples> {
    bench.duel(ROUNDS, &["argument", "127", "3"], |_| Ok(()))
}

pub(super) fn ten_hops(bench: &mut Bench<'_>) -> Result<Samples> {
    bench.duel(ROUNDS, &["ten-hops", "1000"], |_| Ok(()))
}

/// The rows of [`outstanding`], in the order in which the program of offshoot prints them.
pub(super) const OUTSTANDING: [Row; 2] = [
    (
        "outstanding",
        "10,000 replies outstanding: caller's growth",
        Unit::ManyBytes,
    ),
    (
        "outstanding-agent",
        "10,000 replies outstanding: agent's growth",
        Unit::ManyBytes,
    ),
];

/// Measures in one round: memory does not vary.
pub(super) fn outstanding(bench: &mut Bench<'_>) -> Result<Vec<Samples>> {
    let mut rows = vec![Samples::new(); OUTSTANDING.len()];
    spread(
        &mut rows,
        "ours",
        &bench.ours(&["outstanding", "10000"], |command| command)?,
    );
    Ok(rows)
}
