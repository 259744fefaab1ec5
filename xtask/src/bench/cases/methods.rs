//! Cases of hops beside the same tool without offshoot: each method whose counterpart starts here,
//! and many ssh hosts at once.

use crate::bench::fixture::{Bench, ROUNDS, Result, Row, Samples, Unit};
use crate::workspace::Outcome;

/// The rows of [`methods`], with the name of the method behind `method-`.
pub(in crate::bench) const ROWS: [Row; 12] = [
    row("method-docker", "docker: connect + first call"),
    row("method-podman", "podman: connect + first call"),
    row("method-lxc", "lxc: connect + first call"),
    row("method-kubectl", "kubectl: connect + first call"),
    row("method-chroot", "chroot: connect + first call"),
    row("method-bwrap", "bwrap: connect + first call"),
    row("method-nspawn", "nspawn: connect + first call"),
    row("method-unshare", "unshare: connect + first call"),
    row("method-setns", "setns: connect + first call"),
    row("method-su", "su: connect + first call"),
    row("method-runuser", "runuser: connect + first call"),
    row("method-sudo", "sudo: connect + first call"),
];

const fn row(name: &'static str, title: &'static str) -> Row {
    (name, title, Unit::Seconds)
}

pub(super) fn methods(bench: &mut Bench<'_>) -> Result<Vec<Samples>> {
    let count = ROUNDS.to_string();
    let mut rows = Vec::new();
    for (name, ..) in ROWS {
        let method = name.trim_start_matches("method-");
        let measured = bench.ours(&["method", method, &count], |command| command);
        let mut samples = Samples::new();
        match measured {
            Ok(numbers) => alternate(&mut samples, "tool", &numbers)?,
            // A tool that does not start here says nothing about the others.
            Err(error) => eprintln!("  {method}: {error}"),
        }
        rows.push(samples);
    }
    Ok(rows)
}

/// The number of hosts of [`thirty`].
const HOSTS: &str = "30";

pub(super) fn thirty(bench: &mut Bench<'_>) -> Result<Samples> {
    let words = ["at-once", &bench.hosts.near, "near", HOSTS, "5"];
    let numbers = bench.ours(&words, |command| command)?;
    let mut samples = Samples::new();
    alternate(&mut samples, "ssh", &numbers)?;
    Ok(samples)
}

/// Adds numbers that alternate between offshoot and another contender.
fn alternate(samples: &mut Samples, other: &'static str, numbers: &[f64]) -> Outcome {
    let (pairs, rest) = numbers.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("pairs were promised".into());
    }
    for &[ours, theirs] in pairs {
        samples.entry("ours").or_default().push(ours);
        samples.entry(other).or_default().push(theirs);
    }
    Ok(())
}
