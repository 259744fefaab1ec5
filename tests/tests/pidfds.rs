//! Kernels without pidfds. The end of a program or hop is still noticed, without polling forever.

use std::time::Duration;

use nix::sys::signal::Signal;
use offshoot::{Context, Router, stock};
use offshoot_tests::Leaks;
use offshoot_tests::process::{eventually, signal};
use offshoot_tests::run::{LIMIT, Run};
use offshoot_tests::seccomp::without_pidfds;
use offshoot_tests::tree::{ended, facts, router};

/// Words before those of a program that is to run as on a kernel before Linux 5.1.
const WITHOUT: [&str; 3] = [
    env!("CARGO_BIN_EXE_refuse-calls"),
    "ENOSYS",
    "pidfd_open,pidfd_send_signal,close_range",
];

#[track_caller]
fn up(outcome: offshoot::Result<Context>) -> Context {
    outcome.unwrap_or_else(|error| panic!("{error}"))
}

/// Returns the number of timers in the broker of a context.
fn timers(context: &Context) -> u32 {
    let dump = context.dump().unwrap_or_else(|error| panic!("{error}"));
    let text = dump.to_string();
    let line = text
        .lines()
        .skip_while(|line| !line.contains("timers:"))
        .nth(1)
        .unwrap_or_default();
    let number = line
        .split_ascii_whitespace()
        .next()
        .and_then(|word| word.parse().ok());
    number.unwrap_or_else(|| panic!("{text}"))
}

/// Runs programs with several exit codes and asserts each code.
#[track_caller]
fn run_some(context: &Context, count: u32) {
    for number in 0..count {
        let code = (number % 3) as i32;
        let output = context
            .command("sh")
            .args(["-c", &format!("exit {code}")])
            .output();
        assert_eq!(
            output.unwrap_or_else(|error| panic!("{error}")).status.code,
            Some(code)
        );
    }
}

#[test]
fn without_pidfds_an_agent_needs_no_timer_per_program() {
    let _leaks = Leaks::begin();
    let router = router();
    let words = [&WITHOUT[..], &["/bin/sh"]].concat();
    let words = words.into_iter().map(str::to_owned).collect();
    let context = up(router.local().shell_words(words).connect());
    let long = context
        .command("sleep")
        .arg("1000")
        .spawn()
        .unwrap_or_else(|error| panic!("{error}"));
    run_some(&context, 1);
    let before = timers(&context);
    run_some(&context, 100);
    assert!(
        timers(&context) <= before,
        "{} timers, {before} after the first",
        timers(&context)
    );
    // The ends of a dropped program, a signalled program and a killed hop are noticed.
    drop(long);
    let output = context.command("sh").args(["-c", "kill -KILL $$"]).output();
    assert_eq!(
        output
            .unwrap_or_else(|error| panic!("{error}"))
            .status
            .signal,
        Some(libc::SIGKILL)
    );
    let below = up(context.local().connect());
    let agent = facts(&below).process;
    signal(agent, Signal::SIGKILL);
    assert!(below.call(stock::ping {}).is_err() && eventually(LIMIT, || ended(agent)));
    assert!(
        eventually(LIMIT, || timers(&context) <= before),
        "{} timers at last",
        timers(&context)
    );
}

#[test]
fn without_pidfds_a_root_needs_one_timer_for_all_hops() {
    let _leaks = Leaks::begin();
    // The broker of this router is started by a thread without pidfds.
    let start = || {
        without_pidfds().expect("a filter may be set");
        Router::new().expect("there are threads")
    };
    let router = std::thread::spawn(start).join().expect("it does not panic");
    // The timeout of a hop is one timer, which fires once.
    let hop = || up(router.local().timeout(Duration::from_secs(5)).connect());
    let kept = hop();
    let before = timers(&router);
    for _ in 0..20 {
        let context = hop();
        let agent = facts(&context).process;
        context.shutdown().unwrap_or_else(|error| panic!("{error}"));
        assert!(eventually(LIMIT, || ended(agent)));
    }
    run_some(&kept, 3);
    assert!(
        eventually(LIMIT, || timers(&router) <= before),
        "{} timers, {before} at first",
        timers(&router)
    );
}

#[test]
fn the_command_line_works_without_pidfds() {
    let _leaks = Leaks::begin();
    for (target, script, code) in [
        ("local", "exit 7", 7),
        ("local/local", "kill -9 $$", 137),
        ("local", "sleep 1000 & exit 0", 0),
    ] {
        let words = ["run", "-n", target, "--", "sh", "-c", script];
        let seen = Run::program(WITHOUT[0])
            .args(&WITHOUT[1..])
            .arg(offshoot_tests::run::offshoot_binary())
            .args(words)
            .finish();
        assert_eq!(seen.code, code, "{target}: {script}: {}", seen.err());
    }
}
