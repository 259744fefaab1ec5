//! The common parts of all cases: programs and hosts, rounds in turns, samples by contender.

use std::collections::BTreeMap;
use std::process::Command;

use super::hosts::Hosts;
use super::programs::{Programs, numbers, seconds_of};

/// The result of a measurement.
pub(super) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Samples by contender: `ours`, `mitogen`, `ssh`, `pipe`.
pub(super) type Samples = BTreeMap<&'static str, Vec<f64>>;

/// The unit of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Shown as milliseconds.
    Seconds,
    /// Shown as microseconds.
    ShortSeconds,
    /// Shown as KiB.
    Bytes,
    /// Shown as MiB.
    ManyBytes,
    /// Bytes per second, shown as MiB/s.
    Rate,
    /// Calls per second, shown as they are.
    Calls,
    /// Shown as it is.
    Count,
}

/// A row of the table: its name in the results, its title, the unit of its figures.
pub(super) type Row = (&'static str, &'static str, Unit);

/// The number of rounds in which the contenders of a case alternate.
pub(super) const ROUNDS: usize = 5;

/// The programs and hosts of a case, and what earlier cases have measured.
pub(super) struct Bench<'a> {
    /// The measuring programs.
    pub programs: &'a Programs,
    /// The hosts on loopback and behind the delay.
    pub hosts: &'a Hosts,
}

impl Bench<'_> {
    /// Runs the same sub-command of both contenders in turns.
    pub(super) fn duel(
        &self,
        rounds: usize,
        words: &[&str],
        extra: impl Fn(&mut Samples) -> Result<()>,
    ) -> Result<Samples> {
        self.duel_through(rounds, words, |command| command, extra)
    }

    /// Runs the same sub-command of both contenders in turns, each command as `wrap` returns it.
    pub(super) fn duel_through(
        &self,
        rounds: usize,
        words: &[&str],
        wrap: impl Fn(Command) -> Command,
        extra: impl Fn(&mut Samples) -> Result<()>,
    ) -> Result<Samples> {
        let mut samples = Samples::new();
        for _ in 0..rounds {
            if let Some(ours) = self.programs.ours(words) {
                samples
                    .entry("ours")
                    .or_default()
                    .extend(numbers(wrap(ours))?);
            }
            samples
                .entry("mitogen")
                .or_default()
                .extend(numbers(wrap(self.programs.mitogen(words)))?);
            extra(&mut samples)?;
        }
        Ok(samples)
    }

    /// Returns the seconds of a command that reads `bytes` of noise.
    pub(super) fn timed(&self, command: Command, bytes: usize) -> Result<f64> {
        seconds_of(command, bytes, std::path::Path::new("/tmp"))
    }

    /// Returns the numbers that a sub-command of offshoot prints; none if there is no such program.
    pub(super) fn ours(
        &self,
        words: &[&str],
        wrap: impl Fn(Command) -> Command,
    ) -> Result<Vec<f64>> {
        self.programs
            .ours(words)
            .map_or(Ok(Vec::new()), |command| numbers(wrap(command)))
    }
}

/// Adds one number to each row; a row without a number stays as it is.
pub(super) fn spread(rows: &mut [Samples], contender: &'static str, numbers: &[f64]) {
    for (row, number) in rows.iter_mut().zip(numbers) {
        row.entry(contender).or_default().push(*number);
    }
}
