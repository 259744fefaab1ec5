//! Builds the programs of the tests, and finds them in the messages of cargo.
//!
//! Everything is built with the features of the whole workspace, even if one suite is wanted: with
//! those of a single package, cargo would compile the libraries a second time.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use super::selection::{Packages, Selection, Suites};
use crate::workspace::cargo;

/// The package of the end-to-end suites.
pub(super) const SUITES: &str = "offshoot-tests";

/// A finished program.
#[derive(Debug)]
pub(super) struct TestProgram {
    /// The name of the package.
    pub package: String,
    /// The name of the suite, or of another target of the package.
    pub name: String,
    /// The path of the program.
    pub path: PathBuf,
    /// The folder of the package.
    pub folder: PathBuf,
    /// True if the program has no tests: suites start it.
    pub helper: bool,
}

/// The programs of a selection.
#[derive(Debug, Default)]
pub(super) struct Built {
    /// The programs with unit and property tests.
    pub units: Vec<TestProgram>,
    /// The suites, and the programs that they start.
    pub suites: Vec<TestProgram>,
}

/// Builds the programs of a selection; `root` is true if suites can run.
///
/// # Errors
/// Returns an error if something does not compile.
pub(super) fn build(
    selection: &Selection,
    root: bool,
) -> Result<Built, Box<dyn std::error::Error>> {
    let mut built = Built::default();
    for arguments in builds(selection, root) {
        let programs = programs(&arguments)?;
        let (suites, units): (Vec<_>, Vec<_>) = programs
            .into_iter()
            .partition(|program| program.package == SUITES);
        built.suites.extend(suites);
        built.units.extend(
            units
                .into_iter()
                .filter(|unit| !unit.helper && selection.has_package(&unit.package)),
        );
    }
    built
        .suites
        .retain(|program| program.helper || selection.has_suite(&program.name));
    built.suites.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(built)
}

/// Returns the arguments of each cargo that is needed for a selection.
fn builds(selection: &Selection, root: bool) -> Vec<Vec<String>> {
    let mut builds = Vec::new();
    match &selection.suites {
        Suites::All if root => return vec![packages_as_arguments(&Packages::All, root)],
        Suites::Only(names) if root && !names.is_empty() => {
            let tests = names
                .iter()
                .flat_map(|name| ["--test".to_owned(), name.clone()]);
            builds.push(
                ["--workspace".to_owned()]
                    .into_iter()
                    .chain(tests)
                    .collect(),
            );
        }
        _ => {}
    }
    builds.extend(
        selection
            .packages
            .as_ref()
            .map(|packages| packages_as_arguments(packages, root)),
    );
    builds
}

/// Returns the arguments with which cargo chooses packages. Without root, no suite can run, so
/// their package is left out.
pub(super) fn packages_as_arguments(packages: &Packages, root: bool) -> Vec<String> {
    match packages {
        Packages::All if root => vec!["--workspace".to_owned()],
        Packages::All => ["--workspace", "--exclude", SUITES]
            .map(str::to_owned)
            .into(),
        Packages::Only(names) => {
            let packages = names
                .iter()
                .flat_map(|name| ["--package".to_owned(), name.clone()]);
            // With the whole workspace, the package of the suites turns this feature on.
            let command_line = names
                .iter()
                .any(|name| name == "offshoot")
                .then_some(["--features", "offshoot/cli"].map(str::to_owned));
            packages.chain(command_line.into_iter().flatten()).collect()
        }
    }
}

fn programs(arguments: &[String]) -> Result<Vec<TestProgram>, Box<dyn std::error::Error>> {
    let mut command = cargo();
    command
        .args([
            "test",
            "--no-run",
            "--message-format",
            "json-render-diagnostics",
        ])
        .args(arguments);
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err("the tests do not compile; the messages of cargo are above".into());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(messages
        .filter_map(|message| test_program(&message))
        .collect())
}

/// Returns the program that a message of cargo describes.
fn test_program(message: &Value) -> Option<TestProgram> {
    let helper = !message["profile"]["test"].as_bool()?;
    let path = PathBuf::from(message["executable"].as_str()?);
    // Unit tests of helpers and examples do not exist, but cargo builds a program for them.
    let kind = message["target"]["kind"][0].as_str()?;
    let package = package_of(message["package_id"].as_str()?).to_owned();
    if kind == "example" || (kind == "bin" && !helper && package == SUITES) {
        return None;
    }
    let name = message["target"]["name"].as_str()?.to_owned();
    let folder = Path::new(message["manifest_path"].as_str()?)
        .parent()?
        .to_owned();
    Some(TestProgram {
        package,
        name,
        path,
        folder,
        helper,
    })
}

/// Returns the name in the id of a package: `path+file:///FOLDER#NAME@VERSION`, or without the name
/// if it is that of the folder.
fn package_of(id: &str) -> &str {
    let (place, version) = id.rsplit_once('#').unwrap_or((id, ""));
    match version.split_once('@') {
        Some((name, _)) => name,
        None => place.rsplit('/').next().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: &str, test: bool) -> Value {
        serde_json::json!({
            "package_id": "path+file:///p/tests#offshoot-tests@0.1.0",
            "manifest_path": "/p/tests/Cargo.toml",
            "target": { "kind": [kind], "name": "ssh" },
            "profile": { "test": test },
            "executable": "/p/target/debug/deps/ssh-1",
        })
    }

    #[test]
    fn a_program_is_read_from_the_message_of_cargo() {
        let program = test_program(&message("test", true)).unwrap();
        let names = (
            program.package.as_str(),
            program.name.as_str(),
            program.helper,
        );
        assert_eq!(names, ("offshoot-tests", "ssh", false));
        assert_eq!(
            (program.path, program.folder),
            ("/p/target/debug/deps/ssh-1".into(), "/p/tests".into())
        );
        assert!(test_program(&message("bin", false)).unwrap().helper);
        assert!(test_program(&message("bin", true)).is_none());
        assert!(test_program(&message("example", false)).is_none());
        assert!(test_program(&serde_json::json!({ "reason": "build-finished" })).is_none());
    }

    #[test]
    fn the_name_of_a_package_is_in_its_id() {
        assert_eq!(
            package_of("path+file:///p/agent#offshoot-agent@0.1.0"),
            "offshoot-agent"
        );
        assert_eq!(package_of("path+file:///p/xtask#0.1.0"), "xtask");
    }

    #[test]
    fn one_build_is_enough_for_all_tests_and_for_some_suites() {
        let only =
            |names: &[&str]| Suites::Only(names.iter().map(|name| (*name).to_owned()).collect());
        let select = |packages: Option<Packages>, suites| Selection {
            packages,
            suites,
            filters: Vec::new(),
        };
        let all = select(Some(Packages::All), Suites::All);
        assert_eq!(builds(&all, true), [["--workspace"]]);
        assert_eq!(builds(&all, false), [["--workspace", "--exclude", SUITES]]);
        let some = select(None, only(&["ssh"]));
        assert_eq!(builds(&some, true), [["--workspace", "--test", "ssh"]]);
        let changed = select(Some(Packages::Only(vec!["xtask".into()])), only(&[]));
        assert_eq!(builds(&changed, true), [["--package", "xtask"]]);
    }
}
