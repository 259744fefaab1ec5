//! `miri`: the unit tests of the parts that decide, under Miri, which sees undefined behaviour that a run does not show.
//!
//! Nothing depends on it: it needs a nightly with the component, and where there is none it says so and is content.

use std::process::{Command, Stdio};

use crate::workspace::{Outcome, workspace};

/// The tests that touch no descriptor, process or clock. `broker`, `sys` and their like are system calls, which Miri has not.
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
/// The programs of tests that are as pure as those, and the tests in them that take Miri more than a minute or two.
const PROGRAMS: [(&str, &[&str]); 2] = [("tree", &[]), ("boot", &["a_mebibyte_of_noise_is_not_kept"])];

/// `miri`: runs them.
///
/// # Errors
/// When one of them fails, or Miri finds something.
pub fn run(words: &[String]) -> Outcome {
    if let Some(word) = words.first() {
        return Err(format!("miri takes no arguments, got {word:?}").into());
    }
    if !succeeds(miri().arg("--version").stdout(Stdio::null()).stderr(Stdio::null()))? {
        println!(
            "skipped: there is no Miri; rustup component add --toolchain nightly miri rust-src brings it"
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
    // Another compiler's files would only be built over and over.
    command.env("CARGO_TARGET_DIR", workspace().join("target/miri"));
    // What this cargo was told about its own toolchain is wrong for that one.
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
