//! The table, the aims and the JSON of a bench run.

use serde_json::{Value, json};

use super::cases::{Measured, Unit};
use super::hosts::ROUND_TRIP_MS;

/// One aim: what it says, what was measured, what is allowed, all in the same unit.
struct Aim {
    text: &'static str,
    measured: f64,
    allowed: f64,
    unit: &'static str,
}

const CONTENDERS: [&str; 4] = ["ours", "mitogen", "ssh", "pipe"];

/// The middle of the samples.
fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

fn of(results: &[Measured], case: &str, contender: &str) -> Option<f64> {
    let measured = results.iter().find(|measured| measured.name == case)?;
    measured.samples.get(contender).map(|samples| median(samples))
}

/// Prints medians, ratios and aims.
pub fn print(results: &[Measured]) {
    println!(
        "{:<40} {:>11} {:>11} {:>11} {:>11} {:>13} {:>10}",
        "median", "ours", "mitogen", "ssh", "pipe", "mitogen/ours", "ours/ssh"
    );
    for measured in results {
        let value = |who: &str| measured.samples.get(who).map(|samples| median(samples));
        let shown: Vec<String> = CONTENDERS.iter().map(|who| show(value(who), measured.unit)).collect();
        let ratio = |top: Option<f64>, bottom: Option<f64>| {
            top.zip(bottom).map_or("-".to_owned(), |(top, bottom)| format!("{:.1}x", top / bottom))
        };
        let (to_mitogen, to_ssh) =
            (ratio(value("mitogen"), value("ours")), ratio(value("ours"), value("ssh")));
        print!("{:<40} {:>11} {:>11}", measured.title, shown[0], shown[1]);
        println!(" {:>11} {:>11} {to_mitogen:>13} {to_ssh:>10}", shown[2], shown[3]);
    }
    println!("\n{:<64} {:>12} {:>12}", "aim", "measured", "allowed");
    for aim in aims(results) {
        let verdict = if aim.hit() { "hit" } else { "MISSED" };
        let (measured, allowed) =
            (format!("{:.2} {}", aim.measured, aim.unit), format!("{:.2} {}", aim.allowed, aim.unit));
        println!("{:<64} {measured:>12} {allowed:>12} {verdict}", aim.text);
    }
}

/// Medians, all samples and the aims.
pub fn json(results: &[Measured]) -> Value {
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
            let unit = if measured.unit == Unit::Bytes { "bytes" } else { "seconds" };
            json!({ "case": measured.name, "title": measured.title, "unit": unit, "contenders": medians })
        })
        .collect();
    let aims: Vec<Value> = aims(results)
        .iter()
        .map(|aim| {
            json!({ "aim": aim.text, "measured": aim.measured, "allowed": aim.allowed, "unit": aim.unit, "hit": aim.hit() })
        })
        .collect();
    json!({ "cases": cases, "aims": aims })
}

impl Aim {
    fn hit(&self) -> bool {
        self.measured <= self.allowed
    }
}

/// The aims whose figures are all there.
fn aims(results: &[Measured]) -> Vec<Aim> {
    let get = |case, who| of(results, case, who);
    let ms = |seconds: f64| seconds * 1000.0;
    let pairs = [
        (
            "local connect + first call: a tenth of mitogen's",
            get("local", "ours").map(ms),
            get("local", "mitogen").map(|theirs| ms(theirs) / 10.0),
            "ms",
        ),
        (
            "ssh on loopback: 40 ms above `ssh HOST true`",
            get("ssh", "ours").map(ms),
            get("ssh", "ssh").map(|plain| ms(plain) + 40.0),
            "ms",
        ),
        (
            "ssh at 250 ms: one round trip after `cat` has swallowed as much",
            get("delayed", "ours").map(ms),
            get("delayed", "ssh").map(|plain| ms(plain) + f64::from(ROUND_TRIP_MS)),
            "ms",
        ),
        ("idle agent: 3 MiB resident", get("rss", "ours").map(|bytes| bytes / 1_048_576.0), Some(3.0), "MiB"),
        (
            "empty local call: 2.5 times the pipe's ping-pong",
            get("call-local", "ours").map(|seconds| seconds * 1e6),
            get("call-local", "pipe").map(|floor| floor * 2.5e6),
            "us",
        ),
    ];
    let whole = pairs.into_iter().filter_map(|(text, measured, allowed, unit)| {
        Some(Aim { text, measured: measured?, allowed: allowed?, unit })
    });
    whole.collect()
}

fn show(value: Option<f64>, unit: Unit) -> String {
    match (value, unit) {
        (None, _) => "-".to_owned(),
        (Some(value), Unit::Seconds) => format!("{:.1} ms", value * 1e3),
        (Some(value), Unit::ShortSeconds) => format!("{:.1} us", value * 1e6),
        (Some(value), Unit::Bytes) => format!("{:.1} KiB", value / 1024.0),
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middles() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
