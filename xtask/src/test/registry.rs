//! A registry of the packages of this workspace and of all that they depend on, in a folder; and
//! the command line, installed from it by a cargo whose home is empty.
//!
//! It is for the suites `registry` and `agent_delivery`. The folder takes the place of crates.io.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use offshoot_build_agent::sha256;
use serde_json::json;

use crate::package;
use crate::workspace::{Outcome, cargo, output_of, target_directory, workspace};

/// Returns the folder of all of this.
pub(super) fn folder() -> PathBuf {
    target_directory().join("registry")
}

/// Returns the home of the cargo that knows only this registry.
pub(super) fn home() -> PathBuf {
    folder().join("home")
}

/// Returns the folder of the installed command line.
pub(super) fn programs() -> PathBuf {
    folder().join("bin")
}

/// Fills the registry and installs the command line; `built` is the target directory.
///
/// # Errors
/// Returns an error if a package cannot be made, something cannot be fetched, or the command line
/// cannot be installed.
pub(super) fn build(built: &Path) -> Outcome {
    let begun = Instant::now();
    let packages = package::unverified()?;
    let _ = fs::remove_dir_all(home());
    let crates = home().join("crates");
    fs::create_dir_all(&crates)?;
    vendor(&crates)?;
    for package in &packages {
        let mut unpack = Command::new("tar");
        unpack.arg("-xzf").arg(&package.file).arg("-C").arg(&crates);
        output_of(&mut unpack)?;
        let sum = sha256(&fs::read(&package.file)?);
        let sums = json!({ "files": {}, "package": sum }).to_string();
        fs::write(
            crates.join(&package.name).join(".cargo-checksum.json"),
            sums,
        )?;
    }
    forget_others(built, &packages)?;
    let config = format!(
        "[source.crates-io]\nreplace-with = \"folder\"\n\n[source.folder]\ndirectory = {crates:?}\n"
    );
    fs::write(home().join("config.toml"), config)?;
    println!("\n=== cargo install offshoot --features cli");
    let mut install = cargo();
    // Without optimization: it is compiled in half the time.
    install
        .args(["install", "--quiet", "--debug", "--force"])
        .args(["offshoot", "--features", "cli"])
        .arg("--root")
        .arg(folder())
        .arg("--target-dir")
        .arg(built)
        .current_dir(folder())
        .env("CARGO_HOME", home());
    for inherited in ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET", "OFFSHOOT_IMAGES"] {
        install.env_remove(inherited);
    }
    if !install.status()?.success() {
        return Err("the command line cannot be installed from its packages".into());
    }
    println!(
        "packages and this in {:.0} s",
        begun.elapsed().as_secs_f64()
    );
    first_steps(built)
}

/// Has cargo compile our crates again if the packages are others than those of the last run. Cargo
/// takes a package of a registry for unchanged as long as its version is.
fn forget_others(built: &Path, packages: &[package::Package]) -> Outcome {
    let mut all = Vec::new();
    for package in packages {
        all.extend(fs::read(&package.file)?);
    }
    let (sum, known) = (sha256(&all), folder().join("packages.sum"));
    if fs::read_to_string(&known).is_ok_and(|known| known == sum) {
        return Ok(());
    }
    forget_in(built)?;
    fs::write(known, sum)?;
    Ok(())
}

/// Removes the fingerprints of our crates from the profiles in a target directory, and in the
/// folders of its targets.
fn forget_in(folder: &Path) -> Outcome {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry?;
        let (name, path) = (entry.file_name(), entry.path());
        if name == ".fingerprint" {
            for print in fs::read_dir(path)? {
                let print = print?;
                if print.file_name().to_string_lossy().starts_with("offshoot") {
                    fs::remove_dir_all(print.path())?;
                }
            }
        } else if entry.file_type()?.is_dir()
            && !["deps", "build", "incremental"]
                .iter()
                .any(|other| name == *other)
        {
            forget_in(&path)?;
        }
    }
    Ok(())
}

/// Takes the first steps of the guide: the commands that it shows, with its program put in place
/// before the last one.
fn first_steps(built: &Path) -> Outcome {
    let text = fs::read_to_string(workspace().join("docs/guide/README.md"))?;
    let block = |mark: &str, fence: &str| -> Result<&str, String> {
        let rest = text.split_once(mark).map(|(_, rest)| rest);
        rest.and_then(|rest| rest.split_once(fence)?.1.split_once("```"))
            .map(|(block, _)| block)
            .ok_or_else(|| format!("the guide has no block {mark:?}"))
    };
    let commands = block("<!-- first steps -->", "```sh\n")?;
    let program = block("<!-- program: first-function", "```rust\n")?;
    let run = commands.lines().last().unwrap_or_default();
    // The program is run by the suite, where its host is.
    let build = run.replace("cargo run", "cargo build");
    let script = format!(
        "{}cat > src/main.rs\n{build}\n",
        commands
            .strip_suffix(&format!("{run}\n"))
            .unwrap_or(commands)
    );
    println!(
        "\n=== the first steps of the guide\n{}",
        commands.trim_end()
    );
    let begun = Instant::now();
    let elsewhere = std::env::temp_dir().join(format!("offshoot-first-{}", std::process::id()));
    fs::create_dir_all(&elsewhere)?;
    let mut shell = Command::new("sh");
    shell
        .args(["-e", "-c", &script])
        .current_dir(&elsewhere)
        .env("CARGO_HOME", home())
        .env("CARGO_TARGET_DIR", built)
        .env("CARGO_TERM_QUIET", "true")
        .env_remove("OFFSHOOT_IMAGES")
        .stdin(Stdio::piped());
    let mut shell = shell.spawn()?;
    if let Some(mut stdin) = shell.stdin.take() {
        stdin.write_all(program.as_bytes())?;
    }
    let status = shell.wait()?;
    fs::remove_dir_all(&elsewhere)?;
    println!("in {:.0} s", begun.elapsed().as_secs_f64());
    match status.success() {
        true => Ok(()),
        false => Err("the first steps of the guide fail".into()),
    }
}

/// Copies the dependencies of the workspace, and of std, which build-agent compiles.
fn vendor(crates: &Path) -> Outcome {
    let sysroot = output_of(
        Command::new("rustc")
            .args(["--print", "sysroot"])
            .current_dir(workspace()),
    )?;
    let std = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/Cargo.toml");
    let mut vendor = cargo();
    vendor.args(["vendor", "--quiet", "--versioned-dirs", "--locked"]);
    if std.exists() {
        vendor.arg("--sync").arg(std);
    }
    // The manifest of std uses features that are not stable.
    output_of(vendor.arg(crates).env("RUSTC_BOOTSTRAP", "1"))?;
    Ok(())
}
