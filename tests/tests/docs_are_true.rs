//! The documents match the code.
//!
//! The examples of README run and print what is shown, its program is one that is compiled, every
//! test named in SPECIFICATION exists, and the code map of ARCHITECTURE is complete.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use offshoot_tests::Leaks;
use offshoot_tests::examples::{Key, blocks, hosts, run_console, shell};
use offshoot_tests::scratch::ScratchDir;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests is a folder of the workspace")
        .to_owned()
}

fn paper(name: &str) -> String {
    fs::read_to_string(workspace().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn the_readme_examples_print_the_shown_output() {
    let _leaks = Leaks::begin();
    let _key = Key;
    let folder = ScratchDir::new("readme");
    let mut ran = 0;
    for block in blocks(&paper("README.md"), "console") {
        let _hosts = hosts(&block.comment).unwrap_or_else(|| {
            panic!(
                "README.md:{}: this block is not marked as to be run",
                block.line
            )
        });
        ran += run_console(&block, folder.path(), &[]).unwrap_or_else(|error| panic!("{error}"));
    }
    assert!(ran >= 5, "only {ran} examples were found");
}

#[test]
fn the_readme_program_is_an_example_that_runs() {
    let _leaks = Leaks::begin();
    let _key = Key;
    let folder = ScratchDir::new("readme");
    let [block] = &blocks(&paper("README.md"), "rust")[..] else {
        panic!("README shows one program")
    };
    assert_eq!(
        block.body,
        paper("controller/examples/hosts.rs"),
        "README and the example have drifted apart"
    );
    let _hosts = hosts(&block.comment).expect("it is marked as to be run");
    let seen = shell(
        &format!("{} web1 web2", example("hosts")),
        folder.path(),
        &[],
    )
    .finish()
    .expect_code(0);
    let lines: Vec<String> = seen.out().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for (line, host) in lines.iter().zip(["web1", "web2"]) {
        assert!(
            line.starts_with(&format!("ssh.{host}.sudo.root: root at sandbox, Linux ")),
            "{line}"
        );
    }
}

#[test]
fn the_other_examples_run() {
    let _leaks = Leaks::begin();
    let _key = Key;
    let folder = ScratchDir::new("examples");
    let seen = shell(&example("pipe"), folder.path(), &[])
        .finish()
        .expect_code(0);
    assert_eq!(seen.out(), "root\nleaf\nbranch\n");
    let seen = shell(&example("functions"), folder.path(), &[])
        .finish()
        .expect_code(0);
    assert_eq!(
        seen.out(),
        "3 lines\nSome(NotFound)\nlocal has no functions::lines\n"
    );
}

/// Returns an example of the library, as a word for the shell.
fn example(name: &str) -> String {
    let folder = std::env::var_os("OFFSHOOT_EXAMPLES").expect("`cargo xtask test` sets it");
    let example = Path::new(&folder).join(name);
    assert!(
        example.exists(),
        "{} is missing: cargo build --examples -p offshoot",
        example.display()
    );
    example.display().to_string()
}

/// Returns the paths of all Rust files of the workspace, relative to its root.
fn sources() -> Vec<String> {
    let root = workspace();
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = ["agent", "bootstrap", "controller", "tests", "xtask"]
        .map(|folder| root.join(folder))
        .into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)
            .expect("it is a folder of the workspace")
            .flatten()
        {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(
                    path.strip_prefix(&root)
                        .expect("it is below")
                        .display()
                        .to_string(),
                );
            }
        }
    }
    found.sort();
    found
}

/// Returns the code spans of a text.
fn quoted(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| !line.starts_with("```"))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .collect()
}

#[test]
fn every_test_named_in_the_specification_exists() {
    let text = paper("SPECIFICATION.md");
    let plain = |word: &str| {
        !word.is_empty()
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let named: BTreeSet<(&str, &str)> = quoted(&text)
        .into_iter()
        .filter_map(|word| word.split_once("::"))
        .filter(|(file, name)| plain(file) && plain(name))
        .collect();
    assert!(named.len() > 50, "only {} tests are named", named.len());
    let files: Vec<(String, String)> = sources()
        .into_iter()
        .map(|path| (path.clone(), paper(&path)))
        .collect();
    let missing: Vec<String> = named
        .into_iter()
        .filter(|(file, name)| {
            let is = |path: &str| {
                path.ends_with(&format!("/{file}.rs")) || path.contains(&format!("/{file}/"))
            };
            !files
                .iter()
                .any(|(path, text)| is(path) && text.contains(&format!("fn {name}(")))
        })
        .map(|(file, name)| format!("{file}::{name}"))
        .collect();
    assert!(missing.is_empty(), "no such test:\n{}", missing.join("\n"));
}

#[test]
fn promises_are_numbered_uniquely_and_in_order() {
    let numbers: Vec<(u32, u32)> = paper("SPECIFICATION.md")
        .lines()
        .filter_map(|line| {
            let (section, row) = line
                .strip_prefix("**")?
                .split_once("**")?
                .0
                .split_once('.')?;
            Some((section.parse().ok()?, row.parse().ok()?))
        })
        .collect();
    assert!(numbers.len() > 100, "only {} promises", numbers.len());
    for (at, (section, row)) in numbers.iter().enumerate() {
        let before = at
            .checked_sub(1)
            .map(|at| numbers[at])
            .filter(|(before, _)| before == section);
        let expected = before.map_or(1, |(_, row)| row + 1);
        assert_eq!(
            (section, *row),
            (section, expected),
            "{section}.{row} stands in the place of {section}.{expected}"
        );
    }
}

#[test]
fn the_code_map_lists_exactly_the_folders_of_code() {
    let text = paper("ARCHITECTURE.md");
    let map = text
        .split("## Code map")
        .nth(1)
        .and_then(|rest| rest.split("\n## ").next());
    let mapped: BTreeSet<String> = map
        .expect("there is a code map")
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split('`').next()?.to_owned()))
        .collect();
    // Tests and their fixtures are found by their names, examples by the guide.
    let is_code = |path: &String| {
        let other = ["tests", "tests.rs", "examples"]
            .iter()
            .any(|name| path.split('/').any(|part| part == *name));
        !other && !path.ends_with("/build.rs")
    };
    let folder = |path: String| {
        path.rsplit_once('/')
            .map_or(String::new(), |(folder, _)| folder.to_owned())
    };
    let code: BTreeSet<String> = sources().into_iter().filter(is_code).map(folder).collect();
    let gone: Vec<_> = mapped.difference(&code).collect();
    let unmapped: Vec<_> = code.difference(&mapped).collect();
    assert!(
        gone.is_empty() && unmapped.is_empty(),
        "gone: {gone:#?}\nnot in the map: {unmapped:#?}"
    );
}
