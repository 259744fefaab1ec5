//! The checks of the suites of containers and namespaces: an agent at a target, the error of a hop
//! that fails, and that nothing is left at its end.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use offshoot::target::TargetExt as _;
use offshoot::{ConnectError, ConnectErrorKind, Context, Router};

use crate::hop;
use crate::process::{self, Seen};
use crate::run::{LIMIT, offshoot_binary};
use crate::tree;

/// Connects a target.
///
/// # Panics
/// Panics if a hop fails.
#[track_caller]
pub fn up(router: &Router, target: &str) -> Context {
    let path = router
        .target(target)
        .unwrap_or_else(|error| panic!("{error}"));
    let context = path.connect();
    hop::up(context.clone());
    context.expect("it answers")
}

/// Asserts that a target fails with this kind, and that its error has these parts.
///
/// # Panics
/// Panics if it does not.
#[track_caller]
pub fn fails(
    router: &Router,
    target: &str,
    kind: ConnectErrorKind,
    parts: &[&str],
) -> ConnectError {
    let path = router
        .target(target)
        .unwrap_or_else(|error| panic!("{error}"));
    let error = hop::refused(path.connect(), kind);
    hop::assert_says(&error, parts);
    assert!(!error.hint.is_empty(), "no way out: {error}");
    error
}

/// Returns the output of a program in a context, without the last line end.
///
/// # Panics
/// Panics if it fails.
#[track_caller]
pub fn said(context: &Context, words: &[&str]) -> String {
    let output = context.command(words[0]).args(&words[1..]).output();
    let output = output.unwrap_or_else(|error| panic!("{words:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim_end().to_owned()
}

/// Returns the agents of this sandbox, whatever containers they are in.
pub fn agents() -> Vec<Seen> {
    let everyone = process::all().into_values();
    everyone
        .filter(|seen| seen.name == "offshoot" && !seen.zombie && seen.pid != std::process::id())
        .collect()
}

/// Asserts that the last agent ends soon.
///
/// # Panics
/// Panics if one stays.
#[track_caller]
pub fn no_agent_stays(after: &str) {
    let gone = process::eventually(LIMIT, || agents().is_empty());
    assert!(gone, "after {after}: {:?}", agents());
}

/// Starts the command line with a program at a target that does not end by itself.
fn controller(target: &str) -> Child {
    Command::new(offshoot_binary())
        .args(["run", target, "--", "sleep", "100000"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it was built")
}

/// Asserts that no agent stays at a target after a shutdown, after SIGKILL of the program of its
/// last hop, whose arguments contain `client`, and after SIGKILL of the controller. Calls `check`
/// after each.
///
/// # Panics
/// Panics if one stays.
#[track_caller]
pub fn ends_with_its_link(target: &str, client: &str, mut check: impl FnMut(&str)) {
    let router = tree::router();
    let context = up(&router, target);
    assert!(!agents().is_empty(), "the agents of {target} are not seen");
    context.shutdown().unwrap_or_else(|error| panic!("{error}"));
    drop(router);
    no_agent_stays("a shutdown");
    check("a shutdown");

    let router = tree::router();
    let context = up(&router, target);
    let clients = process::descendants(std::process::id());
    let client = clients.iter().find(|seen| seen.arguments.contains(client));
    let client = client.unwrap_or_else(|| panic!("no {client:?} among {clients:#?}"));
    process::signal(client.pid, Signal::SIGKILL);
    // An agent that has the link itself can go on without the client.
    let end = context.disconnected();
    if let Ok(None) = end.map(|end| end.wait_timeout(Duration::from_secs(1))) {
        tree::facts(&context);
    }
    drop(router);
    no_agent_stays("SIGKILL of the client");
    check("SIGKILL of the client");

    let mut controller = controller(target);
    let runs = || {
        let sleeps = |seen: &Seen| seen.arguments == "sleep 100000" && !seen.zombie;
        let started = |seen: &Seen| {
            let parent = process::look_at(seen.parent);
            parent.is_some_and(|parent| parent.name == "offshoot")
        };
        process::all()
            .values()
            .any(|seen| sleeps(seen) && started(seen))
    };
    assert!(
        process::eventually(LIMIT, runs),
        "{target}: no program runs"
    );
    controller.kill().expect("it is ours");
    controller.wait().expect("it is ours");
    no_agent_stays("SIGKILL of the controller");
    assert!(!runs(), "a program is left");
    check("SIGKILL of the controller");
}

/// Asserts that a temporary container of a target is removed if the controller is ended, by each of
/// some signals, as soon as the container is listed, which is before it runs.
///
/// # Panics
/// Panics if one stays.
#[track_caller]
pub fn is_removed_however_early(target: &str, containers: impl Fn() -> Vec<String>) {
    for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGINT] {
        let mut controller = controller(target);
        while containers().is_empty() {
            let ended = controller.try_wait().expect("it is ours");
            assert!(ended.is_none(), "{target} made no container: {ended:?}");
        }
        process::signal(controller.id(), signal);
        controller.wait().expect("it is ours");
        no_agent_stays("the end of the controller");
        let gone = process::eventually(LIMIT, || containers().is_empty());
        assert!(gone, "after {signal}: {:?}", containers());
    }
}
