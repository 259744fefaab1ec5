//! Hops taken with the library, and their outcome: the agent as `/proc` shows it, or the error.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use offshoot::stock::{Facts, echo, facts};
use offshoot::{ConnectError, ConnectErrorKind, Context, Error, Result, Router};

use crate::process::{self, Seen};
use crate::run::LIMIT;
use crate::scratch::ScratchDir;
use crate::sshd::Sshd;

/// Starts a tree with the agents of the sandbox.
///
/// # Panics
/// Panics if the system gives no threads or descriptors.
pub fn router() -> Router {
    crate::require_sandbox();
    Router::new().expect("a broker's thread and descriptors are to be had")
}

/// Asserts that a hop succeeded and its context answers; returns its facts.
///
/// # Panics
/// Panics if the hop failed or the call does.
#[track_caller]
pub fn up(result: Result<Context>) -> Facts {
    let context = result.unwrap_or_else(|error| panic!("{error}\nsaid: {:#?}", said(&error)));
    facts_of(&context)
}

/// Returns owned words.
pub fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Connects the host of these words of a shell.
///
/// # Panics
/// Panics if the hop fails.
#[track_caller]
pub fn reached(router: &Router, words: Vec<String>) -> Context {
    let context = router.local().shell_words(words).connect();
    context.unwrap_or_else(|error| panic!("{error}\nsaid: {:#?}", said(&error)))
}

/// Connects the host of these words of a shell, and exchanges messages of several frames with it.
///
/// # Panics
/// Panics if the hop fails or the answer is another one.
#[track_caller]
pub fn exchanges(router: &Router, what: &str, words: Vec<String>) -> Context {
    let context = router.local().shell_words(words).connect();
    let context = context.unwrap_or_else(|error| panic!("{what}: {error}"));
    let text = "more than a frame ".repeat(20_000);
    let back = context.call(echo { text: text.clone() });
    let back = back.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(back == text, "{what}");
    context
}

/// Starts a program of a context that does not end by itself, and waits until it runs.
///
/// # Panics
/// Panics if it does not start.
#[track_caller]
pub fn runs_a_program(context: &Context) {
    let program = context.command("/usr/bin/tail").args(["-f", "/dev/null"]);
    let _program = program.spawn().expect("it runs");
    // Under qemu, its arguments are not those of the program.
    let runs = || process::all().values().any(|seen| seen.name == "tail");
    assert!(process::eventually(LIMIT, runs), "the program runs");
}

/// Calls a context for its facts.
///
/// # Panics
/// Panics if the call fails.
#[track_caller]
pub fn facts_of(context: &Context) -> Facts {
    context
        .call(facts {})
        .unwrap_or_else(|error| panic!("{context} does not answer: {error}"))
}

fn said(error: &Error) -> &[String] {
    error.as_connect().map_or(&[], |error| &error.output)
}

/// Returns the error of a hop that must fail with this kind.
///
/// # Panics
/// Panics if the hop was taken, or failed in another way.
#[track_caller]
pub fn refused(result: Result<Context>, kind: ConnectErrorKind) -> ConnectError {
    let error = match result {
        Ok(context) => panic!("{context} is up and should not be"),
        Err(Error::Connect(error)) => *error,
        Err(other) => panic!("not an error of a hop: {other}"),
    };
    assert_eq!(error.kind, kind, "{error}\nsaid: {:#?}", error.output);
    error
}

/// Asserts that the message of `error` is whole: context, hop, reason, and each of `parts`.
///
/// # Panics
/// Panics if one is missing.
#[track_caller]
pub fn assert_says(error: &ConnectError, parts: &[&str]) {
    let text = error.to_string();
    let beginning = format!("{} ({}): {}", error.context, error.hop, error.detail);
    assert!(
        text.starts_with(&beginning) && !error.context.is_empty() && !error.hop.is_empty(),
        "{text}"
    );
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
}

/// Finds the agent of a context by its title, as a process of this pid namespace; the context may
/// report ids of another namespace.
///
/// # Panics
/// Panics if there is not exactly one agent of that context.
#[track_caller]
pub fn agent_of(context: &Context) -> Seen {
    let title = format!("offshoot: {context}");
    let mut found: Vec<Seen> = process::all()
        .into_values()
        .filter(|seen| seen.arguments == title)
        .collect();
    found.retain(|seen| seen.name == "offshoot");
    assert_eq!(
        found.len(),
        1,
        "processes with the title {title:?}: {found:?}"
    );
    found.remove(0)
}

/// Returns the number of sessions a server has accepted: one for each bootstrap attempt.
pub fn sessions(server: &Sshd) -> usize {
    server.log().matches("Starting session: command").count()
}

/// A program that records each start and then executes its arguments: placed before a shell, it
/// counts attempts.
#[derive(Debug)]
pub struct Counter {
    scratch: ScratchDir,
}

impl Counter {
    /// Creates a counter at zero.
    ///
    /// # Panics
    /// Panics if its script cannot be written.
    pub fn new() -> Self {
        let scratch = ScratchDir::new("counter");
        let mut script = "#!/bin/sh\n".to_owned();
        let _ = writeln!(
            script,
            "echo started >>{}/starts\nexec \"$@\"",
            scratch.path().display()
        );
        scratch.file("count", script, 0o755);
        Self { scratch }
    }

    /// Returns `words` with the counter before them.
    pub fn before<I: IntoIterator<Item = S>, S: Into<String>>(&self, words: I) -> Vec<String> {
        let program = self.scratch.path().join("count").display().to_string();
        std::iter::once(program)
            .chain(words.into_iter().map(Into::into))
            .collect()
    }

    /// Returns the number of starts.
    pub fn starts(&self) -> usize {
        fs::read_to_string(self.scratch.path().join("starts"))
            .unwrap_or_default()
            .lines()
            .count()
    }
}

impl Default for Counter {
    fn default() -> Self {
        Self::new()
    }
}

/// A directory of programs that must not be run: each records its name and fails.
#[derive(Debug)]
pub struct Traps {
    scratch: ScratchDir,
}

impl Traps {
    /// Creates traps with these names.
    ///
    /// # Panics
    /// Panics if they cannot be written.
    pub fn named(names: &[&str]) -> Self {
        let scratch = ScratchDir::new("traps");
        let script = format!(
            "#!/bin/sh\necho \"$0\" >>{}/caught\nexit 1\n",
            scratch.path().display()
        );
        for name in names {
            scratch.file(name, &script, 0o755);
        }
        let caught = scratch.file("caught", "", 0o666);
        fs::set_permissions(caught, fs::Permissions::from_mode(0o666)).expect("it is ours");
        Self { scratch }
    }

    /// The directory, for `PATH`.
    pub fn path(&self) -> PathBuf {
        self.scratch.path().to_owned()
    }

    /// Which of them were run.
    pub fn caught(&self) -> String {
        fs::read_to_string(self.scratch.path().join("caught")).unwrap_or_default()
    }
}
