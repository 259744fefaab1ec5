//! The table, the aims and the JSON of a bench run.

use serde_json::{Value, json};

use super::cases::{ENDS, METHODS, Measured, scaled_pairs};
use super::fixture::Unit;
use super::hosts::ROUND_TRIP_MS;

/// An aim: its text, the measured figure and the allowed bound, in the same unit.
struct Aim {
    text: &'static str,
    measured: f64,
    allowed: Allowed,
    unit: &'static str,
}

/// The bound of a figure.
#[derive(Clone, Copy, Debug)]
enum Allowed {
    AtMost(f64),
    AtLeast(f64),
}

const CONTENDERS: [&str; 5] = ["ours", "mitogen", "ssh", "pipe", "tool"];

/// Returns the median of the samples.
fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        (sorted[middle - 1] + sorted[middle]) / 2.0
    }
}

fn of(results: &[Measured], case: &str, contender: &str) -> Option<f64> {
    let measured = results.iter().find(|measured| measured.name == case)?;
    measured
        .samples
        .get(contender)
        .map(|samples| median(samples))
}

/// Returns the largest sample of offshoot in these cases, if all were measured.
fn largest<'a>(results: &[Measured], cases: impl Iterator<Item = &'a str>) -> Option<f64> {
    let mut largest = None;
    for case in cases {
        let measured = results.iter().find(|measured| measured.name == case)?;
        let samples = measured.samples.get("ours")?.iter().copied();
        largest = samples.chain(largest).reduce(f64::max);
    }
    largest
}

/// Returns by how much offshoot's hop takes longer than the method's own tool, for the method where
/// this is most; none if no method was measured.
fn slowest_method(results: &[Measured]) -> Option<f64> {
    let above = |name| Some(of(results, name, "ours")? - of(results, name, "tool")?);
    METHODS
        .iter()
        .filter_map(|(name, ..)| above(name))
        .reduce(f64::max)
}

/// Prints medians, ratios and aims.
pub(super) fn print(results: &[Measured]) {
    println!(
        "{:<42} {:>11} {:>11} {:>11} {:>11} {:>11} {:>13} {:>10}",
        "median", "ours", "mitogen", "ssh", "pipe", "tool", "mitogen/ours", "ours/tool"
    );
    for measured in results {
        let value = |who: &str| measured.samples.get(who).map(|samples| median(samples));
        let shown: Vec<String> = CONTENDERS
            .iter()
            .map(|who| show(value(who), measured.unit))
            .collect();
        let ratio = |top: Option<f64>, bottom: Option<f64>| {
            top.zip(bottom).map_or("-".to_owned(), |(top, bottom)| {
                format!("{:.1}x", top / bottom)
            })
        };
        let (to_mitogen, to_ssh) = (
            ratio(value("mitogen"), value("ours")),
            ratio(value("ours"), value("ssh").or(value("tool"))),
        );
        print!("{:<42} {:>11} {:>11}", measured.title, shown[0], shown[1]);
        println!(
            " {:>11} {:>11} {:>11} {to_mitogen:>13} {to_ssh:>10}",
            shown[2], shown[3], shown[4]
        );
    }
    println!("\n{:<64} {:>14} {:>14}", "aim", "measured", "allowed");
    for aim in aims(results) {
        let verdict = if aim.hit() { "hit" } else { "MISSED" };
        let measured = format!("{:.2} {}", aim.measured, aim.unit);
        let allowed = match aim.allowed {
            Allowed::AtMost(bound) => format!("{bound:.2} {}", aim.unit),
            Allowed::AtLeast(bound) => format!(">= {bound:.2} {}", aim.unit),
        };
        println!("{:<64} {measured:>14} {allowed:>14} {verdict}", aim.text);
    }
}

/// Returns medians, all samples and the aims as JSON.
pub(super) fn json(results: &[Measured]) -> Value {
    let cases: Vec<Value> = results
        .iter()
        .map(|measured| {
            let medians: serde_json::Map<String, Value> = measured
                .samples
                .iter()
                .map(|(who, samples)| {
                    ((*who).to_owned(), json!({ "median": median(samples), "samples": samples }))
                })
                .collect();
            let unit = match measured.unit {
                Unit::Seconds | Unit::ShortSeconds => "seconds",
                Unit::Bytes | Unit::ManyBytes => "bytes",
                Unit::Rate => "bytes/second",
                Unit::Calls => "calls/second",
                Unit::Count => "count",
            };
            json!({ "case": measured.name, "title": measured.title, "unit": unit, "contenders": medians })
        })
        .collect();
    let aims: Vec<Value> = aims(results)
        .iter()
        .map(|aim| {
            let (bound, side) = match aim.allowed {
                Allowed::AtMost(bound) => (bound, "at most"),
                Allowed::AtLeast(bound) => (bound, "at least"),
            };
            json!({
                "aim": aim.text,
                "measured": aim.measured,
                "allowed": bound,
                "side": side,
                "unit": aim.unit,
                "hit": aim.hit(),
            })
        })
        .collect();
    json!({ "cases": cases, "aims": aims })
}

impl Aim {
    fn hit(&self) -> bool {
        match self.allowed {
            Allowed::AtMost(bound) => self.measured <= bound,
            Allowed::AtLeast(bound) => self.measured >= bound,
        }
    }
}

/// Returns the aims whose figures were all measured.
fn aims(results: &[Measured]) -> Vec<Aim> {
    let get = |case, who| of(results, case, who);
    let ms = |seconds: f64| seconds * 1000.0;
    let mib = |bytes: f64| bytes / 1_048_576.0;
    let ratio = |top, bottom| Some(get(top, "ours")? / get(bottom, "ours")?);
    let larger = |one, other| Some(get(one, "ours")?.max(get(other, "ours")?));
    let grown: Option<Vec<f64>> = scaled_pairs()
        .map(|(small, large)| ratio(large, small))
        .collect();
    let grown = grown.and_then(|ratios| ratios.into_iter().reduce(f64::max));
    let most = |bound: f64| Some(Allowed::AtMost(bound));
    let pairs = [
        (
            "local connect + first call: a tenth of mitogen's",
            get("local", "ours").map(ms),
            get("local", "mitogen").map(|theirs| Allowed::AtMost(ms(theirs) / 10.0)),
            "ms",
        ),
        (
            "ssh on loopback: 40 ms above `ssh HOST true`",
            get("ssh", "ours").map(ms),
            get("ssh", "ssh").map(|plain| Allowed::AtMost(ms(plain) + 40.0)),
            "ms",
        ),
        (
            "ssh at 250 ms: one round trip after `ssh HOST true`",
            get("delayed", "ours").map(ms),
            get("delayed", "ssh")
                .map(|plain| Allowed::AtMost(ms(plain) + f64::from(ROUND_TRIP_MS))),
            "ms",
        ),
        (
            "hop by each method: 25 ms above the tool's own program",
            slowest_method(results).map(ms),
            most(25.0),
            "ms",
        ),
        (
            "30 ssh hosts at once: 15 % above as many `ssh HOST true`",
            get("thirty", "ours")
                .zip(get("thirty", "ssh"))
                .map(|(ours, plain)| 100.0 * (ours / plain - 1.0)),
            most(15.0),
            "%",
        ),
        (
            "idle agent: 3 MiB resident",
            get("rss", "ours").map(mib),
            most(3.0),
            "MiB",
        ),
        (
            "empty local call: 2.5 times the pipe's ping-pong",
            get("call-local", "ours").map(|seconds| seconds * 1e6),
            get("call-local", "pipe").map(|floor| Allowed::AtMost(floor * 2.5e6)),
            "us",
        ),
        (
            "empty calls, 20,000 under way: 10 times mitogen's",
            get("pipeline", "ours"),
            get("pipeline", "mitogen").map(|theirs| Allowed::AtLeast(theirs * 10.0)),
            "/s",
        ),
        (
            "empty calls, 20,000 under way: 150,000 a second",
            get("pipeline", "ours"),
            Some(Allowed::AtLeast(150_000.0)),
            "/s",
        ),
        (
            "argument of 127 MiB: 4 times mitogen's rate",
            get("argument", "ours").map(mib),
            get("argument", "mitogen").map(|theirs| Allowed::AtLeast(mib(theirs) * 4.0)),
            "MiB/s",
        ),
        (
            "empty call over 10 hops: 40 % of mitogen's",
            get("ten-hops", "ours").map(|seconds| seconds * 1e6),
            get("ten-hops", "mitogen").map(|theirs| Allowed::AtMost(theirs * 0.4e6)),
            "us",
        ),
        (
            "10,000 replies outstanding: they cost their caller 4 MiB",
            get("outstanding", "ours").map(mib),
            most(4.0),
            "MiB",
        ),
        (
            "unread stream of 1 GiB, 4 hops: no process grows by over 16 MiB",
            larger("stalled-down", "stalled-up").map(mib),
            most(16.0),
            "MiB",
        ),
        (
            "empty call beside a stream, 3 hops: median 5 ms above idle",
            larger("ping-down", "ping-up")
                .zip(get("ping-idle", "ours"))
                .map(|(busy, idle)| ms(busy - idle)),
            most(5.0),
            "ms",
        ),
        (
            "one stream at 250 ms and 1 Gbit/s: 80 % of plain ssh's",
            get("far-stream", "ours").map(mib),
            get("far-stream", "ssh").map(|plain| Allowed::AtLeast(mib(plain) * 0.8)),
            "MiB/s",
        ),
        (
            "one stream over 10 hops: 40 % of that over 1, worse direction",
            ratio("relay-10-down", "relay-1-down")
                .zip(ratio("relay-10-up", "relay-1-up"))
                .map(|(down, up)| 100.0 * down.min(up)),
            Some(Allowed::AtLeast(40.0)),
            "%",
        ),
        (
            "whole tree over ssh and sudo: its slowest end takes 1 s",
            largest(results, ENDS.iter().map(|(name, ..)| *name)).map(ms),
            most(1000.0),
            "ms",
        ),
        (
            "cost of each of 1,000 contexts: 1.5 times that of each of 250",
            grown,
            most(1.5),
            "times",
        ),
    ];
    let whole = pairs
        .into_iter()
        .filter_map(|(text, measured, allowed, unit)| {
            Some(Aim {
                text,
                measured: measured?,
                allowed: allowed?,
                unit,
            })
        });
    whole.collect()
}

fn show(value: Option<f64>, unit: Unit) -> String {
    match (value, unit) {
        (None, _) => "-".to_owned(),
        (Some(value), Unit::Seconds) => format!("{:.1} ms", value * 1e3),
        (Some(value), Unit::ShortSeconds) => format!("{:.1} us", value * 1e6),
        (Some(value), Unit::Bytes) => format!("{:.1} KiB", value / 1024.0),
        (Some(value), Unit::ManyBytes) => format!("{:.1} MiB", value / 1_048_576.0),
        (Some(value), Unit::Rate) => format!("{:.1} MiB/s", value / 1_048_576.0),
        (Some(value), Unit::Calls) => format!("{value:.0}/s"),
        (Some(value), Unit::Count) => format!("{value:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Aim, Allowed, aims, median};
    use crate::bench::cases::all_alike;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_both_middles() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn every_goal_finds_its_rows() {
        let aims = aims(&all_alike(1.0));
        assert_eq!(aims.len(), 18);
        // All are alike: ten hops carry as much as one, and the thousandth context costs what the
        // first did.
        let hit = |words: &str| {
            aims.iter()
                .find(|aim| aim.text.starts_with(words))
                .map(Aim::hit)
        };
        assert_eq!(hit("one stream over 10 hops"), Some(true));
        assert_eq!(hit("cost of each of 1,000"), Some(true));
        assert_eq!(hit("local connect"), Some(false));
    }

    #[test]
    fn a_bound_is_met_on_the_correct_side() {
        let aim = |measured, allowed| Aim {
            text: "",
            measured,
            allowed,
            unit: "",
        };
        assert!(aim(1.0, Allowed::AtMost(2.0)).hit() && !aim(3.0, Allowed::AtMost(2.0)).hit());
        assert!(aim(3.0, Allowed::AtLeast(2.0)).hit() && !aim(1.0, Allowed::AtLeast(2.0)).hit());
    }
}
