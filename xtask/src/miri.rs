//! `miri`: the tests of the pure code under Miri, which finds undefined behaviour.
//!
//! Miri is optional: without a nightly toolchain that has the component, the verb prints how to
//! install it and succeeds.

use std::process::{Command, Stdio};

use crate::workspace::{Outcome, workspace};

/// The tests that touch no descriptor, process or clock. `broker`, `sys` and their like are system
/// calls, which Miri has not.
const PURE: [&str; 12] = [
    "wire::",
    "router::",
    "flow::",
    "node::",
    "connect::dialogue::",
    "connect::boot::",
    "table::",
    "map::",
    "grants::",
    "lost::",
    "id::",
    "codec::",
];
/// The programs of tests that are as pure as those, and the tests in them that take Miri more than
/// a minute or two.
const PROGRAMS: [(&str, &[&str]); 2] =
    [("tree", &[]), ("boot", &["only_the_last_lines_of_much_output_are_kept"])];

/// Runs the tests.
///
/// # Errors
/// Returns an error if a test fails or Miri finds undefined behaviour.
pub fn run(words: &[String]) -> Outcome {
    if let Some(word) = words.first() {
        return Err(format!("miri takes no arguments, got {word:?}").into());
    }
    if !succeeds(miri().arg("--version").stdout(Stdio::null()).stderr(Stdio::null()))? {
        println!(
            "skipped: Miri is not installed; rustup component add --toolchain nightly miri rust-src adds it"
        );
        return Ok(());
    }
    if !succeeds(miri().args(["test", "--package", "offshoot-agent", "--lib", "--"]).args(PURE))? {
        return Err("Miri found something in the unit tests".into());
    }
    for (program, skipped) in PROGRAMS {
        let skipped = skipped.iter().flat_map(|name| ["--skip", name]);
        if !succeeds(
            miri().args(["test", "--package", "offshoot-agent", "--test", program, "--"]).args(skipped),
        )? {
            return Err(format!("Miri found something in {program}").into());
        }
    }
    Ok(())
}

fn miri() -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo", "miri"]).current_dir(workspace());
    // In the usual folder, each of the two compilers would invalidate the files of the other.
    command.env("CARGO_TARGET_DIR", workspace().join("target/miri"));
    // These describe the stable toolchain that runs this program.
    for variable in ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN", "CARGO_ENCODED_RUSTFLAGS"] {
        command.env_remove(variable);
    }
    command
}

fn succeeds(command: &mut Command) -> std::io::Result<bool> {
    match command.status() {
        Ok(status) => Ok(status.success()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
