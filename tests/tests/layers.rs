//! The rooms of the code: no file imports in a circle, and a room of the agent imports only from
//! rooms below it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms of `agent/src`, from the ground up.
const ROOMS: [&str; 17] = [
    "runtime",
    "log",
    "context",
    "channel",
    "call",
    "inspect",
    "hop",
    "program",
    "stock",
    "select",
    "broker",
    "router",
    "lifecycle",
    "debug",
    "testing",
    "json",
    "",
];

/// Every crate whose files are checked for circles.
const CRATES: [&str; 11] = [
    "agent/codec/src",
    "agent/proto/src",
    "agent/sys/src",
    "agent/macros/src",
    "agent/src",
    "bootstrap/src",
    "controller/build-agent/src",
    "controller/images/src",
    "controller/src",
    "xtask/src",
    "tests/src",
];

/// Names of files as modules, such as `hop::method`, and the modules that each imports from.
type Imports = BTreeMap<String, BTreeSet<String>>;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests is a folder of the workspace")
        .to_owned()
}

/// The files of a crate: module names with the text of the code, without tests and comments.
fn files(source: &Path) -> BTreeMap<String, String> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![source.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)
            .expect("it is a folder of the workspace")
            .flatten()
        {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path
                    .strip_prefix(source)
                    .expect("it is below")
                    .with_extension("");
                let name = name.display().to_string().replace('/', "::");
                let name = match name.strip_suffix("::mod") {
                    Some(folder) => folder.to_owned(),
                    None if name == "lib" || name == "main" => String::new(),
                    None => name,
                };
                let text = fs::read_to_string(&path).expect("it is a file of the workspace");
                found
                    .entry(name)
                    .or_insert_with(String::new)
                    .push_str(&code_of(&text));
            }
        }
    }
    found
}

/// Returns a text without unit tests and comments.
fn code_of(text: &str) -> String {
    let product = text
        .split("\n#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or_default();
    let lines = product
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Returns the paths that begin with `crate`, `super` or `self` in a text, braces expanded, as
/// lists of names from the root of the crate; `module` is where the text stands.
fn paths(module: &str, text: &str) -> Vec<Vec<String>> {
    let words = |path: &str| {
        path.split("::")
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let here: Vec<String> = words(module);
    let mut found = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in text.match_indices(start) {
            let before = text[..at].chars().next_back().unwrap_or(' ');
            if before.is_alphanumeric() || "_:$\"".contains(before) {
                continue;
            }
            let rest = &text[at + start.len()..];
            let end = rest
                .find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':')
                .unwrap_or(rest.len());
            let mut base = match start {
                "crate::" => Vec::new(),
                "super::" => here[..here.len().saturating_sub(1)].to_vec(),
                _ => here.clone(),
            };
            for word in words(&rest[..end]) {
                if word == "super" {
                    drop(base.pop())
                } else {
                    base.push(word)
                }
            }
            match rest[end..].strip_prefix('{') {
                Some(list) => {
                    for item in list.split('}').next().unwrap_or_default().split(',') {
                        let item = item.trim().split(" as ").next().unwrap_or_default();
                        let item: Vec<String> = words(item);
                        found.push([&base[..], &item].concat());
                    }
                }
                None => found.push(base),
            }
        }
    }
    found
}

/// Returns which files of a crate import from which.
fn imports(files: &BTreeMap<String, String>) -> Imports {
    let mut all = Imports::new();
    for (module, text) in files {
        let mut targets = BTreeSet::new();
        let mut add = |path: &[String]| {
            let longest = (1..=path.len()).rev().map(|end| path[..end].join("::"));
            targets.extend(
                longest
                    .into_iter()
                    .find(|target| files.contains_key(target)),
            );
        };
        paths(module, text).iter().for_each(|path| add(path));
        // A folder's own file imports from the files in it by their names.
        for line in text.lines() {
            let line = line
                .trim_start()
                .trim_start_matches("pub(crate) ")
                .trim_start_matches("pub ");
            if let Some(name) = line
                .strip_prefix("use ")
                .and_then(|rest| rest.split("::").next())
            {
                let child = format!("{module}::{name}");
                let child: Vec<String> = child
                    .split("::")
                    .filter(|word| !word.is_empty())
                    .map(str::to_owned)
                    .collect();
                add(&child);
            }
        }
        targets.remove(module);
        all.insert(module.clone(), targets);
    }
    all
}

/// Returns the files of one circle, if there is any.
fn circle(imports: &Imports) -> Option<Vec<String>> {
    let mut left = imports.clone();
    // Files that import from none that are left are in no circle.
    loop {
        let free: BTreeSet<String> = left
            .iter()
            .filter(|(_, targets)| targets.is_empty())
            .map(|(name, _)| name.clone())
            .collect();
        if free.is_empty() {
            break;
        }
        left.retain(|name, _| !free.contains(name));
        left.values_mut()
            .for_each(|targets| targets.retain(|target| !free.contains(target)));
    }
    let mut path = vec![left.keys().next()?.clone()];
    loop {
        let next = left[path.last()?].iter().next()?.clone();
        if let Some(at) = path.iter().position(|name| *name == next) {
            return Some(path.split_off(at));
        }
        path.push(next);
    }
}

/// Returns the imports of `agent/src` that point to a room above their own.
fn upward(imports: &Imports) -> Vec<String> {
    let level = |module: &str| {
        let room = module.split("::").next().unwrap_or_default();
        ROOMS
            .iter()
            .position(|other| *other == room)
            .unwrap_or_else(|| panic!("{room} is no room of the list"))
    };
    let all = imports
        .iter()
        .flat_map(|(from, targets)| targets.iter().map(move |to| (from, to)));
    all.filter(|(from, to)| level(to) > level(from))
        .map(|(from, to)| format!("{from} -> {to}"))
        .collect()
}

#[test]
fn no_files_import_in_a_circle() {
    for source in CRATES {
        let found = circle(&imports(&files(&workspace().join(source))));
        assert_eq!(
            found, None,
            "{source}: each of these files imports from the next"
        );
    }
}

#[test]
fn rooms_of_the_agent_import_from_rooms_below_only() {
    let imports = imports(&files(&workspace().join("agent/src")));
    assert!(
        imports.len() > 80,
        "only {} files were found",
        imports.len()
    );
    let upward = upward(&imports);
    assert!(
        upward.is_empty(),
        "these imports point upward:\n{}",
        upward.join("\n")
    );
}

#[test]
fn an_upward_import_and_a_circle_are_found() {
    let mut files = files(&workspace().join("agent/src"));
    let text = files
        .get_mut("runtime::latch")
        .expect("there is such a file");
    text.push_str("use crate::{hop::Hop, context::Context};\n");
    let imports = imports(&files);
    assert_eq!(
        upward(&imports),
        ["runtime::latch -> context", "runtime::latch -> hop"]
    );
    let circle = circle(&imports).expect("both import from the latch in the end");
    assert!(
        circle.iter().any(|name| name == "runtime::latch"),
        "{circle:?}"
    );
}

#[test]
fn paths_are_read_from_uses_and_inline() {
    let text = "use super::spec::{self, Spec};\nlet x = crate::a::b::C::new();\npub use crate::d;\n\"crate::no\"";
    let found: Vec<String> = paths("hop::method", text)
        .iter()
        .map(|path| path.join("::"))
        .collect();
    assert_eq!(
        found,
        ["a::b::C::new", "d", "hop::spec::self", "hop::spec::Spec"]
    );
}

#[test]
fn only_the_named_crates_name_the_system_and_the_format() {
    for (package, homes) in [
        ("bincode", &["agent/codec"][..]),
        ("libc", &["agent/sys"]),
        ("memfd", &["agent/sys"]),
        ("nix", &["agent/sys"]),
        ("signal-hook", &["agent/sys"]),
    ] {
        for folder in [
            "agent",
            "agent/codec",
            "agent/macros",
            "agent/proto",
            "agent/sys",
        ] {
            let manifest = fs::read_to_string(workspace().join(folder).join("Cargo.toml"));
            let manifest = manifest.expect("it is a crate of the workspace");
            let names = manifest
                .lines()
                .any(|line| line.split(['.', ' ', '=']).next() == Some(package));
            assert_eq!(names, homes.contains(&folder), "{folder} and {package}");
        }
    }
}

#[test]
fn the_protocol_can_name_std_in_one_file_alone() {
    for (module, text) in files(&workspace().join("agent/proto/src")) {
        let names = text.contains("extern crate std");
        assert_eq!(names, module == "error::io", "{module}");
    }
    let root = fs::read_to_string(workspace().join("agent/proto/src/lib.rs")).expect("it is there");
    assert!(
        root.contains("no_std"),
        "the protocol is a crate without std"
    );
}
