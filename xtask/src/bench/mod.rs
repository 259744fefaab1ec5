//! `bench`: measures offshoot, Python Mitogen and plain ssh on one machine in one run.
//!
//! [`prepare`] builds everything while there is a network. Then this program runs itself again
//! inside the sandbox of the tests, as [`INSIDE`], where [`cases`] measures the contenders in turns
//! and [`report`] prints medians, ratios and the aims. Numbers of different runs are never
//! compared: the machine is part of every figure.

mod cases;
mod fixture;
mod hosts;
mod prepare;
mod programs;
mod report;

use std::fs;

use crate::test::{sandbox, sandboxed};
use crate::workspace::{Outcome, target_directory};

/// The hidden verb of [`run_inside`].
pub(crate) const INSIDE: &str = "bench-inside";

/// Runs `bench [--json] [--skip-build] [CASE...]`; results also go to `target/bench/results.json`.
///
/// # Errors
/// Returns an error if something cannot be built or a contender fails.
pub(crate) fn run(words: &[String]) -> Outcome {
    let (flags, chosen): (Vec<&String>, Vec<&String>) =
        words.iter().partition(|word| word.starts_with("--"));
    if let Some(flag) = flags
        .iter()
        .find(|flag| !["--json", "--skip-build"].contains(&flag.as_str()))
    {
        return Err(format!("bench knows --json and --skip-build, not {flag:?}").into());
    }
    cases::check_names(chosen.iter().copied())?;
    if !nix::unistd::geteuid().is_root() {
        return Err("bench needs root for a sandbox with real users and sshd: try sudo".into());
    }
    prepare::everything(flags.iter().any(|flag| *flag == "--skip-build"))?;
    let mut command = sandboxed::command(sandbox::OWN_PROGRAM.as_ref())?;
    command.arg(INSIDE).arg(target_directory()).args(words);
    let status = command.status()?;
    if status.success() {
        Ok(())
    } else {
        Err("the bench did not finish".into())
    }
}

/// Runs inside the sandbox: `TARGET_DIRECTORY [--json] [CASE...]`.
///
/// # Errors
/// Returns an error if a contender fails.
pub(crate) fn run_inside(words: &[String]) -> Outcome {
    let (target, words) = words
        .split_first()
        .ok_or("only xtask itself may run bench-inside")?;
    let chosen: Vec<&String> = words
        .iter()
        .filter(|word| !word.starts_with("--"))
        .collect();
    let programs = programs::Programs::below(target.as_ref());
    let hosts = hosts::Hosts::start(&programs)?;
    let results = cases::measure(&programs, &hosts, &chosen)?;
    hosts.stop()?;
    let json = report::json(&results);
    fs::write(
        programs.folder().join("results.json"),
        format!("{json:#}\n"),
    )?;
    if words.iter().any(|word| word == "--json") {
        println!("{json:#}");
    } else {
        report::print(&results);
    }
    Ok(())
}
