//! `dist` and `offshoot`: the one-file command line, which contains the agent images.
//!
//! cargo decides what must be built again. Progress goes to stderr, because stdout belongs to the
//! program that `offshoot` runs.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::agents;
use crate::workspace::{Outcome, cargo, workspace};

/// The target of the distributed file: static, so that it runs on any x86_64 Linux.
const TARGET: &str = "x86_64-unknown-linux-musl";

/// Builds the agents and `target/dist/offshoot`.
///
/// # Errors
/// Returns an error if something cannot be built.
pub(crate) fn run(words: &[String]) -> Outcome {
    if let Some(word) = words.first() {
        return Err(format!("dist takes no arguments, got {word:?}").into());
    }
    agents::run(&[])?;
    let file = build(false)?;
    println!("{} {} bytes", file.display(), fs::metadata(&file)?.len());
    Ok(())
}

/// Builds what is out of date, then replaces this process by `target/dist/offshoot`.
///
/// # Errors
/// Returns an error if something cannot be built or started; otherwise the function does not
/// return.
pub(crate) fn run_offshoot(words: &[String]) -> Outcome {
    agents::run(&["--quiet".into()])?;
    let file = build(workspace().join("target/dist/offshoot").exists())?;
    let error = Command::new(&file).args(words).exec();
    Err(format!("{}: {error}", file.display()).into())
}

fn build(quiet: bool) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let target = workspace().join("target");
    let mut cargo = cargo();
    cargo.args(["build", "--package", "offshoot", "--bin", "offshoot"]);
    cargo.args(["--features", "cli"]);
    cargo
        .args(["--profile", "dist", "--target", TARGET])
        .arg("--target-dir")
        .arg(&target);
    cargo
        .env("OFFSHOOT_IMAGES", agents::folder())
        .env_remove("CARGO_TARGET_DIR")
        .stdout(Stdio::null());
    if quiet {
        cargo.arg("--quiet");
    }
    if !cargo.status()?.success() {
        return Err("cargo could not build offshoot; the messages of cargo are above".into());
    }
    let built = target.join(TARGET).join("dist/offshoot");
    let file = target.join("dist/offshoot");
    fs::create_dir_all(target.join("dist"))?;
    if !is_current(&file, &built)? {
        let partial = target.join(format!("dist/.offshoot-{}", std::process::id()));
        fs::copy(&built, &partial)?;
        fs::rename(&partial, &file)?;
    }
    Ok(file)
}

fn is_current(file: &PathBuf, built: &PathBuf) -> std::io::Result<bool> {
    Ok(file.is_file() && fs::read(file)? == fs::read(built)?)
}
