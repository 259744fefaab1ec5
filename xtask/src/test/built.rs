//! The programs of the tests: built by cargo, and found in its messages.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::selection::{Packages, Suites};
use crate::workspace::cargo;

/// The package of the end-to-end suites.
pub const SUITES: &str = "offshoot-tests";

/// A finished program.
#[derive(Debug)]
pub struct TestProgram {
    /// The name of a suite; for unit tests also that of the package.
    pub name: String,
    /// The program.
    pub path: PathBuf,
    /// The folder of its package.
    pub folder: PathBuf,
    /// True if it has no tests: a program that suites start.
    pub helper: bool,
}

/// Builds the programs with the unit and property tests of some packages.
///
/// # Errors
/// Returns an error if they do not compile.
pub fn units(packages: &Packages) -> Result<Vec<TestProgram>, Box<dyn std::error::Error>> {
    let mut command = cargo();
    command.args(["test", "--no-run"]).args(packages_as_arguments(packages));
    let mut programs = build(&mut command)?;
    programs.retain(|program| !program.helper);
    for program in &mut programs {
        let package = program.folder.file_name().unwrap_or_default().to_string_lossy();
        program.name = format!("unit tests {package}::{}", program.name);
    }
    Ok(programs)
}

/// Returns the arguments with which cargo chooses packages.
pub fn packages_as_arguments(packages: &Packages) -> Vec<String> {
    match packages {
        Packages::All => ["--workspace", "--exclude", SUITES].map(str::to_owned).into(),
        Packages::Only(names) => {
            names.iter().flat_map(|name| ["--package".to_owned(), name.clone()]).collect()
        }
    }
}

/// Builds the end-to-end suites and the programs that they start.
///
/// # Errors
/// Returns an error if they do not compile.
pub fn suites(suites: &Suites) -> Result<Vec<TestProgram>, Box<dyn std::error::Error>> {
    let mut command = cargo();
    command.args(["test", "--no-run", "--package", SUITES]);
    match suites {
        Suites::All => command.args(["--lib", "--tests", "--bins"]),
        Suites::Only(names) if names.is_empty() => return Ok(Vec::new()),
        Suites::Only(names) => command.args(names.iter().flat_map(|name| ["--test", name.as_str()])),
    };
    let mut programs = build(&mut command)?;
    programs.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(programs)
}

fn build(command: &mut Command) -> Result<Vec<TestProgram>, Box<dyn std::error::Error>> {
    command.args(["--message-format", "json-render-diagnostics"]);
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err("the tests do not compile; the messages of cargo are above".into());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(messages.filter_map(|message| test_program(&message)).collect())
}

/// Returns the program that a message of cargo tells of.
fn test_program(message: &Value) -> Option<TestProgram> {
    let helper = !message["profile"]["test"].as_bool()?;
    let path = PathBuf::from(message["executable"].as_str()?);
    let name = message["target"]["name"].as_str()?.to_owned();
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?.to_owned();
    Some(TestProgram { name, path, folder, helper })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_read_from_the_message_of_cargo() {
        let message = |test: bool| {
            serde_json::json!({
                "manifest_path": "/p/tests/Cargo.toml",
                "target": { "kind": ["test"], "name": "ssh" },
                "profile": { "test": test },
                "executable": "/p/target/debug/deps/ssh-1",
            })
        };
        let program = test_program(&message(true)).unwrap();
        assert_eq!((program.name.as_str(), program.helper), ("ssh", false));
        assert_eq!((program.path, program.folder), ("/p/target/debug/deps/ssh-1".into(), "/p/tests".into()));
        assert!(test_program(&message(false)).unwrap().helper);
        assert!(test_program(&serde_json::json!({ "reason": "build-finished" })).is_none());
    }
}
