//! `slow-path`: runs a command in a sandbox with a real sshd behind a network path with a delay.
//!
//! The path and the host are those of the test suites. The network of the machine is neither
//! visible nor changed.

use std::os::unix::process::CommandExt as _;
use std::path::Path;

use crate::test::{packages, sandboxed};
use crate::workspace::{Outcome, cargo, target_directory};

const USAGE: &str = "usage: cargo xtask slow-path [--round-trip MS] [--rate MBIT] -- COMMAND...";

/// Replaces this process by the command.
///
/// # Errors
/// Returns an error if root, a package of the system or the command is missing; otherwise the
/// function does not return.
pub(crate) fn run(words: &[String]) -> Outcome {
    if !words.iter().any(|word| word == "--") {
        return Err(USAGE.into());
    }
    if !nix::unistd::geteuid().is_root() {
        return Err("a sandbox with network namespaces and users needs root: try sudo".into());
    }
    packages::require()?;
    let programs = [
        "--package",
        "offshoot-tests",
        "--bin",
        "slow-path",
        "--bin",
        "delay-link",
    ];
    if !cargo()
        .args(["build", "--quiet"])
        .args(programs)
        .status()?
        .success()
    {
        return Err("the programs of the path do not compile".into());
    }
    let here = std::env::current_dir()?;
    let program = target_directory().join("debug/slow-path");
    // The caller's agents take precedence over those of the sandbox.
    let agents = std::env::var_os("OFFSHOOT_AGENTS");
    let mut command = sandboxed::command_with(&[Path::new(&here)], &program)?;
    command
        .args(words)
        .current_dir(&here)
        .envs(agents.map(|folder| ("OFFSHOOT_AGENTS", folder)));
    Err(format!("{}: {}", program.display(), command.exec()).into())
}
