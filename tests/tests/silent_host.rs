//! Hosts that vanish without an end of file or a reset. Heartbeats detect them.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use offshoot::{Error, Reason, stock};
use offshoot_tests::delay::DelayedPath;
use offshoot_tests::process::{all, die_with_parent, eventually, signal, wait_for};
use offshoot_tests::run::{LIMIT, offshoot_binary};
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::tree::{ended, facts, hop, router};
use offshoot_tests::users::NOPASS;
use offshoot_tests::{Leaks, Sshd};

/// Runs a command over a path that is cut after its first output; returns its stderr.
#[track_caller]
fn cut_off(words: &[&str]) -> String {
    let path = DelayedPath::new(
        Path::new(env!("CARGO_BIN_EXE_delay-link")),
        Duration::from_millis(10),
    );
    let server = Sshd::named("far")
        .inside(&path.far, DelayedPath::FAR)
        .start();
    let target = format!("{}@far", NOPASS.name);
    let (verb, rest) = words.split_first().expect("a verb");
    let scratch = ScratchDir::new("cut");
    let (stdout, stderr) = (scratch.path().join("stdout"), scratch.path().join("stderr"));
    let file = |path: &Path| File::create(path).expect("the directory is ours");
    let mut command = std::process::Command::new(offshoot_binary());
    command
        .args([verb, "-F"])
        .arg(server.config())
        .args(["--heartbeat", "1", &target])
        .args(rest)
        .stdin(Stdio::null())
        .stdout(file(&stdout))
        .stderr(file(&stderr));
    path.near.enter_on_exec(&mut command);
    let mut running = die_with_parent(&mut command).spawn().expect("it is built");
    let text = |path: &Path| fs::read_to_string(path).expect("it was created");
    // Output is proof that the context is connected here, too. An agent that only runs over there
    // may not be: the hop would fail at its timeout, without a heartbeat.
    let connected = eventually(LIMIT, || !text(&stdout).is_empty());
    assert!(connected, "it prints nothing: {}", text(&stderr));
    path.cut();
    let status = wait_for(&mut running, LIMIT);
    let said = text(&stderr);
    let status = status.unwrap_or_else(|| panic!("it does not notice: {said}"));
    assert_eq!(status.code(), Some(255), "{said}");
    // The far side notices by itself, too, and ends everything.
    let left = || {
        all()
            .into_values()
            .any(|seen| seen.arguments.starts_with("offshoot: "))
    };
    assert!(eventually(LIMIT, || !left()), "the far agent lives on");
    said
}

/// Asserts that an error names a context and tells its silence: three heartbeats of a second, and
/// what a busy machine adds to them.
#[track_caller]
fn tells_silence(error: &str, context: &str) {
    let seconds = error
        .split_once("its heartbeat has stopped: nothing received for ")
        .and_then(|(_, rest)| rest.split(' ').next()?.parse::<f64>().ok());
    assert!(
        error.contains(context) && seconds.is_some_and(|seconds| seconds >= 3.0),
        "{error}"
    );
}

#[test]
fn a_command_reports_a_vanished_host_after_three_heartbeats() {
    let _leaks = Leaks::begin();
    let script = "echo up; exec sleep 1000";
    let said = cut_off(&["run", "-n", "--", "sh", "-c", script]);
    tells_silence(&said, "ssh.far");
    let said = cut_off(&["ping", "-c", "1000000"]);
    tells_silence(&said, "ssh.far");
}

#[test]
fn a_context_behind_a_stopped_ssh_is_lost_after_three_heartbeats() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    let host = hop(&router, &server, NOPASS)
        .heartbeat(1)
        .connect()
        .unwrap_or_else(|error| panic!("{error}"));
    let agent = facts(&host).process;
    let own = std::process::id();
    let ssh = all()
        .into_values()
        .find(|seen| seen.name == "ssh" && seen.parent == own);
    let ssh = ssh.expect("the hop's ssh is our child").pid;
    signal(ssh, Signal::SIGSTOP);
    let mut reply = host.start(stock::ping {});
    let error = reply
        .wait_timeout(LIMIT)
        .expect_err("nobody answers")
        .to_string();
    assert!(error.starts_with(host.name()), "{error}");
    tells_silence(&error, host.name());
    match host.call(stock::ping {}).expect_err("it is gone").into() {
        Error::Undelivered {
            reason: Reason::Silent,
            ..
        } => {}
        other => panic!("{other:?}"),
    }
    assert!(eventually(LIMIT, || ended(ssh)), "the stopped ssh is left");
    assert!(eventually(LIMIT, || ended(agent)), "the far agent is left");
}

#[test]
fn without_heartbeats_a_silent_context_is_never_disconnected() {
    let _leaks = Leaks::begin();
    let router = router();
    let context = router
        .local()
        .heartbeat(0)
        .connect()
        .unwrap_or_else(|error| panic!("{error}"));
    let watched = router
        .local()
        .heartbeat(1)
        .connect()
        .unwrap_or_else(|error| panic!("{error}"));
    let [one, other] = [&context, &watched].map(|context| facts(context).process);
    let mut waiting = context.start(stock::ping {});
    waiting
        .wait_timeout(LIMIT)
        .unwrap_or_else(|error| panic!("{error}"));
    signal(one, Signal::SIGSTOP);
    signal(other, Signal::SIGSTOP);
    let mut waiting = context.start(stock::ping {});
    watched
        .call(stock::ping {})
        .expect_err("its heartbeats have stopped");
    let error = waiting
        .wait_timeout(Duration::from_millis(1))
        .expect_err("it is stopped")
        .to_string();
    assert!(error.contains("no answer"), "{error}");
    signal(one, Signal::SIGCONT);
    waiting
        .wait_timeout(LIMIT)
        .unwrap_or_else(|error| panic!("{error}"));
}
