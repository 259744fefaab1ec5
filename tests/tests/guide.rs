//! The programs and commands of the guide run and print what is shown.
//!
//! `cargo xtask guide` has extracted them from `docs/guide` and compiled them. The leak check
//! applies as in any suite, except for the files that a program is there to write.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use offshoot_tests::examples::{Key, blocks, host, hosts, prints, run_console, shell};
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::users::{DEPLOY, NOPASS, PLAIN, TTY};
use offshoot_tests::{Leaks, Run, Sshd};
use serde_json::Value;

/// Returns the list of programs and the directory they were built in.
fn programs() -> (Vec<Value>, PathBuf) {
    let folder =
        PathBuf::from(std::env::var_os("OFFSHOOT_GUIDE").expect("`cargo xtask test` sets it"));
    let list =
        fs::read_to_string(folder.join("programs.json")).expect("`cargo xtask guide` writes it");
    let mut list: Value = serde_json::from_str(&list).expect("it is JSON");
    let built = list["folder"].as_str().expect("a path").into();
    let Value::Array(programs) = list["programs"].take() else {
        panic!("it holds a list")
    };
    (programs, built)
}

fn guide() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests is a folder of the workspace")
        .join("docs/guide")
}

/// Returns the chapters of the guide by file name.
fn chapters() -> BTreeMap<String, String> {
    let entries = fs::read_dir(guide()).expect("there is a guide").flatten();
    let name = |path: &Path| {
        path.file_name()
            .expect("a file")
            .to_string_lossy()
            .into_owned()
    };
    let files = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "md"));
    files
        .map(|path| (name(&path), fs::read_to_string(&path).expect("it is text")))
        .collect()
}

/// Returns the strings of a JSON list.
fn words(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// Quotes a word for the shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn sorted(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// Runs a program. Returns an error if its exit status or its output differs from the guide.
fn run(program: &Value, built: &Path) -> Result<(), String> {
    let run = &program["run"];
    let _hosts: Vec<Sshd> = words(&run["hosts"]).iter().map(|name| host(name)).collect();
    let (scratch, _key) = (ScratchDir::new("guide"), Key);
    let name = program["name"].as_str().expect("it has a name");
    let env: String = words(&run["env"])
        .iter()
        .map(|pair| format!("{} ", quoted_value(pair)))
        .collect();
    let args: String = words(&run["args"])
        .iter()
        .map(|word| format!(" {}", quoted(word)))
        .collect();
    let seen = shell(
        &format!("{env}{name}{args}"),
        scratch.path(),
        &[built.to_owned()],
    )
    .finish();
    let (mut out, err) = (seen.out(), seen.err());
    let told = format!("it ended with {} and printed:\n{out}{err}", seen.code);
    if i64::from(seen.code) != run["exit"].as_i64().unwrap_or(0) {
        return Err(told);
    }
    match run["both"] == true {
        true => out.push_str(&err),
        false if !err.is_empty() => return Err(told),
        false => {}
    }
    let expected = run["prints"].as_str().expect("its output follows it");
    let right = match run["sorted"] == true {
        true => prints(&sorted(&out), &sorted(expected)),
        false => prints(out.trim_end(), expected),
    };
    if right {
        Ok(())
    } else {
        Err(format!("{told}and not:\n{expected}"))
    }
}

fn quoted_value(pair: &str) -> String {
    let (name, value) = pair.split_once('=').expect("NAME=VALUE");
    format!("{name}={}", quoted(value))
}

#[test]
fn every_program_of_the_guide_prints_the_shown_output() {
    let (programs, built) = programs();
    assert!(
        programs.len() >= 30,
        "only {} programs were found",
        programs.len()
    );
    let mut wrong = String::new();
    for program in programs.iter().filter(|program| program["run"].is_object()) {
        let leaks = Leaks::begin();
        let outcome = run(program, &built);
        // Checked in any case, but a leak must not hide the error of the program.
        let left = leaks.check();
        let outcome = outcome.and(left);
        if let Err(why) = outcome {
            let place = format!(
                "{}:{}",
                program["file"].as_str().unwrap_or_default(),
                program["line"]
            );
            wrong.push_str(&format!("\n{place}: {}: {why}\n", program["name"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_command_of_the_guide_prints_the_shown_output() {
    let slow_path = PathBuf::from(env!("CARGO_BIN_EXE_slow-path"));
    let folders = [
        programs().1,
        slow_path.parent().expect("it is in a folder").to_owned(),
    ];
    // The directory that mount(8) creates at its first use is no leak.
    fs::create_dir_all("/run/mount").expect("/run is ours");
    let (mut ran, mut wrong) = (0, String::new());
    for (file, text) in chapters() {
        for block in blocks(&text, "console") {
            let leaks = Leaks::begin();
            let outcome = {
                let (folder, _key) = (ScratchDir::new("guide"), Key);
                let hosts =
                    hosts(&block.comment).ok_or_else(|| "it is not marked as to be run".to_owned());
                hosts.and_then(|_hosts| run_console(&block, folder.path(), &folders))
            };
            let left = leaks.check();
            match outcome.and_then(|count| left.map(|()| count)) {
                Ok(count) => ran += count,
                Err(why) => wrong.push_str(&format!("\ndocs/guide/{file}:{}: {why}\n", block.line)),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(ran >= 15, "only {ran} commands were found");
}

/// Returns the checksums of files, computed by sha256sum.
fn sums(files: &[PathBuf]) -> Vec<String> {
    let run = Run::program("sha256sum")
        .args(files)
        .finish()
        .expect_code(0);
    run.out()
        .lines()
        .map(|line| line.split(' ').next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn rollout_copies_a_file_to_all_hosts_and_continues_past_a_failure() {
    let _leaks = Leaks::begin();
    let (_, built) = programs();
    let (folder, _key) = (ScratchDir::new("rollout"), Key);
    // Each host has another user and therefore another home.
    let users = [DEPLOY, NOPASS, PLAIN, TTY];
    let _hosts: Vec<Sshd> = users
        .iter()
        .zip(1..)
        .map(|(user, number)| {
            Sshd::named(&format!("web{number}"))
                .client_line(format!("User {}", user.name))
                .start()
        })
        .collect();
    let bytes: Vec<u8> = (0..20u32 << 20)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let source = folder.file("large", &bytes, 0o640);
    let files: Vec<PathBuf> = users
        .iter()
        .map(|user| PathBuf::from(format!("/home/{}/in/large", user.name)))
        .collect();
    for file in &files[..3] {
        let parent = file.parent().expect("it is in a folder");
        fs::create_dir(parent).expect("the home is there");
        fs::set_permissions(parent, fs::Permissions::from_mode(0o777)).expect("it is ours");
    }
    let command = "rollout large in/large web1 web2 web3 web4 | sort";
    let seen = shell(command, folder.path(), std::slice::from_ref(&built)).finish();
    assert_eq!(
        seen.out(),
        "web1: written\nweb2: written\nweb3: written\n",
        "{}",
        seen.err()
    );
    assert!(
        seen.err()
            .starts_with("web4: in/large: No such file or directory"),
        "{}",
        seen.err()
    );
    let expected = sums(&[source]).remove(0);
    assert!(sums(&files[..3]).iter().all(|sum| *sum == expected));
    for file in &files[..3] {
        assert_eq!(
            fs::metadata(file)
                .expect("it is there")
                .permissions()
                .mode()
                & 0o7777,
            0o640
        );
        assert_eq!(
            fs::read_dir(file.parent().expect("a folder"))
                .expect("it is there")
                .count(),
            1
        );
    }
    let seen = shell(command, folder.path(), std::slice::from_ref(&built)).finish();
    assert_eq!(
        seen.out(),
        "web1: there already\nweb2: there already\nweb3: there already\n",
        "{}",
        seen.err()
    );
    for file in &files[..3] {
        fs::remove_dir_all(file.parent().expect("a folder")).expect("it is ours");
    }
}

#[test]
fn every_block_that_shows_a_file_is_that_file() {
    let mut shown = 0;
    for (chapter, text) in chapters() {
        for block in blocks(&text, "rust") {
            let Some(file) = block.comment.strip_prefix("<!-- same as ") else {
                continue;
            };
            let file = guide().join("../..").join(file.trim_end_matches(" -->"));
            let right = fs::read_to_string(&file).expect("the file is there");
            assert_eq!(block.body, right, "docs/guide/{chapter}:{}", block.line);
            shown += 1;
        }
    }
    assert!(shown > 0, "the guide shows no file");
}

#[test]
fn every_chapter_is_linked_and_every_link_resolves() {
    let chapters = chapters();
    let first = &chapters["README.md"];
    for file in chapters.keys().filter(|file| *file != "README.md") {
        assert!(
            first.contains(&format!("({file})")),
            "README.md of the guide does not lead to {file}"
        );
    }
    for (file, text) in &chapters {
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split([')', '#']).next())
        {
            let leads = link.is_empty() || link.contains("://") || guide().join(link).exists();
            assert!(leads, "{file}: {link} is not there");
        }
    }
}
