//! This workspace: its folders, its cargo, and the result that every verb returns.
//!
//! Every other module may import this one, so it imports none of them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The result of a verb: nothing, or one line that says what failed and what to do about it.
pub(crate) type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Returns the root of the workspace, whatever the working directory is.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

/// Returns the folder in which cargo builds the tests; `build-agent` and `dist` always use
/// `target`.
pub(crate) fn target_directory() -> PathBuf {
    workspace().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// Returns a command for the cargo that runs this program, in the root of the workspace.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    command
}

/// Runs a command and returns its output.
///
/// # Errors
/// Returns an error if the command cannot be started or fails: one line, with the last line of its
/// stderr.
pub(crate) fn output_of(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|error| format!("{name}: {error}"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let last = words
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .unwrap_or("no error message");
        return Err(format!("{name} failed: {last}"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
