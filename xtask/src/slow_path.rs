//! `slow-path`: runs a command over a path with a delay, to a real sshd, in a sandbox of its own.
//!
//! The path and the host are those of the test suites. Nothing of the machine's own network is seen or changed.

use std::os::unix::process::CommandExt as _;
use std::path::Path;

use crate::test::{packages, sandboxed};
use crate::workspace::{Outcome, cargo, target_directory};

const USAGE: &str = "usage: cargo xtask slow-path [--round-trip MS] [--rate MBIT] -- COMMAND...";

/// Becomes the command; returns only when it cannot be started.
///
/// # Errors
/// What is missing: root, a package of the system, a command.
pub fn run(words: &[String]) -> Outcome {
    if !words.iter().any(|word| word == "--") {
        return Err(USAGE.into());
    }
    if !nix::unistd::geteuid().is_root() {
        return Err("it makes network namespaces and users in a sandbox, which needs root: try sudo".into());
    }
    packages::require()?;
    let programs = ["--package", "offshoot-tests", "--bin", "slow-path", "--bin", "delay-link"];
    if !cargo().args(["build", "--quiet"]).args(programs).status()?.success() {
        return Err("the programs of the path do not compile".into());
    }
    let here = std::env::current_dir()?;
    let program = target_directory().join("debug/slow-path");
    // Its own agents are known to whoever has not said where others are.
    let agents = std::env::var_os("OFFSHOOT_AGENTS");
    let mut command = sandboxed::command_with(&[Path::new(&here)], &program)?;
    command.args(words).current_dir(&here).envs(agents.map(|folder| ("OFFSHOOT_AGENTS", folder)));
    Err(format!("{}: {}", program.display(), command.exec()).into())
}
