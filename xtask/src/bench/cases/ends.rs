//! Case of the end of a whole tree: from the signal to the last process.

use crate::bench::fixture::{Bench, ROUNDS, Result, Row, Samples, Unit, spread};

/// The rows of [`ends`], in the order in which the program of offshoot prints them. The tree is the
/// one of the suite `guard`: three contexts over ssh and sudo, and six programs in each that are
/// hard to end.
pub(crate) const ROWS: [Row; 3] = [
    (
        "end-controller",
        "whole tree ends, controller killed",
        Unit::Seconds,
    ),
    (
        "end-agent",
        "whole tree ends, first agent killed",
        Unit::Seconds,
    ),
    (
        "end-stopped",
        "the same, agents below it stopped",
        Unit::Seconds,
    ),
];

pub(super) fn ends(bench: &mut Bench<'_>) -> Result<Vec<Samples>> {
    let mut rows = vec![Samples::new(); ROWS.len()];
    for _ in 0..ROUNDS {
        spread(&mut rows, "ours", &bench.ours(&["end"], |command| command)?);
    }
    Ok(rows)
}
