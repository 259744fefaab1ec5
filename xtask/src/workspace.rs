//! This workspace: its folders, its cargo, and the result that every verb returns.
//!
//! Every other module may import this one, so it imports none of them.

use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) use offshoot_build_agent::output_of;

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
