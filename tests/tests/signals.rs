//! Signal dispositions across hops and programs. None is inherited, on any host.

use offshoot::{Error, Reason, stock};
use offshoot_tests::process::{eventually, signal};
use offshoot_tests::run::{LIMIT, offshoot_binary};
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::tree::{ended, facts, router};
use offshoot_tests::users::NOPASS;
use offshoot_tests::{Leaks, Run, Sshd};

/// Executes its arguments with these signals ignored, as `nohup` does with one of them.
const IGNORING: &str =
    "trap '' HUP INT QUIT PIPE TERM USR1 USR2 TSTP TTIN TTOU CHLD ALRM; exec \"$0\" \"$@\"";

#[test]
fn programs_start_with_default_signal_dispositions() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let config = server.config().display().to_string();
    let user = format!("{}@web1", NOPASS.name);
    let targets = [
        "local".to_owned(),
        "local/local".into(),
        user.clone(),
        format!("{user}/sudo"),
        format!("{user}/sudo/local"),
    ];
    for target in &targets {
        let words = [
            "run",
            "-n",
            "-F",
            &config,
            target,
            "--",
            "cat",
            "/proc/self/status",
        ];
        let seen = Run::program("sh")
            .args(["-c", IGNORING])
            .arg(offshoot_binary())
            .args(words)
            .finish();
        let sets: Vec<_> = seen
            .out()
            .lines()
            .filter(|line| line.starts_with("Sig"))
            .map(str::to_owned)
            .collect();
        let none = "0000000000000000";
        let expected = ["SigBlk", "SigIgn", "SigCgt"].map(|set| format!("{set}:\t{none}"));
        assert!(
            expected.iter().all(|set| sets.contains(set)),
            "{target}: {sets:?}: {}",
            seen.err()
        );
    }
}

#[test]
fn agent_and_guard_receive_signals_that_the_hop_program_ignored_or_blocked() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("deaf");
    let ignoring = scratch.file(
        "ignoring",
        "#!/bin/sh\ntrap '' CHLD TERM CONT HUP\nexec /bin/sh \"$@\"\n",
        0o755,
    );
    let blocking = "import os, signal, sys\n\
                    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))\n\
                    os.execv('/bin/sh', ['sh'] + sys.argv[1:])\n";
    let blocking = scratch.file("blocking", format!("#!/usr/bin/python3\n{blocking}"), 0o755);
    for shell in [ignoring, blocking] {
        let router = router();
        let hop = router
            .local()
            .shell(shell.to_str().expect("our own path"))
            .heartbeat(1);
        let context = hop
            .connect()
            .unwrap_or_else(|error| panic!("{}: {error}", shell.display()));
        // Its guard notices that it was stopped.
        let agent = facts(&context).process;
        assert!(signal(agent, nix::sys::signal::Signal::SIGSTOP));
        let error = context.call(stock::ping {}).expect_err("nobody answers");
        let offshoot::CallError::Failed(Error::Undelivered { reason, .. }) = &error else {
            panic!("{error}")
        };
        assert_eq!(*reason, Reason::Stopped, "{}: {error}", shell.display());
        assert!(
            eventually(LIMIT, || ended(agent)),
            "the stopped agent is left"
        );
        // An agent that receives SIGTERM ends.
        let context = router
            .local()
            .shell(shell.to_str().expect("our own path"))
            .connect()
            .expect("as before");
        let agent = facts(&context).process;
        assert!(signal(agent, nix::sys::signal::Signal::SIGTERM));
        assert!(
            eventually(LIMIT, || ended(agent)),
            "{}: it does not hear SIGTERM",
            shell.display()
        );
    }
}

#[test]
fn a_program_with_default_sigpipe_survives_lost_hosts_and_trees() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("sigpipe");
    let words = [
        env!("CARGO_BIN_EXE_join-peer"),
        scratch.path().to_str().expect("our own path"),
    ];
    let seen = Run::program(env!("CARGO_BIN_EXE_sigpipe-default"))
        .args(words)
        .finish()
        .expect_code(0);
    assert_eq!(seen.out(), "no host has ended it\nno tree has ended it\n");
}
