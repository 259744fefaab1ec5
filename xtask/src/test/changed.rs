//! `test --changed`: the tests of what differs from the main branch.
//!
//! What differs is asked of git: everything that was committed since the branch left `main`, and
//! everything in the working tree. cargo tells which packages depend on a changed file. The suites
//! reach the product from outside, so a table tells which of them could notice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::built;
use super::selection::{Packages, Selection, Suites};
use crate::workspace::{cargo, output_of, workspace};

/// What the branch is compared with: the first of these that git knows.
const MAIN: [&str; 3] = ["origin/main", "main", "HEAD"];

/// The suites that could notice a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// All of them.
    All,
    /// Those whose names begin with one of these.
    Named(&'static [&'static str]),
    /// The suite of the same name as the file.
    Own,
}

use Reach::{All, Named, Own};

/// The first row whose place begins a file's path says which suites could notice; a file without a
/// row is noticed by all. A place that several suites stand on has no row.
const PLACES: [(&str, Reach); 26] = [
    ("tests/tests/", Own),
    ("tests/src/hostile.rs", Named(&["hostile_child"])),
    ("tests/src/bin/hostile", Named(&["hostile_child"])),
    ("tests/src/join_peer.rs", Named(&["joining"])),
    (
        "tests/src/delay",
        Named(&["fixtures", "guide", "silent_host"]),
    ),
    ("tests/src/examples.rs", Named(&["docs_are_true", "guide"])),
    ("tests/src/bin/bench-", Named(&[])),
    ("tests/bench/", Named(&[])),
    ("tests/fuzz/", Named(&[])),
    ("docs/", Named(&["guide", "docs_are_true", "registry"])),
    (
        "controller/examples/projects/",
        Named(&["agent_delivery", "docs_are_true"]),
    ),
    ("controller/examples/", Named(&["docs_are_true", "guide"])),
    ("controller/src/cli/", Named(&CLI)),
    ("controller/tests/", Named(&[])),
    ("agent/tests/", Named(&[])),
    ("agent/proto/tests/", Named(&[])),
    ("agent/codec/tests/", Named(&[])),
    ("agent/src/program/", Named(&PROGRAMS)),
    ("agent/src/channel/", Named(&CHANNELS)),
    (
        "agent/src/log/",
        Named(&["logs", "log_subscriber", "last_output", "hostile_child"]),
    ),
    (
        "agent/src/hop/method/ssh",
        Named(&["ssh", "boot_", "nested_hops", "cli", "silent_host"]),
    ),
    (
        "agent/src/hop/method/sudo",
        Named(&["sudo", "nested_hops", "cli", "boot_local_attacker"]),
    ),
    ("bootstrap/tests/", Named(&[])),
    ("xtask/", Named(&["fixtures", "docs_are_true"])),
    (".ci/", Named(&[])),
    ("deny.toml", Named(&[])),
];

/// The suites that run the command line.
const CLI: [&str; 12] = [
    "cli",
    "terminal",
    "job_control",
    "interrupts",
    "escape_sequences",
    "ssh",
    "sudo",
    "docs_are_true",
    "guide",
    "logs",
    "silent_host",
    "detach",
];

/// The suites that start programs in contexts.
const PROGRAMS: [&str; 11] = [
    "programs",
    "background_processes",
    "aborted_programs",
    "stream_eof",
    "teardown",
    "detach",
    "guard",
    "signals",
    "cli",
    "stress",
    "pidfds",
];

/// The suites of channels and pipes.
const CHANNELS: [&str; 9] = [
    "channels",
    "pipes",
    "cancelled_calls",
    "hostile_child",
    "contexts",
    "aborted_programs",
    "functions",
    "paths",
    "stress",
];

/// Returns the tests of what has changed, and prints what they are and why.
///
/// # Errors
/// Returns an error if git or cargo cannot be asked, or nothing has changed.
pub(super) fn selection(known: &[String]) -> Result<Selection, Box<dyn std::error::Error>> {
    let (base, files) = files()?;
    if files.is_empty() {
        return Err(format!("nothing differs from {base}").into());
    }
    println!("{} files differ from {base}", files.len());
    let packages = packages(&graph()?, &files);
    let suites = reached(&files, known);
    for (package, file) in packages
        .iter()
        .filter(|(package, _)| *package != built::SUITES)
    {
        println!("  package {package}: {file}");
    }
    let everything = suites.len() == known.len();
    if everything {
        let file = suites.values().next().map_or("", String::as_str);
        println!("  all suites: {file} and others");
    } else {
        for (suite, file) in &suites {
            println!("  suite {suite}: {file}");
        }
    }
    let units = packages
        .into_keys()
        .filter(|name| name != built::SUITES)
        .collect::<Vec<_>>();
    Ok(Selection {
        packages: (!units.is_empty()).then_some(Packages::Only(units)),
        suites: if everything {
            Suites::All
        } else {
            Suites::Only(suites.into_keys().collect())
        },
        filters: Vec::new(),
    })
}

/// Returns the name of the base and the files that differ from it, from the root of the workspace.
fn files() -> Result<(String, Vec<String>), String> {
    let git = |words: &[&str]| output_of(Command::new("git").args(words).current_dir(workspace()));
    let main = MAIN
        .into_iter()
        .find(|name| git(&["rev-parse", "--verify", "--quiet", name]).is_ok());
    let main = main.ok_or("git knows neither main nor HEAD")?;
    let base = git(&["merge-base", main, "HEAD"])?;
    let mut files = git(&["diff", "--name-only", "--no-renames", base.trim()])?;
    files += &git(&["ls-files", "--others", "--exclude-standard"])?;
    let short = base.get(..9).unwrap_or(&base);
    Ok((
        format!("{main} ({})", short.trim()),
        files.lines().map(str::to_owned).collect(),
    ))
}

/// A package of the workspace: its folder, and the packages of the workspace that it depends on.
#[derive(Debug)]
struct Package {
    folder: PathBuf,
    dependencies: BTreeSet<String>,
}

fn graph() -> Result<BTreeMap<String, Package>, Box<dyn std::error::Error>> {
    let metadata = output_of(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let mut graph = BTreeMap::new();
    for package in metadata["packages"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
    {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let manifest = PathBuf::from(text(&package["manifest_path"]));
        let folder = manifest
            .parent()
            .unwrap_or(Path::new(""))
            .strip_prefix(workspace())?
            .to_owned();
        let all = package["dependencies"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let dependencies = all
            .iter()
            .filter(|one| one["path"].is_string())
            .map(|one| text(&one["name"]));
        graph.insert(
            text(&package["name"]),
            Package {
                folder,
                dependencies: dependencies.collect(),
            },
        );
    }
    Ok(graph)
}

/// Returns the packages that a file belongs to or that depend on such a package, each with a file
/// as the reason. A file of no package, such as the lock file, is one of all packages; documents
/// are of none.
fn packages(graph: &BTreeMap<String, Package>, files: &[String]) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for file in files.iter().filter(|file| !is_document(file)) {
        let own = graph
            .iter()
            .filter(|(_, package)| Path::new(file).starts_with(&package.folder));
        match own.max_by_key(|(_, package)| package.folder.components().count()) {
            Some((name, _)) => drop(found.entry(name.clone()).or_insert_with(|| file.clone())),
            None if reach(file) != All => {}
            None => found.extend(graph.keys().map(|name| (name.clone(), file.clone()))),
        }
    }
    loop {
        let dependent = graph.iter().filter(|(name, _)| !found.contains_key(*name));
        let reasons: Vec<_> = dependent
            .filter_map(|(name, package)| {
                let reason = package.dependencies.iter().find_map(|one| found.get(one))?;
                Some((name.clone(), reason.clone()))
            })
            .collect();
        if reasons.is_empty() {
            return found;
        }
        found.extend(reasons);
    }
}

fn is_document(file: &str) -> bool {
    file.ends_with(".md") || file.starts_with("docs/") || file.starts_with("LICENSE")
}

fn reach(file: &str) -> Reach {
    let row = PLACES.iter().find(|(place, _)| file.starts_with(place));
    match row {
        Some((_, reach)) => *reach,
        None if is_document(file) => Named(&["docs_are_true"]),
        None => All,
    }
}

/// Returns the suites that could notice a change of these files, each with a file as the reason.
fn reached(files: &[String], known: &[String]) -> BTreeMap<String, String> {
    let mut suites = BTreeMap::new();
    for file in files {
        let reach = reach(file);
        let notices = |suite: &&String| match reach {
            All => true,
            Named(names) => names.iter().any(|name| suite.starts_with(name)),
            Own => file.split(['/', '.']).nth(2) == Some(suite.as_str()),
        };
        for suite in known.iter().filter(notices) {
            suites.entry(suite.clone()).or_insert_with(|| file.clone());
        }
    }
    suites
}

#[cfg(test)]
mod tests {
    use super::super::suites;
    use super::*;

    fn reached_by(file: &str) -> Vec<String> {
        reached(&[file.to_owned()], &suites::all().unwrap())
            .into_keys()
            .collect()
    }

    #[test]
    fn a_suite_is_affected_by_its_own_file_and_by_shared_fixtures() {
        assert_eq!(reached_by("tests/tests/sudo.rs"), ["sudo"]);
        assert_eq!(
            reached_by("tests/src/leaks.rs").len(),
            suites::all().unwrap().len()
        );
        assert_eq!(reached_by("tests/bench/mitogen_bench.py"), [""; 0]);
    }

    #[test]
    fn every_name_in_the_table_is_the_prefix_of_a_suite() {
        let all = suites::all().unwrap();
        for (place, reach) in PLACES {
            let Named(names) = reach else { continue };
            for name in names {
                assert!(
                    all.iter().any(|suite| suite.starts_with(name)),
                    "{place}: no suite {name}"
                );
            }
        }
    }

    #[test]
    fn a_change_affects_the_packages_that_depend_on_it() {
        let graph = graph().unwrap();
        let reached = |file: &str| {
            packages(&graph, &[file.to_owned()])
                .into_keys()
                .collect::<Vec<_>>()
        };
        assert_eq!(reached("xtask/src/main.rs"), ["xtask"]);
        assert!(reached("bootstrap/src/lib.rs").contains(&"offshoot".to_owned()));
        assert_eq!(reached("Cargo.lock").len(), graph.len());
        assert_eq!(reached("docs/guide/hops.md"), [""; 0]);
        assert_eq!(reached("deny.toml"), [""; 0]);
    }
}
