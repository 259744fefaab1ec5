//! `dist` and `offshoot`: the one-file command line, which contains the agent images.
//!
//! cargo decides what must be built again. Progress goes to stderr, because stdout belongs to the
//! program that `offshoot` runs.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use offshoot_bootstrap::Platform;
use offshoot_build_agent::{parse_target, path};

use crate::agents::{self, STOCK};
use crate::workspace::{Outcome, cargo, workspace};

/// The target of the distributed file: static, so that it runs on any x86_64 Linux.
const TARGET: &str = "x86_64-unknown-linux-musl";

/// Builds the agents and `target/dist/offshoot`.
///
/// # Errors
/// Returns an error if something cannot be built.
pub(crate) fn run(words: &[String]) -> Outcome {
    let mut platforms = Platform::STOCK.to_vec();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match (word.as_str(), words.next()) {
            ("--target", Some(target)) => platforms.push(parse_target(target)?),
            _ => {
                return Err(format!("dist takes --target T and nothing else, got {word:?}").into());
            }
        }
    }
    agents::run(&targets(&platforms))?;
    let file = build(&platforms, false)?;
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
    let file = build(
        &Platform::STOCK,
        workspace().join("target/dist/offshoot").exists(),
    )?;
    let error = Command::new(&file).args(words).exec();
    Err(format!("{}: {error}", file.display()).into())
}

/// Returns the arguments of `build-agent` that name some platforms.
pub(crate) fn targets(platforms: &[Platform]) -> Vec<String> {
    platforms
        .iter()
        .flat_map(|platform| ["--target", platform.machine()])
        .map(str::to_owned)
        .collect()
}

/// Builds the command line with the images of some platforms.
fn build(platforms: &[Platform], quiet: bool) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let target = workspace().join("target");
    let images = target.join("dist/images");
    embed_only(&images, platforms)?;
    let mut cargo = cargo();
    cargo.args(["build", "--package", "offshoot", "--bin", "offshoot"]);
    cargo.args(["--features", "cli"]);
    cargo
        .args(["--profile", "dist", "--target", TARGET])
        .arg("--target-dir")
        .arg(&target);
    cargo
        .env("OFFSHOOT_IMAGES", &images)
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

/// Makes a folder hold the stock images of some platforms and no others. Files that are right
/// already stay untouched, since cargo compares times.
fn embed_only(folder: &Path, platforms: &[Platform]) -> std::io::Result<()> {
    for platform in Platform::ALL {
        let place = path(folder, STOCK, platform).with_extension("image");
        let built = path(&agents::folder(), STOCK, platform).with_extension("image");
        if !platforms.contains(&platform) {
            let _ = fs::remove_file(place);
        } else if !is_current(&place, &built)? {
            fs::create_dir_all(folder.join(platform.rust_target()))?;
            fs::copy(built, place)?;
        }
    }
    Ok(())
}

fn is_current(file: &PathBuf, built: &PathBuf) -> std::io::Result<bool> {
    Ok(file.is_file() && fs::read(file)? == fs::read(built)?)
}
