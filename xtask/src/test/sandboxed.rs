//! A program of `offshoot-tests` in a [`sandbox`], with the paths of everything that was built for
//! it.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{guide, needs, packages, projects, registry, sandbox};
use crate::workspace::{target_directory, workspace};

/// Returns a command that runs a program of `offshoot-tests` in a sandbox.
///
/// # Errors
/// Returns an error if the sandbox cannot be prepared.
pub(crate) fn command(program: &Path) -> Result<Command, Box<dyn std::error::Error>> {
    command_with(&[], program)
}

/// Returns a command that runs a program in a sandbox in which `folders` are the real ones, beside
/// those of the workspace.
///
/// # Errors
/// Returns an error if the sandbox cannot be prepared.
pub(crate) fn command_with(
    folders: &[&Path],
    program: &Path,
) -> Result<Command, Box<dyn std::error::Error>> {
    let (target, workspace) = (target_directory(), workspace());
    fs::create_dir_all(&target)?;
    let keep = [folders, &[&workspace, &target]].concat();
    let mut command = sandbox::command(&keep, program)?;
    let built = workspace.join("target");
    command
        .env("OFFSHOOT_BIN", built.join("dist/offshoot"))
        .env("OFFSHOOT_AGENTS", built.join("agents"))
        .env("OFFSHOOT_PROJECTS", projects::folder())
        .env("OFFSHOOT_INSTALLED", registry::programs().join("offshoot"))
        .env("OFFSHOOT_GUIDE", guide::folder())
        .env("OFFSHOOT_EXAMPLES", target.join("debug/examples"))
        .env(
            "OFFSHOOT_KUBECTL",
            packages::kubectl_folder().join("usr/bin/kubectl"),
        )
        .env("OFFSHOOT_BUSYBOXES", packages::busyboxes_folder())
        .env("OFFSHOOT_PROCESSORS", needs::processors_folder());
    command.current_dir(workspace.join("tests"));
    Ok(command)
}
