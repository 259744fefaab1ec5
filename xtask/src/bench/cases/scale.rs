//! Cases of many contexts below one controller: the cost of each, and whether the cost grows with
//! their number.

use crate::bench::fixture::{Bench, Result, Row, Samples, Unit, spread};

/// The rows of [`scale`]: the same six figures for each size, in the order in which the program of
/// offshoot prints them.
pub(super) const ROWS: [Row; 12] = [
    (
        "connect-250",
        "250 contexts: connect, each",
        Unit::ShortSeconds,
    ),
    (
        "call-250",
        "250 contexts: one call, each",
        Unit::ShortSeconds,
    ),
    (
        "memory-250",
        "250 contexts: agents' memory, each",
        Unit::Bytes,
    ),
    (
        "root-memory-250",
        "250 contexts: root's memory, each",
        Unit::Bytes,
    ),
    (
        "descriptors-250",
        "250 contexts: root's descriptors, each",
        Unit::Count,
    ),
    (
        "end-250",
        "250 contexts: end after SIGKILL, each",
        Unit::ShortSeconds,
    ),
    (
        "connect-1000",
        "1,000 contexts: connect, each",
        Unit::ShortSeconds,
    ),
    (
        "call-1000",
        "1,000 contexts: one call, each",
        Unit::ShortSeconds,
    ),
    (
        "memory-1000",
        "1,000 contexts: agents' memory, each",
        Unit::Bytes,
    ),
    (
        "root-memory-1000",
        "1,000 contexts: root's memory, each",
        Unit::Bytes,
    ),
    (
        "descriptors-1000",
        "1,000 contexts: root's descriptors, each",
        Unit::Count,
    ),
    (
        "end-1000",
        "1,000 contexts: end after SIGKILL, each",
        Unit::ShortSeconds,
    ),
];

/// Returns the names of each figure at the smaller and at the larger size.
pub(crate) fn pairs() -> impl Iterator<Item = (&'static str, &'static str)> {
    let (small, large) = ROWS.split_at(ROWS.len() / 2);
    small
        .iter()
        .zip(large)
        .map(|(small, large)| (small.0, large.0))
}

pub(super) fn scale(bench: &mut Bench<'_>) -> Result<Vec<Samples>> {
    let mut rows = vec![Samples::new(); ROWS.len()];
    for _ in 0..2 {
        for (figures, count) in rows.chunks_mut(ROWS.len() / 2).zip(["250", "1000"]) {
            spread(
                figures,
                "ours",
                &bench.ours(&["scale", count], |command| command)?,
            );
        }
    }
    Ok(rows)
}
