//! `dist` and `offshoot`: the one-file command line with the images inside.
//!
//! Both build through cargo, which knows what is stale. Progress goes to stderr only: stdout belongs to the program.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::agents;
use crate::workspace::{Outcome, cargo, workspace};

/// The target of the file that is given away: static, so that it runs on any Linux of this kind.
const TARGET: &str = "x86_64-unknown-linux-musl";

/// Builds `target/dist/offshoot`, and the agents in it.
pub fn run(words: &[String]) -> Outcome {
    if let Some(word) = words.first() {
        return Err(format!("dist takes no arguments, not even {word:?}").into());
    }
    agents::run(&[])?;
    let file = build(false)?;
    println!("{} {} bytes", file.display(), fs::metadata(&file)?.len());
    Ok(())
}

/// Builds what is stale, then becomes `target/dist/offshoot`.
pub fn run_offshoot(words: &[String]) -> Outcome {
    agents::run(&["--quiet".into()])?;
    let file = build(workspace().join("target/dist/offshoot").exists())?;
    let error = Command::new(&file).args(words).exec();
    Err(format!("{}: {error}", file.display()).into())
}

fn build(quiet: bool) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let target = workspace().join("target");
    let mut cargo = cargo();
    cargo.args(["build", "--package", "offshoot", "--bin", "offshoot"]);
    cargo.args(["--profile", "dist", "--target", TARGET]).arg("--target-dir").arg(&target);
    cargo.env("OFFSHOOT_IMAGES", agents::folder()).env_remove("CARGO_TARGET_DIR").stdout(Stdio::null());
    if quiet {
        cargo.arg("--quiet");
    }
    if !cargo.status()?.success() {
        return Err("cargo could not build offshoot; its own messages are above".into());
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
