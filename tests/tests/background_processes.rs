//! Processes that a program has started: daemons survive if the program exits by itself, nothing
//! survives if it is killed.

use std::io::{BufRead as _, BufReader};

use nix::sys::signal::Signal;
use offshoot::{Command, Context, Process};
use offshoot_tests::process::{eventually, look_at, signal};
use offshoot_tests::run::LIMIT;
use offshoot_tests::tree::{ended, facts, hop, router};
use offshoot_tests::users::NOPASS;
use offshoot_tests::{Leaks, Run, Sshd};

/// Starts a daemon, a process in the program's session, and two in sessions of their own that hold
/// its stdout and its stdin; prints their ids in this order.
const START: &str = "setsid sh -c 'sleep 1000 & wait' </dev/null >/dev/null 2>&1 & daemon=$!; \
     sleep 1000 </dev/null >/dev/null 2>&1 & same=$!; \
     setsid sleep 1000 </dev/null 2>/dev/null & holding=$!; \
     exec 3<&0; setsid sleep 1000 <&3 3<&- >/dev/null 2>&1 & reading=$!; exec 3<&-; \
     while [ \"$(ps -o sid= -p $daemon | tr -d ' ')\" != $daemon ]; do :; done; \
     echo $daemon $same $holding $reading; ";

/// A program that daemonises itself as C programs do; its parent exits before `setsid`.
const DAEMON: &str = "import os, sys, time\n\
     if os.fork(): os._exit(0)\n\
     os.setsid()\n\
     if os.fork(): os._exit(0)\n\
     null = os.open('/dev/null', os.O_RDWR)\n\
     os.write(1, b'%d\\n' % os.getpid())\n\
     for fd in (0, 1, 2): os.dup2(null, fd)\n\
     time.sleep(1000)\n";

/// A way to end a program.
type End = fn(&Context, Process);

#[track_caller]
fn up<T, E: std::fmt::Display>(outcome: Result<T, E>) -> T {
    outcome.unwrap_or_else(|error| panic!("{error}"))
}

fn numbers(text: &str) -> Vec<u32> {
    let numbers: Vec<u32> = text
        .split_ascii_whitespace()
        .map(|word| up(word.parse()))
        .collect();
    assert_eq!(numbers.len(), 4, "{text}");
    numbers
}

fn shell(context: &Context, script: &str) -> Command {
    context
        .command("sh")
        .args(["-c", &format!("{START} {script}")])
}

/// Asserts that a daemon is still running, then kills it.
#[track_caller]
fn lives(daemon: u32, how: &str) {
    assert!(!ended(daemon), "{how}: the daemon is gone");
    signal(daemon, Signal::SIGKILL);
    let group = nix::unistd::Pid::from_raw(-(daemon as i32));
    let _ = nix::sys::signal::kill(group, Signal::SIGKILL);
    assert!(eventually(LIMIT, || ended(daemon)));
}

#[track_caller]
fn gone(pids: &[u32], how: &str) {
    assert!(
        eventually(LIMIT, || pids.iter().all(|pid| ended(*pid))),
        "{how}: {pids:?}"
    );
}

#[test]
fn a_daemon_outlives_a_program_that_exits_and_other_children_do_not() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let mut daemons = Vec::new();
    {
        let router = router();
        let one = up(router.local().connect());
        let host = up(hop(&router, &server, NOPASS).connect());
        let root = up(host.sudo().connect());
        let contexts = [(*router).clone(), up(one.local().connect()), host, root];
        for context in &contexts {
            let output = up(shell(context, "exit 3").output());
            assert_eq!(output.status.code, Some(3), "{context}");
            let all = numbers(&String::from_utf8_lossy(&output.stdout));
            gone(&all[1..], &format!("{context}: {all:?}"));
            daemons.push((all[0], context.name().to_owned()));
            // Concurrent programs each keep their own children.
            let program = up(shell(context, "exec sleep 1000").spawn());
            let (program, all) = begun(program);
            let other = up(shell(context, "exit 4").output());
            let others = numbers(&String::from_utf8_lossy(&other.stdout));
            gone(&others[1..], "the processes of the other program");
            assert!(
                all.iter().all(|pid| !ended(*pid)),
                "the other program has ended processes of this one"
            );
            drop(program);
            gone(&all, "the processes of a program that was dropped");
            daemons.push((others[0], context.name().to_owned()));
        }
    }
    for (daemon, context) in daemons {
        lives(daemon, &context);
    }
}

/// Waits until a program has started its children; returns it and their ids.
#[track_caller]
fn begun(mut program: Process) -> (Process, Vec<u32>) {
    let mut line = String::new();
    up(BufReader::new(program.stdout.as_mut().expect("not taken yet")).read_line(&mut line));
    (program, numbers(&line))
}

#[test]
fn a_daemon_survives_even_if_its_parent_exits_before_setsid() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let config = server.config().display().to_string();
    let target = format!("{}@web1/sudo", NOPASS.name);
    for round in 0..6 {
        let target = if round % 2 == 0 { "local" } else { &target };
        let words = [
            "run", "-n", "-F", &config, target, "--", "python3", "-c", DAEMON,
        ];
        let seen = Run::offshoot(words).finish().expect_code(0);
        lives(up(seen.out().trim().parse()), target);
    }
}

#[test]
fn verbose_reports_which_child_processes_were_killed_and_which_survive() {
    let _leaks = Leaks::begin();
    let run = |options: &[&str]| {
        let script = format!("{START} exit 5");
        Run::offshoot(["run", "-v"])
            .args(options)
            .args(["local", "--", "sh", "-c", &script])
            .finish()
    };
    let seen = run(&["-n"]).expect_code(5);
    let (said, all) = (seen.err(), numbers(&seen.out()));
    gone(&all[1..], &said);
    let told = |pid: u32, what: &str| {
        let part = format!("(process {pid}) of program");
        said.lines()
            .any(|line| line.contains(&part) && line.contains(what))
    };
    assert!(told(all[0], "keeps running"), "{all:?}: {said}");
    assert!(
        all[1..].iter().all(|pid| told(*pid, "was ended with it")),
        "{all:?}: {said}"
    );
    lives(all[0], "the command line");
    let seen = run(&["-n", "--end-all"]).expect_code(5);
    gone(&numbers(&seen.out()), "--end-all");
}

#[test]
fn a_program_that_is_killed_takes_its_daemons_along() {
    let _leaks = Leaks::begin();
    let router = router();
    let ends: [(&str, End); 5] = [
        ("drop", |_, process| drop(process)),
        ("shutdown", |context, _| up(context.shutdown())),
        ("its input", |_, mut process| {
            process.stdin.take().expect("not taken yet").fail("as told")
        }),
        ("its agent", |context, _| {
            signal(facts(context).process, Signal::SIGKILL);
        }),
        ("its guard", |context, _| {
            let guard = look_at(facts(context).process).expect("it lives").parent;
            signal(guard, Signal::SIGKILL);
        }),
    ];
    for (how, end) in ends {
        for script in [
            "exec sleep 1000",
            "trap 'exit 0' TERM; sleep 1000 & wait",
            "trap '' TERM; sleep 1000; sleep 1000",
        ] {
            let context = up(router.local().connect());
            let (process, all) = begun(up(shell(&context, script).spawn()));
            end(&context, process);
            gone(&all, &format!("{how}: {script}"));
        }
    }
    let context = up(router.local().connect());
    let output = up(shell(&context, "exit 0").end_all().output());
    gone(
        &numbers(&String::from_utf8_lossy(&output.stdout)),
        "end_all",
    );
}
