//! `miri`: the tests of the pure code under Miri, which finds undefined behaviour.
//!
//! Miri is optional: without a nightly toolchain that has the component, the verb prints how to
//! install it and succeeds.

use std::process::{Command, Stdio};

use crate::workspace::{Outcome, workspace};

/// The packages without system calls, whose unit tests Miri can run.
const PACKAGES: [&str; 2] = ["offshoot-codec", "offshoot-proto"];

/// The test programs of `offshoot-proto` that Miri runs in minutes, and the tests that are left
/// out. The simulator and the others would take hours.
const PROGRAMS: [(&str, &[&str]); 2] = [
    ("tree", &[]),
    ("boot", &["only_the_last_lines_of_much_output_are_kept"]),
];

/// Runs the tests.
///
/// # Errors
/// Returns an error if a test fails or Miri finds undefined behaviour.
pub(crate) fn run(words: &[String]) -> Outcome {
    if let Some(word) = words.first() {
        return Err(format!("miri takes no arguments, got {word:?}").into());
    }
    if !succeeds(
        miri()
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    )? {
        println!(
            "skipped: Miri is not installed; rustup component add --toolchain nightly miri rust-src adds it"
        );
        return Ok(());
    }
    for package in PACKAGES {
        if !succeeds(miri().args(["test", "--package", package, "--lib"]))? {
            return Err(format!("a unit test of {package} failed under Miri").into());
        }
    }
    for (program, left_out) in PROGRAMS {
        let left_out = left_out.iter().flat_map(|name| ["--skip", name]);
        let mut command = miri();
        command
            .args([
                "test",
                "--package",
                "offshoot-proto",
                "--test",
                program,
                "--",
            ])
            .args(left_out);
        if !succeeds(&mut command)? {
            return Err(format!("a test of {program} failed under Miri").into());
        }
    }
    Ok(())
}

fn miri() -> Command {
    let mut command = Command::new("rustup");
    command
        .args(["run", "nightly", "cargo", "miri"])
        .current_dir(workspace());
    // In the usual folder, each of the two compilers would invalidate the files of the other.
    command.env("CARGO_TARGET_DIR", workspace().join("target/miri"));
    // These describe the stable toolchain that runs this program.
    for variable in [
        "CARGO",
        "RUSTC",
        "RUSTUP_TOOLCHAIN",
        "CARGO_ENCODED_RUSTFLAGS",
    ] {
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
