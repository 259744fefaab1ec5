//! The end of a tree. However a process ends, everything below it ends, at every depth.

use std::io::{BufRead as _, BufReader};

use nix::sys::signal::Signal;
use offshoot::{Context, Error, Process, Reason, Router, stock};
use offshoot_tests::dying_controller::DyingController;
use offshoot_tests::process::{all, descendants, eventually, signal};
use offshoot_tests::run::LIMIT;
use offshoot_tests::tree::{below, ended, facts, hop, router};
use offshoot_tests::users::{NOPASS, PLAIN};
use offshoot_tests::{Leaks, Sshd};

fn start(depth: &str, end: &str) -> DyingController {
    DyingController::start(env!("CARGO_BIN_EXE_dying-controller"), depth, end)
}

#[test]
fn a_local_tree_ends_when_any_signal_ends_its_controller() {
    let _leaks = Leaks::begin();
    for deadly in [
        Signal::SIGKILL,
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
    ] {
        let controller = start("locals", "wait");
        controller.expect_all_up();
        signal(controller.controller(), deadly);
        controller.expect_nothing_left(deadly.as_str());
    }
}

#[test]
fn a_tree_behind_ssh_and_sudo_ends_when_any_signal_ends_its_controller() {
    let _leaks = Leaks::begin();
    for deadly in [Signal::SIGKILL, Signal::SIGTERM] {
        let controller = start("ssh", "wait");
        controller.expect_all_up();
        signal(controller.controller(), deadly);
        controller.expect_nothing_left(deadly.as_str());
    }
}

#[test]
fn a_controller_that_returns_exits_or_panics_leaves_no_process() {
    let _leaks = Leaks::begin();
    for depth in ["locals", "ssh"] {
        for end in ["return", "exit", "panic"] {
            start(depth, end).expect_nothing_left(&format!("{depth} {end}"));
        }
    }
}

#[track_caller]
fn up<T>(outcome: offshoot::Result<T>) -> T {
    outcome.unwrap_or_else(|error| panic!("{error}"))
}

/// Connects three contexts, each the parent of the next.
fn chain(router: &Router) -> [Context; 3] {
    let one = up(router.local().connect());
    let two = up(one.local().connect());
    let three = up(two.local().connect());
    [one, two, three]
}

/// Starts a program that ignores signals; returns it and its process id.
fn resisting(context: &Context) -> (Process, u32) {
    running(
        context,
        "trap '' TERM HUP INT; echo $$; while :; do sleep 1000; done",
    )
}

/// Starts a script that prints its process id; returns the program and the id.
fn running(context: &Context, script: &str) -> (Process, u32) {
    let mut process = up(context.command("sh").arg("-c").arg(script).spawn());
    let mut line = String::new();
    let stdout = process.stdout.take().expect("not taken yet");
    BufReader::new(stdout)
        .read_line(&mut line)
        .expect("the program prints its number");
    let pid = line
        .trim()
        .parse()
        .unwrap_or_else(|_| panic!("{line:?} is no number"));
    (process, pid)
}

#[test]
fn shutdown_returns_once_the_context_and_its_descendants_are_gone() {
    let _leaks = Leaks::begin();
    let router = router();
    let [one, two, three] = chain(&router);
    let pids: Vec<u32> = [&two, &three].map(|context| facts(context).process).into();
    let (kept, (waiting, second), (_third, third)) =
        (resisting(&one), resisting(&two), resisting(&three));
    let waiting = std::thread::spawn(move || waiting.wait());
    up(two.shutdown());
    for pid in pids.iter().chain(&[second, third]) {
        assert!(ended(*pid), "{pid} lives after shutdown");
    }
    let error = waiting
        .join()
        .expect("it does not panic")
        .expect_err("it did not end by itself");
    let told = matches!(
        error,
        Error::Ended {
            reason: Reason::ShutDown,
            ..
        }
    );
    assert!(
        told,
        "the end of the program is reported before the loss of its context: {error}"
    );
    for gone in [&two, &three] {
        let error = gone
            .call(stock::ping {})
            .expect_err("it is gone")
            .to_string();
        assert!(error.starts_with(&format!("{gone}: ")), "{error}");
        up(gone.shutdown());
    }
    assert!(!ended(kept.1), "what runs above goes on");
    assert_eq!(facts(&one).user, "root");
    assert!(
        Context::shutdown(&router).is_err(),
        "a program cannot end itself this way"
    );
}

#[test]
fn shutdown_behind_ssh_and_sudo_returns_once_everything_is_gone() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    let host = up(hop(&router, &server, NOPASS).connect());
    let root = up(host.sudo().connect());
    let other = up(root.sudo().user(PLAIN.name).connect());
    let agents = [&host, &root, &other].map(|context| facts(context).process);
    let programs = [&host, &root, &other].map(resisting);
    up(root.shutdown());
    for pid in [agents[1], agents[2], programs[1].1, programs[2].1] {
        assert!(ended(pid), "{pid} lives after shutdown");
    }
    assert!(!ended(agents[0]) && !ended(programs[0].1));
    up(host.shutdown());
    assert!(ended(agents[0]) && ended(programs[0].1));
}

#[test]
fn dropping_a_router_returns_once_everything_has_ended() {
    let _leaks = Leaks::begin();
    let router = router();
    let contexts = chain(&router);
    let programs = contexts.each_ref().map(resisting);
    let (own, _) = running(&router, "echo $$; exec sleep 1000");
    let unfinished = up(router
        .ssh("127.0.0.1")
        .program("sleep")
        .config("/dev/null")
        .start());
    assert!(
        below().len() >= 10,
        "agents, programs and their children: {:?}",
        below()
    );
    drop(router);
    assert_eq!(below(), [], "left when drop has returned");
    for process in programs
        .into_iter()
        .map(|(process, _)| process)
        .chain([own])
    {
        // The wait normally ends before the tree is gone, except on a very busy machine.
        let error = process.wait().expect_err("it did not end by itself");
        assert!(!matches!(error, Error::Spawn { .. }), "{error}");
    }
    unfinished.wait().expect_err("the tree is gone");
    let error = contexts[2]
        .call(stock::ping {})
        .expect_err("the tree is gone");
    assert_eq!(error, Error::ShutDown.into());
    assert_eq!(contexts[2].local().start().err(), Some(Error::ShutDown));
}

#[test]
fn killing_an_agent_in_the_middle_ends_everything_below_it() {
    let _leaks = Leaks::begin();
    let router = router();
    let [one, two, three] = chain(&router);
    let [_, middle, last] = [&one, &two, &three].map(|context| facts(context).process);
    let plain = up(two.command("sleep").arg("1000").spawn());
    let ((waiting, resisting), last_of) = (resisting(&three), all());
    signal(middle, Signal::SIGKILL);
    let error = plain.wait().expect_err("its agent is gone");
    let Error::Undelivered {
        context, reason, ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(
        (context.as_str(), *reason),
        ("local.local", Reason::Lost),
        "{error}"
    );
    let error = waiting.wait().expect_err("the way to its agent is gone");
    assert!(
        error.to_string().starts_with("local.local.local: "),
        "{error}"
    );
    let children: Vec<u32> = last_of
        .values()
        .filter(|seen| seen.parent == middle || seen.parent == last)
        .map(|seen| seen.pid)
        .collect();
    assert!(children.contains(&resisting) && children.len() >= 3);
    assert!(
        eventually(LIMIT, || children.iter().all(|pid| ended(*pid))),
        "left: {children:?}"
    );
    assert_eq!(facts(&one).user, "root");
    assert_eq!(facts(&up(one.local().connect())).user, "root");
}

#[test]
fn a_stopped_agent_does_not_delay_shutdown() {
    let _leaks = Leaks::begin();
    for depth in 0..3 {
        let router = router();
        let contexts = chain(&router);
        let pids = contexts.each_ref().map(|context| facts(context).process);
        let program = resisting(&contexts[2]);
        signal(pids[depth], Signal::SIGSTOP);
        up(router.shutdown());
        let gone = eventually(LIMIT, || {
            pids.iter().chain([&program.1]).all(|pid| ended(*pid))
        });
        assert!(
            gone,
            "agent {depth} of three was stopped, left: {:#?}",
            all()
        );
    }
}

#[test]
fn missed_heartbeats_detect_a_silent_agent() {
    let _leaks = Leaks::begin();
    let router = router();
    let context = up(router.local().heartbeat(1).connect());
    let agent = facts(&context).process;
    signal(agent, Signal::SIGSTOP);
    let error = context.call(stock::ping {}).expect_err("nobody answers");
    assert!(
        error.to_string().contains("heartbeat has stopped"),
        "{error}"
    );
    assert!(
        eventually(LIMIT, || ended(agent)),
        "the silent agent is left"
    );
}

#[test]
fn orphaned_processes_that_exit_are_reaped() {
    let _leaks = Leaks::begin();
    let router = router();
    // Without heartbeats, which would wake the agent.
    let context = up(router.local().heartbeat(0).connect());
    let agent = facts(&context).process;
    for _ in 0..20 {
        let status = up(up(context
            .command("sh")
            .arg("-c")
            .arg("(setsid true &) ; exit 3")
            .spawn())
        .wait());
        assert_eq!(status.code, Some(3));
    }
    let collected = eventually(LIMIT, || descendants(agent).is_empty());
    assert!(collected, "{:#?}", descendants(agent));
    assert_eq!(facts(&context).process, agent);
}
