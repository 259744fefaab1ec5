//! `ci`: every check that a change must pass, the fastest first.
//!
//! A failed step does not stop the ones after it, so one run shows every failure. The closing lines
//! have the form of `cargo test`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use offshoot_bootstrap::{Platform, native};

use crate::test::projects;
use crate::workspace::{Outcome, cargo, target_directory, workspace};
use crate::{agents, fuzz, test, widths};

type Step = (&'static str, fn() -> Outcome);

const STEPS: [Step; 9] = [
    ("formatting", formatting),
    ("widths", widths),
    ("clippy", clippy),
    ("documentation", documentation),
    ("dependencies", dependencies),
    ("agent size and reproducibility", agent),
    ("tests", tests),
    ("tests with 32 bits", tests_with_32_bits),
    ("fuzz", fuzz),
];

/// Runs all steps.
///
/// # Errors
/// Returns an error if a step fails.
pub(crate) fn run(words: &[String]) -> Outcome {
    if let Some(word) = words.first() {
        return Err(format!("ci takes no arguments, got {word:?}").into());
    }
    install_toolchain()?;
    let mut failed = Vec::new();
    for (name, step) in STEPS {
        println!("\n=== {name}");
        let begun = Instant::now();
        if let Err(error) = step() {
            println!("{name}: {error}");
            failed.push(name);
        }
        println!("=== {name}: {:.0} s", begun.elapsed().as_secs_f64());
    }
    println!("\nrunning {} tests", STEPS.len());
    for (name, _) in STEPS {
        println!(
            "test ci::{} ... {}",
            name.replace(' ', "_"),
            if failed.contains(&name) {
                "FAILED"
            } else {
                "ok"
            }
        );
    }
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {} passed; {} failed; 0 ignored",
        STEPS.len() - failed.len(),
        failed.len()
    );
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("failed: {}", failed.join(", ")).into())
    }
}

/// Installs the components and targets of `rust-toolchain.toml`. rustup does so itself, except with
/// `RUSTUP_AUTO_INSTALL=0`.
fn install_toolchain() -> Outcome {
    let text = fs::read_to_string(workspace().join("rust-toolchain.toml"))?;
    let channel = quoted(&text, "channel")
        .into_iter()
        .next()
        .ok_or("rust-toolchain.toml names no channel")?;
    for (key, verb) in [("components", "component"), ("targets", "target")] {
        let names = quoted(&text, key);
        let added = Command::new("rustup")
            .args([verb, "add", "--toolchain", &channel])
            .args(&names)
            .status();
        // Without rustup, the distribution provides the toolchain; a step fails if it lacks
        // something.
        if added.is_ok_and(|status| !status.success()) {
            return Err(format!("rustup could not add {}", names.join(" ")).into());
        }
    }
    Ok(())
}

/// Returns the quoted words on the line of `key`.
fn quoted(text: &str, key: &str) -> Vec<String> {
    let line = text
        .lines()
        .find(|line| line.trim_start().starts_with(key))
        .unwrap_or_default();
    line.split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The arguments for the workspace of the fuzz targets.
const FUZZ: [&str; 2] = ["--manifest-path", "tests/fuzz/Cargo.toml"];

fn formatting() -> Outcome {
    succeed(cargo().args(["fmt", "--all", "--check"]))?;
    succeed(cargo().arg("fmt").args(FUZZ).arg("--check"))?;
    for project in projects::all()? {
        let manifest = project.join("Cargo.toml");
        succeed(
            cargo()
                .args(["fmt", "--check", "--manifest-path"])
                .arg(manifest),
        )?;
    }
    Ok(())
}

fn widths() -> Outcome {
    widths::run(&[])
}

fn clippy() -> Outcome {
    succeed(cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))
}

fn documentation() -> Outcome {
    succeed(
        cargo()
            .args(["doc", "--no-deps", "--workspace"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}

fn dependencies() -> Outcome {
    let deny = cargo_deny()?;
    let check = ["check", "bans", "licenses", "sources"];
    succeed(Command::new(&deny).current_dir(workspace()).args(check))?;
    succeed(
        Command::new(&deny)
            .current_dir(workspace())
            .args(FUZZ)
            .args(check),
    )
}

fn agent() -> Outcome {
    agents::run(&["--check".to_owned(), "--verify".to_owned()])
}

fn tests() -> Outcome {
    test::run(&[])
}

/// Runs the tests of the codec and of the protocol as programs of 32 bits, which x86_64 runs as
/// well. The simulator is left out for its time.
fn tests_with_32_bits() -> Outcome {
    if cfg!(not(target_arch = "x86_64")) {
        println!("skipped: only x86_64 runs programs of 32 bits");
        return Ok(());
    }
    let target = Platform::I686.rust_target();
    let added = Command::new("rustup")
        .args(["target", "add", target])
        .status();
    if added.is_ok_and(|status| !status.success()) {
        return Err(format!("rustup could not add {target}").into());
    }
    let variable = |name: &str| {
        let target = target.replace('-', "_").to_uppercase();
        format!("CARGO_TARGET_{target}_{name}")
    };
    let mut tests = cargo();
    tests.args(["test", "--target", target]);
    tests.args(["--package", "offshoot-codec", "--package", "offshoot-proto"]);
    tests.args([
        "--lib", "--test", "wire", "--test", "messages", "--test", "tree",
    ]);
    tests.env(variable("LINKER"), native::linker(Path::new("rustc"))?);
    tests.env(variable("RUSTFLAGS"), "-Clinker-flavor=ld.lld");
    succeed(&mut tests)
}

fn fuzz() -> Outcome {
    fuzz::run(&["--smoke".to_owned()])
}

/// Returns the path of the installed `cargo-deny`, or of one in the target directory, built if
/// necessary.
fn cargo_deny() -> Result<PathBuf, Box<dyn std::error::Error>> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(found) = std::env::split_paths(&path)
        .map(|folder| folder.join("cargo-deny"))
        .find(|file| file.exists())
    {
        return Ok(found);
    }
    let tools = target_directory().join("tools");
    let built = tools.join("bin/cargo-deny");
    if !built.exists() {
        // Without optimization, it is compiled in half the time and still answers within seconds.
        let install = [
            "install",
            "--locked",
            "--quiet",
            "--debug",
            "cargo-deny",
            "--root",
        ];
        succeed(cargo().args(install).arg(&tools))?;
    }
    Ok(built)
}

fn succeed(command: &mut Command) -> Outcome {
    let status = command.status()?;
    if status.success() {
        return Ok(());
    }
    let words: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
    Err(format!("`{}` failed ({status})", words.join(" ")).into())
}
