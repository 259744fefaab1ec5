//! Cases of streams: speed near and far, the memory of an unread stream, and calls beside one.

use crate::bench::fixture::{Bench, Result, Row, Samples, Unit, spread};
use crate::bench::programs::{in_namespace, numbers};

/// Mebibytes of the stream over the delayed path: half a minute at the speed that ssh's own window
/// allows. A slower contender gets fewer.
const FAR_MIB: &str = "160";

/// Mebibytes of the stream over one hop and over ten.
const RELAYED_MIB: [(&str, &str); 2] = [("1", "512"), ("10", "128")];
/// Mebibytes of Mitogen's stream over either.
const MITOGEN_MIB: &str = "128";

/// The rows of [`stalled`].
pub(super) const STALLED: [Row; 2] = [
    (
        "stalled-down",
        "unread stream, 4 hops down: growth",
        Unit::ManyBytes,
    ),
    (
        "stalled-up",
        "unread stream, 4 hops up: growth",
        Unit::ManyBytes,
    ),
];

/// Measures the growth of the process that grows most, in one round: memory does not vary.
pub(super) fn stalled(bench: &mut Bench<'_>) -> Result<Vec<Samples>> {
    let mut rows = vec![Samples::new(); STALLED.len()];
    for (row, way) in rows.iter_mut().zip(["down", "up"]) {
        row.insert("ours", bench.ours(&["stalled", way], |command| command)?);
    }
    Ok(rows)
}

/// The rows of [`ping_busy`], in the order in which the programs print them.
pub(super) const PING_BUSY: [Row; 6] = [
    ("ping-idle", "empty call, 3 hops, idle", Unit::Seconds),
    ("ping-idle-p99", "  its 99th percentile", Unit::Seconds),
    (
        "ping-down",
        "empty call, 3 hops, beside a stream down",
        Unit::Seconds,
    ),
    ("ping-down-p99", "  its 99th percentile", Unit::Seconds),
    (
        "ping-up",
        "empty call, 3 hops, beside a stream up",
        Unit::Seconds,
    ),
    ("ping-up-p99", "  its 99th percentile", Unit::Seconds),
];

pub(super) fn ping_busy(bench: &mut Bench<'_>) -> Result<Vec<Samples>> {
    let mut rows = vec![Samples::new(); PING_BUSY.len()];
    spread(
        &mut rows,
        "ours",
        &bench.ours(&["ping-busy"], |command| command)?,
    );
    spread(
        &mut rows,
        "mitogen",
        &numbers(bench.programs.mitogen(&["ping-busy"]))?,
    );
    Ok(rows)
}

/// Measures offshoot and plain ssh over the same path, each with a program that runs to its end.
pub(super) fn far_stream(bench: &mut Bench<'_>) -> Result<Samples> {
    let (config, namespace) = (&bench.hosts.far, &bench.hosts.far_namespace);
    let mut samples = Samples::new();
    for (contender, verb) in [("ours", "far"), ("ssh", "far-ssh")] {
        let rate = bench.ours(&[verb, config, "far", FAR_MIB], |command| {
            in_namespace(namespace, &command)
        })?;
        samples.insert(contender, rate);
    }
    Ok(samples)
}

/// The rows of [`relay`]: each number of hops, down and up.
pub(super) const RELAY: [Row; 4] = [
    ("relay-1-down", "one stream down, 1 hop", Unit::Rate),
    ("relay-1-up", "one stream up, 1 hop", Unit::Rate),
    ("relay-10-down", "one stream down, 10 hops", Unit::Rate),
    ("relay-10-up", "one stream up, 10 hops", Unit::Rate),
];

/// Measures both directions; Mitogen has a stream in one, that of its file service.
pub(super) fn relay(bench: &mut Bench<'_>) -> Result<Vec<Samples>> {
    let mut rows = vec![Samples::new(); RELAY.len()];
    for _ in 0..2 {
        for (pair, (hops, size)) in rows.chunks_mut(2).zip(RELAYED_MIB) {
            spread(
                pair,
                "ours",
                &bench.ours(&["relay", hops, size], |command| command)?,
            );
            spread(
                pair,
                "mitogen",
                &numbers(bench.programs.mitogen(&["relay", hops, MITOGEN_MIB]))?,
            );
        }
    }
    Ok(rows)
}
