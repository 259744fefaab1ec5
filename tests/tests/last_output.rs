//! Output printed and logged right before a shutdown. It arrives.

use std::io::Read as _;
use std::sync::OnceLock;

use offshoot::{Error, Reason, Router, stock};
use offshoot_test_agent::{chatter, hang, speak};
use offshoot_tests::Leaks;
use offshoot_tests::process::{eventually, signal};
use offshoot_tests::records::Records;
use offshoot_tests::run::LIMIT;
use offshoot_tests::tree::{ended, facts};

/// The number of last lines of each kind: fewer than an agent can queue.
const LINES: usize = 80;

fn records() -> &'static Records {
    static RECORDS: OnceLock<Records> = OnceLock::new();
    RECORDS.get_or_init(Records::keep)
}

fn talkative() -> Router {
    let records = records();
    assert!(records.with("there is no such text").is_empty());
    let router = Router::builder()
        .package("offshoot-test-agent")
        .log_level(3)
        .start();
    router.expect("the system has descriptors and threads")
}

#[track_caller]
fn up<T, E: std::fmt::Display>(outcome: Result<T, E>) -> T {
    outcome.unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn output_and_log_records_written_right_before_shutdown_arrive() {
    let _leaks = Leaks::begin();
    let router = talkative();
    for round in 0..5 {
        let outer = up(router.local().connect());
        let inner = up(outer.local().connect());
        // A function that does not return does not delay the shutdown.
        let _hanging = inner.start(hang {});
        let before = records().with("").len();
        up(inner.call(speak { count: LINES }));
        up(outer.shutdown());
        for kind in ["printed", "complained", "logged"] {
            for number in 0..LINES {
                let line = format!("{kind} {number} ");
                let found = records()
                    .with("")
                    .split_off(before)
                    .iter()
                    .any(|seen| seen.contains(&line));
                assert!(found, "{line:?} is lost in round {round}");
            }
        }
    }
}

#[test]
fn output_still_queued_on_a_link_at_shutdown_arrives() {
    let _leaks = Leaks::begin();
    let router = talkative();
    // Without heartbeats, which would push what is queued.
    let outer = up(router.local().heartbeat(0).connect());
    let inner = up(outer.local().heartbeat(0).connect());
    // More than a pipe holds: the reply, and with it the shutdown, overtakes the lines.
    up(inner.call(chatter { count: 1200 }));
    up(inner.shutdown());
    let last = format!("{:->100} ", 1199);
    assert!(
        eventually(LIMIT, || records().with(&last).len() == 1),
        "the last line is lost"
    );
}

#[test]
fn output_that_a_program_prints_on_sigterm_arrives() {
    let _leaks = Leaks::begin();
    let router = talkative();
    let outer = up(router.local().connect());
    let inner = up(outer.local().connect());
    for context in [&*router, &outer, &inner] {
        let script =
            "trap 'echo last words; exit 7' TERM; echo ready; while :; do sleep 1000 & wait; done";
        let mut process = up(context.command("sh").args(["-c", script]).spawn());
        let mut stdout = process.stdout.take().expect("not taken yet");
        let mut ready = [0; 6];
        up(stdout.read_exact(&mut ready));
        if context == &*router {
            continue;
        }
        let reading = std::thread::spawn(move || {
            let mut rest = String::new();
            stdout.read_to_string(&mut rest).map(|_| rest)
        });
        let child = if context == &outer { &inner } else { &outer };
        assert_eq!(up(child.call(stock::echo { text: "up".into() })), "up");
        if context == &inner {
            up(outer.shutdown());
            assert_eq!(
                up(up(Ok::<_, String>(reading.join().expect("no panic")))),
                "last words\n"
            );
            let error = process.wait().expect_err("it did not end by itself");
            assert!(
                matches!(
                    error,
                    Error::Ended {
                        reason: Reason::ShutDown,
                        ..
                    }
                ),
                "{error}"
            );
        }
    }
}

#[test]
fn a_parent_that_does_not_read_does_not_delay_the_end_of_its_child() {
    let _leaks = Leaks::begin();
    let router = talkative();
    let outer = up(router.local().connect());
    let inner = up(outer.local().connect());
    let (middle, last) = (facts(&outer).process, facts(&inner).process);
    signal(middle, nix::sys::signal::Signal::SIGSTOP);
    // More than the pipe holds is queued in the inner agent and cannot be sent.
    let _speaking = inner.start(speak { count: 100 });
    signal(last, nix::sys::signal::Signal::SIGTERM);
    assert!(
        eventually(LIMIT, || ended(last)),
        "the agent waits for its parent"
    );
    signal(middle, nix::sys::signal::Signal::SIGCONT);
    let mut reply = outer.start(stock::ping {});
    up(reply.wait_timeout(LIMIT));
}
