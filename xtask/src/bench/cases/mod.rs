//! The table of cases; the cases themselves are in the modules below.
//!
//! Contenders alternate in rounds, so that a machine that slows down halfway slows all of them.
//! Every reported figure is a median over all rounds.

mod calls;
mod ends;
mod flow;
mod hops;
mod methods;
mod scale;

pub(super) use ends::ROWS as ENDS;
pub(super) use methods::ROWS as METHODS;
pub(super) use scale::pairs as scaled_pairs;

use super::fixture::{Bench, Result, Row, Samples, Unit};
use super::hosts::Hosts;
use super::programs::Programs;

/// One finished row.
pub(super) struct Measured {
    /// The name of the row; if a case has one row, the name of the case.
    pub name: &'static str,
    /// The title in the table.
    pub title: &'static str,
    /// The unit of its figures.
    pub unit: Unit,
    /// All samples.
    pub samples: Samples,
}

/// Measures a case of one row.
type Single = fn(&mut Bench<'_>) -> Result<Samples>;

/// Measures a case: samples for each of its rows.
type Several = fn(&mut Bench<'_>) -> Result<Vec<Samples>>;

enum Case {
    Single(Row, Single),
    Several(&'static str, &'static [Row], Several),
}

/// All cases.
const CASES: [Case; 21] = [
    Case::Single(
        ("bytes", "bytes sent to the first call", Unit::Bytes),
        hops::bytes,
    ),
    Case::Single(
        ("local", "local: connect + first call", Unit::Seconds),
        hops::local,
    ),
    Case::Single(
        (
            "ssh",
            "ssh on loopback: connect + first call",
            Unit::Seconds,
        ),
        hops::loopback,
    ),
    Case::Single(
        ("sudo", "sudo below a live ssh hop", Unit::Seconds),
        hops::sudo,
    ),
    Case::Single(
        ("call-local", "empty call, local", Unit::ShortSeconds),
        hops::call_local,
    ),
    Case::Single(
        ("call-ssh", "empty call, over ssh", Unit::ShortSeconds),
        hops::call_ssh,
    ),
    Case::Single(("rss", "idle agent, resident", Unit::Bytes), hops::resident),
    Case::Single(
        ("pss", "idle agent, proportional share", Unit::Bytes),
        hops::proportional,
    ),
    Case::Single(
        (
            "delayed",
            "ssh at 250 ms: connect + first call",
            Unit::Seconds,
        ),
        hops::delayed,
    ),
    Case::Single(
        ("pipeline", "empty calls, 20,000 under way", Unit::Calls),
        calls::pipeline,
    ),
    Case::Single(
        ("argument", "argument of 127 MiB, local", Unit::Rate),
        calls::argument,
    ),
    Case::Single(
        ("ten-hops", "empty call, 10 hops", Unit::ShortSeconds),
        calls::ten_hops,
    ),
    Case::Several("outstanding", &calls::OUTSTANDING, calls::outstanding),
    Case::Several("stalled", &flow::STALLED, flow::stalled),
    Case::Several("ping-busy", &flow::PING_BUSY, flow::ping_busy),
    Case::Single(
        (
            "far-stream",
            "ssh at 250 ms, 1 Gbit/s: one stream",
            Unit::Rate,
        ),
        flow::far_stream,
    ),
    Case::Several("relay", &flow::RELAY, flow::relay),
    Case::Several("methods", &methods::ROWS, methods::methods),
    Case::Single(
        (
            "thirty",
            "30 ssh hosts at once: connect + first call",
            Unit::Seconds,
        ),
        methods::thirty,
    ),
    Case::Several("end", &ends::ROWS, ends::ends),
    Case::Several("scale", &scale::ROWS, scale::scale),
];

impl Case {
    /// Returns the word that selects the case.
    fn name(&self) -> &'static str {
        match self {
            Self::Single((name, ..), _) | Self::Several(name, ..) => name,
        }
    }

    fn rows(&self) -> &[Row] {
        match self {
            Self::Single(row, _) => std::slice::from_ref(row),
            Self::Several(_, rows, _) => rows,
        }
    }

    fn measure(&self, bench: &mut Bench<'_>) -> Result<Vec<Measured>> {
        let samples = match self {
            Self::Single(_, measure) => vec![measure(bench)?],
            Self::Several(_, _, measure) => measure(bench)?,
        };
        let finished = self
            .rows()
            .iter()
            .zip(samples)
            .map(|(&(name, title, unit), samples)| Measured {
                name,
                title,
                unit,
                samples,
            });
        Ok(finished.collect())
    }
}

/// Checks that every word names a case.
///
/// # Errors
/// Returns an error that lists the cases if a word names none.
pub(super) fn check_names<'a>(words: impl Iterator<Item = &'a String>) -> Result<()> {
    for word in words {
        if !CASES.iter().any(|case| case.name() == word) {
            let names: Vec<&str> = CASES.iter().map(Case::name).collect();
            return Err(format!(
                "there is no case {word:?}; the cases are {}",
                names.join(", ")
            )
            .into());
        }
    }
    Ok(())
}

/// Measures the chosen cases, or all.
///
/// # Errors
/// Returns an error if a program fails.
pub(super) fn measure(
    programs: &Programs,
    hosts: &Hosts,
    chosen: &[&String],
) -> Result<Vec<Measured>> {
    let mut bench = Bench { programs, hosts };
    let mut results = Vec::new();
    for case in &CASES {
        // The delayed case needs to know what ours sends, so the count is always taken.
        let wanted = chosen.is_empty() || chosen.iter().any(|word| *word == case.name());
        let needed = case.name() == "bytes" && chosen.iter().any(|word| *word == "delayed");
        if wanted || needed {
            eprintln!("measuring {}", case.name());
            results.extend(case.measure(&mut bench)?);
        }
    }
    Ok(results)
}

/// Returns every row, with the same single sample for each contender.
#[cfg(test)]
pub(super) fn all_alike(sample: f64) -> Vec<Measured> {
    let samples: Samples = ["ours", "mitogen", "ssh", "pipe", "tool"]
        .into_iter()
        .map(|who| (who, vec![sample]))
        .collect();
    let rows = CASES.iter().flat_map(Case::rows);
    rows.map(|&(name, title, unit)| Measured {
        name,
        title,
        unit,
        samples: samples.clone(),
    })
    .collect()
}
