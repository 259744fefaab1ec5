//! Hosts that vanish without an end of file or a reset. Heartbeats detect them.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use offshoot::{Error, Reason, stock};
use offshoot_tests::delay::DelayedPath;
use offshoot_tests::dying_controller::PROMISE;
use offshoot_tests::process::{all, eventually, signal};
use offshoot_tests::run::offshoot_binary;
use offshoot_tests::tree::{ended, facts, hop, router};
use offshoot_tests::users::NOPASS;
use offshoot_tests::{Leaks, Run, Sshd};

/// The longest time from the cut to the end with heartbeats every second: four heartbeats, and the
/// delay of a busy machine.
const NOTICED: Duration = Duration::from_secs(15);

/// Runs a command over a path that is cut once it is connected; returns its stderr.
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
    let mut command = std::process::Command::new(offshoot_binary());
    command
        .args([verb, "-F"])
        .arg(server.config())
        .args(["--heartbeat", "1", &target])
        .args(rest);
    path.near.enter_on_exec(&mut command);
    // The path is cut once the agent on the far side is running.
    let cut = std::thread::scope(|scope| {
        let running = scope.spawn(|| Run::command(command).finish().expect_code(255));
        let agent = || {
            all()
                .into_values()
                .any(|seen| seen.arguments == "offshoot: ssh.far")
        };
        assert!(eventually(NOTICED, agent), "no agent comes up");
        let program = || {
            all()
                .into_values()
                .any(|seen| seen.arguments == "sleep 1000")
        };
        assert!(
            *verb == "ping" || eventually(NOTICED, program),
            "no program comes up"
        );
        path.cut();
        assert!(
            eventually(NOTICED, || running.is_finished()),
            "it does not notice"
        );
        running.join().expect("it ends with 255")
    });
    let said = String::from_utf8_lossy(&cut.stderr).into_owned();
    // The far side notices by itself, too, and ends everything.
    let left = || {
        all()
            .into_values()
            .any(|seen| seen.arguments.starts_with("offshoot: "))
    };
    assert!(eventually(NOTICED, || !left()), "the far agent lives on");
    said
}

#[test]
fn a_command_reports_a_vanished_host_after_three_heartbeats() {
    let _leaks = Leaks::begin();
    let said = cut_off(&["run", "-n", "--", "sleep", "1000"]);
    assert!(
        said.contains("ssh.far") && said.contains("nothing received for 3 s"),
        "{said}"
    );
    let said = cut_off(&["ping", "-c", "1000000"]);
    assert!(
        said.contains("ssh.far") && said.contains("nothing received for 3 s"),
        "{said}"
    );
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
        .wait_timeout(NOTICED)
        .expect_err("nobody answers")
        .to_string();
    assert!(
        error.starts_with(host.name()) && error.contains("nothing received for 3 s"),
        "{error}"
    );
    match host.call(stock::ping {}).expect_err("it is gone").into() {
        Error::Undelivered {
            reason: Reason::Silent,
            ..
        } => {}
        other => panic!("{other:?}"),
    }
    assert!(
        eventually(PROMISE * 3, || ended(ssh)),
        "the stopped ssh is left"
    );
    assert!(
        eventually(NOTICED, || ended(agent)),
        "the far agent is left"
    );
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
        .wait_timeout(NOTICED)
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
        .wait_timeout(NOTICED)
        .unwrap_or_else(|error| panic!("{error}"));
}
