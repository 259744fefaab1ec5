//! The example projects below `controller/examples/projects`, built as a stranger would: copied out of the workspace, by the
//! commands that their READMEs show.
//!
//! What is built stays in `target/projects`, which all of them share, so that what they depend on is compiled once. The
//! suite `agent_delivery` runs it. Nothing in the projects themselves is written to.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use crate::workspace::{Outcome, target_directory, workspace};

/// How the projects name the library; copies name it by where it is.
const LIBRARY: &str = "\"../../..\"";

/// Where what was built is.
pub fn folder() -> PathBuf {
    target_directory().join("projects")
}

/// Where they are.
///
/// # Errors
/// When the folder cannot be read.
pub fn all() -> std::io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(workspace().join("controller/examples/projects"))?;
    let mut projects: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    projects.sort();
    Ok(projects)
}

/// Builds all of them.
///
/// # Errors
/// When a project cannot be copied, or one of its commands fails.
pub fn build() -> Outcome {
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

/// A folder outside the workspace, always the same: paths are among the flags of an agent, and with others all of it would be
/// built anew. It is removed when dropped.
struct Elsewhere(PathBuf);

impl Elsewhere {
    fn new() -> std::io::Result<Elsewhere> {
        let mark = workspace().display().to_string().replace('/', "-");
        let folder = Elsewhere(env::temp_dir().join(format!("offshoot-projects{mark}")));
        let _ = fs::remove_dir_all(&folder.0);
        // Fails where somebody else has put something there.
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
        return Err(format!("{} does not depend on the library at {LIBRARY}", from.display()).into());
    }
    let library = format!("{:?}", workspace().join("controller"));
    fs::write(to.join("Cargo.toml"), manifest.replace(LIBRARY, &library))?;
    // The versions that the workspace has: no network is needed where it was built before.
    fs::copy(workspace().join("Cargo.lock"), to.join("Cargo.lock"))?;
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
            // What somebody has built in place.
            true if name == "target" => {}
            true => copy(&entry.path(), &to.join(name))?,
            false => fs::copy(entry.path(), to.join(name)).map(drop)?,
        }
    }
    Ok(())
}

/// The commands in the `sh` blocks of a README.
fn shell_blocks(readme: &str) -> Vec<String> {
    let blocks = readme.split("```sh\n").skip(1);
    blocks.filter_map(|rest| Some(rest.split_once("```")?.0.to_owned())).collect()
}

/// Runs what a README shows in the folder of its project. Agents are built for this machine alone, to save time.
fn run(commands: &str, folder: &Path) -> Outcome {
    const BUILD_AGENT: &str = "cargo xtask build-agent";
    let target = format!("{BUILD_AGENT} --quiet --target {}-unknown-linux-musl", env::consts::ARCH);
    println!("{}", commands.trim_end());
    let mut shell = Command::new("sh");
    shell.args(["-e", "-c", &commands.replace(BUILD_AGENT, &target)]).current_dir(folder);
    // These would send the results elsewhere, or the images from elsewhere.
    for inherited in ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET", "OFFSHOOT_IMAGES", "OFFSHOOT_AGENTS"] {
        shell.env_remove(inherited);
    }
    match shell.env("OFFSHOOT", workspace()).status()?.success() {
        true => Ok(()),
        false => Err(format!("{} cannot be built as its README says", folder.display()).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::shell_blocks;

    #[test]
    fn what_a_readme_says_to_type_is_found_and_nothing_else() {
        let readme = "text\n```sh\none\ntwo\n```\n```console\n$ three\n```\n\n```sh\nfour\n```\n";
        assert_eq!(shell_blocks(readme), ["one\ntwo\n", "four\n"]);
    }
}
