//! Builds and installs what the bench needs, before it enters the sandbox, which has no network.

use std::path::Path;
use std::process::Command;

use crate::test::packages;
use crate::workspace::{Outcome, cargo, target_directory};
use crate::{agents, dist};

/// The version of Mitogen, pinned so that figures can be reproduced.
const MITOGEN: &str = "mitogen==0.3.54";

/// Debian's own Python, for both ends of Mitogen's links: another may be in a folder that the
/// sandbox replaces.
const PYTHON: &str = "/usr/bin/python3";

/// Builds and installs everything that is missing; with `as_built`, agents are used as they are.
///
/// # Errors
/// Returns an error if something cannot be built.
pub(super) fn everything(as_built: bool) -> Outcome {
    packages::require()?;
    mitogen(&target_directory().join("bench/venv"))?;
    if !as_built {
        agents::run(&[])?;
        // The agent with a function that takes a large argument, for this machine alone.
        let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
        agents::run(&["--package", "offshoot-test-agent", "--target", &target].map(str::to_owned))?;
        dist::run(&[])?;
    }
    let status = cargo()
        .args([
            "build",
            "--quiet",
            "--release",
            "--package",
            "offshoot-tests",
            "--bins",
        ])
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err("the programs of the bench do not compile".into())
    }
}

fn mitogen(venv: &Path) -> Outcome {
    let imports = |venv: &Path| {
        let tried = Command::new(venv.join("bin/python"))
            .args(["-c", "import mitogen"])
            .output();
        tried.is_ok_and(|output| output.status.success())
    };
    if imports(venv) {
        return Ok(());
    }
    let pip = Command::new(PYTHON)
        .args(["-c", "import ensurepip"])
        .output()?;
    if !pip.status.success() {
        packages::install(&["python3-venv"])?;
    }
    std::fs::create_dir_all(venv)?;
    succeed(
        Command::new(PYTHON)
            .args(["-m", "venv", "--clear"])
            .arg(venv),
    )?;
    succeed(Command::new(venv.join("bin/pip")).args([
        "install",
        "--quiet",
        "--disable-pip-version-check",
        MITOGEN,
    ]))
}

fn succeed(command: &mut Command) -> Outcome {
    let status = command.status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{command:?} failed ({status})").into())
    }
}
