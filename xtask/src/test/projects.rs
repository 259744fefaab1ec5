//! The example projects of `controller/examples/projects`, built as a user would build them:
//! outside the workspace, from a registry, by the commands that their READMEs show.
//!
//! The projects share the target directory `target/projects`, so that their dependencies are
//! compiled once. The suite `agent_delivery` runs the programs. The projects themselves are copied
//! and never changed.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use super::registry;
use crate::workspace::{Outcome, target_directory, workspace};

/// What makes the library a folder of this repository in the manifests of the projects; a copy has
/// the one of the registry.
const LIBRARY: &str = "path = \"../../..\", ";

/// Returns the target directory of the projects.
pub(crate) fn folder() -> PathBuf {
    target_directory().join("projects")
}

/// Returns the folders of the projects.
///
/// # Errors
/// Returns an error if the folder of the examples cannot be read.
pub(crate) fn all() -> std::io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(workspace().join("controller/examples/projects"))?;
    let mut projects: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    projects.sort();
    Ok(projects)
}

/// Builds all projects.
///
/// # Errors
/// Returns an error if a project cannot be copied, or one of its commands fails.
pub(crate) fn build() -> Outcome {
    registry::build(&folder())?;
    let elsewhere = Elsewhere::new()?;
    for project in all()? {
        let name = project.file_name().unwrap_or_default();
        println!("\n=== example project {}", name.display());
        let copy = elsewhere.0.join(name);
        copy_project(&project, &copy)?;
        for commands in shell_blocks(&fs::read_to_string(project.join("README.md"))?) {
            run(&commands, &copy)?;
        }
    }
    Ok(())
}

/// A folder outside the workspace, removed on drop. Its path never changes: the flags of an agent
/// contain paths, and with other flags everything would be compiled again.
struct Elsewhere(PathBuf);

impl Elsewhere {
    fn new() -> std::io::Result<Self> {
        let mark = workspace().display().to_string().replace('/', "-");
        let folder = Self(env::temp_dir().join(format!("offshoot-projects{mark}")));
        let _ = fs::remove_dir_all(&folder.0);
        // Fails if another user owns a folder of this name.
        fs::create_dir(&folder.0)?;
        Ok(folder)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn copy_project(from: &Path, to: &Path) -> Outcome {
    copy(from, to)?;
    let manifest = fs::read_to_string(from.join("Cargo.toml"))?;
    if !manifest.contains(LIBRARY) {
        return Err(format!(
            "{} does not depend on the library by {LIBRARY}",
            from.display()
        )
        .into());
    }
    fs::write(to.join("Cargo.toml"), manifest.replace(LIBRARY, ""))?;
    let _ = fs::remove_file(to.join("Cargo.lock"));
    fs::create_dir_all(folder())?;
    symlink(folder(), to.join("target"))?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        match entry.file_type()?.is_dir() {
            // The result of a build in place.
            true if name == "target" => {}
            true => copy(&entry.path(), &to.join(name))?,
            false => fs::copy(entry.path(), to.join(name)).map(drop)?,
        }
    }
    Ok(())
}

/// Returns the commands in the `sh` blocks of a README.
fn shell_blocks(readme: &str) -> Vec<String> {
    let blocks = readme.split("```sh\n").skip(1);
    blocks
        .filter_map(|rest| Some(rest.split_once("```")?.0.to_owned()))
        .collect()
}

/// Runs commands of a README in the folder of its project, with agents for this machine only.
fn run(commands: &str, folder: &Path) -> Outcome {
    const BUILD_AGENT: &str = "offshoot build-agent";
    let target = format!(
        "{BUILD_AGENT} --quiet --target {}-unknown-linux-musl",
        env::consts::ARCH
    );
    println!("{}", commands.trim_end());
    let mut shell = Command::new("sh");
    shell
        .args(["-e", "-c", &commands.replace(BUILD_AGENT, &target)])
        .current_dir(folder);
    // With these, cargo would build into other folders, or images would come from other folders.
    for inherited in [
        "CARGO_TARGET_DIR",
        "CARGO_BUILD_TARGET",
        "OFFSHOOT_IMAGES",
        "OFFSHOOT_AGENTS",
    ] {
        shell.env_remove(inherited);
    }
    let inherited = env::var_os("PATH").unwrap_or_default();
    let programs = [registry::programs()]
        .into_iter()
        .chain(env::split_paths(&inherited));
    shell
        .env("PATH", env::join_paths(programs)?)
        .env("CARGO_HOME", registry::home());
    match shell.status()?.success() {
        true => Ok(()),
        false => Err(format!(
            "{} cannot be built by the commands in its README",
            folder.display()
        )
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::shell_blocks;

    #[test]
    fn only_the_commands_to_type_are_read_from_a_readme() {
        let readme = "text\n```sh\none\ntwo\n```\n```console\n$ three\n```\n\n```sh\nfour\n```\n";
        assert_eq!(shell_blocks(readme), ["one\ntwo\n", "four\n"]);
    }
}
