//! The cases, one function each, and the order in which contenders take turns.
//!
//! Contenders alternate in rounds, so that a machine that slows down halfway slows all of them. Every figure that is
//! reported is a median over all rounds.

use std::collections::BTreeMap;
use std::process::Command;

use super::hosts::Hosts;
use super::programs::{Programs, in_namespace, numbers, seconds_of, ssh};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Samples by contender: `ours`, `mitogen`, `ssh`, `pipe`.
pub type Samples = BTreeMap<&'static str, Vec<f64>>;

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Shown as milliseconds.
    Seconds,
    /// Shown as microseconds.
    ShortSeconds,
    /// Shown as KiB.
    Bytes,
}

/// One finished case.
pub struct Measured {
    /// The word that selects it.
    pub name: &'static str,
    /// What the table says.
    pub title: &'static str,
    /// What its figures count.
    pub unit: Unit,
    /// All samples.
    pub samples: Samples,
}

/// Everything a case may use.
struct Bench<'a> {
    programs: &'a Programs,
    hosts: &'a Hosts,
    /// What ours sends to reach its first call, once that is known.
    ours_sends: Option<usize>,
}

type Measure = fn(&mut Bench<'_>) -> Result<Samples>;

/// Rounds in which the contenders of a case alternate.
const ROUNDS: usize = 5;

/// What the delayed `cat` is fed while ours has sent nothing: the size of an image.
const ASSUMED_IMAGE: usize = 98_304;

/// `bytes` and its split stand first: the delayed case feeds ssh as much.
const CASES: [(&str, &str, Unit, Measure); 9] = [
    ("bytes", "bytes sent to the first call", Unit::Bytes, bytes),
    ("local", "local: connect + first call", Unit::Seconds, local),
    ("ssh", "ssh on loopback: connect + first call", Unit::Seconds, loopback),
    ("sudo", "sudo below a live ssh hop", Unit::Seconds, sudo),
    ("call-local", "empty call, local", Unit::ShortSeconds, call_local),
    ("call-ssh", "empty call, over ssh", Unit::ShortSeconds, call_ssh),
    ("rss", "idle agent, resident", Unit::Bytes, resident),
    ("pss", "idle agent, proportional share", Unit::Bytes, proportional),
    ("delayed", "ssh at 250 ms: connect + first call", Unit::Seconds, delayed),
];

/// Refuses words that name no case.
pub fn check_names<'a>(words: impl Iterator<Item = &'a String>) -> Result<()> {
    for word in words {
        if !CASES.iter().any(|(name, ..)| name == word) {
            let names: Vec<&str> = CASES.iter().map(|(name, ..)| *name).collect();
            return Err(format!("there is no case {word:?}; the cases are {}", names.join(", ")).into());
        }
    }
    Ok(())
}

/// Measures the chosen cases, or all.
pub fn measure(programs: &Programs, hosts: &Hosts, chosen: &[&String]) -> Result<Vec<Measured>> {
    let mut bench = Bench { programs, hosts, ours_sends: None };
    let mut results = Vec::new();
    for (name, title, unit, case) in CASES {
        // The delayed case needs to know what ours sends, so the count is always taken.
        let wanted = chosen.is_empty() || chosen.iter().any(|word| *word == name);
        let needed = name == "bytes" && chosen.iter().any(|word| *word == "delayed");
        if wanted || needed {
            eprintln!("measuring {title}");
            results.push(Measured { name, title, unit, samples: case(&mut bench)? });
        }
    }
    Ok(results)
}

impl Bench<'_> {
    /// Runs the same sub-command on both sides, in turns.
    fn duel(
        &self,
        rounds: usize,
        words: &[&str],
        extra: impl Fn(&mut Samples) -> Result<()>,
    ) -> Result<Samples> {
        self.duel_through(rounds, words, |command| command, extra)
    }

    fn duel_through(
        &self,
        rounds: usize,
        words: &[&str],
        wrap: impl Fn(Command) -> Command,
        extra: impl Fn(&mut Samples) -> Result<()>,
    ) -> Result<Samples> {
        let mut samples = Samples::new();
        for _ in 0..rounds {
            if let Some(ours) = self.programs.ours(words) {
                samples.entry("ours").or_default().extend(numbers(wrap(ours))?);
            }
            samples.entry("mitogen").or_default().extend(numbers(wrap(self.programs.mitogen(words)))?);
            extra(&mut samples)?;
        }
        Ok(samples)
    }

    fn timed(&self, command: Command, bytes: usize) -> Result<f64> {
        seconds_of(command, bytes, std::path::Path::new("/tmp"))
    }
}

fn bytes(bench: &mut Bench<'_>) -> Result<Samples> {
    let counting = bench.programs.built("counting-ssh");
    let words = ["bytes", counting.to_str().ok_or("the path is not UTF-8")?, "/tmp/counted"];
    let split = bench.duel(1, &words, |_| Ok(()))?;
    // The remote command and what is written to it; what comes back is not sent by us.
    let sums: Samples = split.iter().map(|(who, parts)| (*who, vec![parts[0] + parts[1]])).collect();
    bench.ours_sends = sums.get("ours").map(|sum| sum[0] as usize);
    Ok(sums)
}

fn local(bench: &mut Bench<'_>) -> Result<Samples> {
    bench.duel(ROUNDS, &["connect-local", "4"], |_| Ok(()))
}

fn loopback(bench: &mut Bench<'_>) -> Result<Samples> {
    let config = &bench.hosts.near;
    bench.duel(ROUNDS, &["connect-ssh", config, "near", "2"], |samples| {
        for _ in 0..2 {
            samples.entry("ssh").or_default().push(bench.timed(ssh(config, &["near", "true"]), 0)?);
        }
        Ok(())
    })
}

fn sudo(bench: &mut Bench<'_>) -> Result<Samples> {
    let config = &bench.hosts.near;
    let master = "ControlPath=/tmp/bench-master";
    let open = ["-o", "ControlMaster=yes", "-o", master, "-o", "ControlPersist=60", "near", "true"];
    bench.timed(ssh(config, &open), 0)?;
    let samples = bench.duel(ROUNDS, &["sudo", config, "near", "2"], |samples| {
        for _ in 0..2 {
            let plain = ssh(config, &["-o", master, "near", "sudo -n true"]);
            samples.entry("ssh").or_default().push(bench.timed(plain, 0)?);
        }
        Ok(())
    })?;
    bench.timed(ssh(config, &["-o", master, "-q", "-O", "exit", "near"]), 0)?;
    Ok(samples)
}

fn call_local(bench: &mut Bench<'_>) -> Result<Samples> {
    bench.duel(ROUNDS, &["call-local", "4000"], |samples| {
        let mut floor = Command::new(bench.programs.built("ping-pong"));
        floor.arg("4000");
        samples.entry("pipe").or_default().extend(numbers(floor)?);
        Ok(())
    })
}

fn call_ssh(bench: &mut Bench<'_>) -> Result<Samples> {
    bench.duel(ROUNDS, &["call-ssh", &bench.hosts.near, "near", "2000"], |_| Ok(()))
}

fn resident(bench: &mut Bench<'_>) -> Result<Samples> {
    memory(bench, 0)
}

fn proportional(bench: &mut Bench<'_>) -> Result<Samples> {
    memory(bench, 1)
}

fn memory(bench: &Bench<'_>, which: usize) -> Result<Samples> {
    let both = bench.duel(1, &["memory"], |_| Ok(()))?;
    Ok(both.iter().map(|(who, sizes)| (*who, vec![sizes[which]])).collect())
}

fn delayed(bench: &mut Bench<'_>) -> Result<Samples> {
    let (config, namespace) = (&bench.hosts.far, &bench.hosts.far_namespace);
    let fed = bench.ours_sends.unwrap_or(ASSUMED_IMAGE);
    let wrap = |command: Command| in_namespace(namespace, &command);
    bench.duel_through(ROUNDS, &["connect-ssh", config, "far", "1"], wrap, |samples| {
        let plain = ssh(config, &["far", "cat >/dev/null"]);
        samples.entry("ssh").or_default().push(bench.timed(wrap(plain), fed)?);
        Ok(())
    })
}
