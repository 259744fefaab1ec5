//! Guard processes. Whichever process of a tree is killed, everything below it ends in time, even
//! if it ignores signals.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;
use offshoot::{Error, Reason, stock};
use offshoot_tests::dying_controller::DyingController;
use offshoot_tests::process::{all, descendants, eventually, look_at, signal};
use offshoot_tests::run::LIMIT;
use offshoot_tests::tree::{ended, facts, router};
use offshoot_tests::{Leaks, Sshd};

fn start(depth: &str) -> DyingController {
    let controller = DyingController::start(env!("CARGO_BIN_EXE_dying-controller"), depth, "wait");
    controller.expect_all_up();
    controller
}

/// Kills a process of a tree, once with all agents below it running and once with them stopped.
/// `find` returns the victim and the processes that must end with it.
fn kill_each_way(depth: &str, how: &str, find: impl Fn(&DyingController) -> (u32, BTreeSet<u32>)) {
    for stopped in [false, true] {
        let controller = start(depth);
        let (victim, below) = find(&controller);
        assert!(
            below.len() > 8 && below.iter().all(|pid| !ended(*pid)),
            "{how}: {below:?}"
        );
        let how = format!(
            "{how} of {depth} killed, agents below {}",
            if stopped { "stopped" } else { "running" }
        );
        for place in controller.places[1..]
            .iter()
            .filter(|place| stopped && below.contains(&place.process))
        {
            signal(place.process, Signal::SIGSTOP);
        }
        assert!(signal(victim, Signal::SIGKILL), "{how}");
        controller.expect_gone(&below, &how);
        assert_eq!(
            ended(controller.controller()),
            victim == controller.controller(),
            "{how}"
        );
        controller.kill(&how);
    }
}

fn everything(controller: &DyingController) -> (u32, BTreeSet<u32>) {
    let behind = controller.behind_ssh();
    (
        controller.controller(),
        controller.from_on(0).into_iter().chain(behind).collect(),
    )
}

#[test]
fn killing_the_controller_ends_everything() {
    let _leaks = Leaks::begin();
    for depth in ["locals", "ssh"] {
        kill_each_way(depth, "the controller", everything);
    }
}

#[test]
fn killing_an_agent_ends_everything_below_it() {
    let _leaks = Leaks::begin();
    for depth in ["locals", "ssh"] {
        for number in 1..4 {
            kill_each_way(depth, &format!("agent {number}"), |controller| {
                (
                    controller.places[number].process,
                    controller.from_on(number),
                )
            });
        }
    }
}

#[test]
fn killing_a_guard_ends_everything_below_it() {
    let _leaks = Leaks::begin();
    for depth in ["locals", "ssh"] {
        for number in 1..4 {
            kill_each_way(depth, &format!("guard {number}"), |controller| {
                (controller.places[number].guard, controller.from_on(number))
            });
        }
    }
}

/// Mounts /proc with `hidepid=2` until this value is dropped: users see only their own processes,
/// and no non-dumpable ones.
struct HidingProc;

impl HidingProc {
    fn mounted(option: &str) {
        offshoot_tests::process::must_run(
            "mount",
            &["-n", "-o", &format!("remount,hidepid={option}"), "/proc"],
            b"",
        );
    }

    fn new() -> Self {
        Self::mounted("2");
        Self
    }
}

impl Drop for HidingProc {
    fn drop(&mut self) {
        Self::mounted("0");
    }
}

#[test]
fn killing_an_agent_ends_everything_below_it_under_hidepid() {
    let _leaks = Leaks::begin();
    let _hiding = HidingProc::new();
    kill_each_way("ssh", "the controller", everything);
    for number in [1, 3] {
        kill_each_way("ssh", &format!("agent {number}"), |controller| {
            (
                controller.places[number].process,
                controller.from_on(number),
            )
        });
    }
    // Three nested contexts of one user, each with a daemon.
    let server = Sshd::start("web1");
    let router = router();
    for (stopped, of_guard) in [(false, false), (true, false), (false, true)] {
        let first =
            offshoot_tests::tree::hop(&router, &server, offshoot_tests::users::PLAIN).connect();
        let first = first.unwrap_or_else(|error| panic!("{error}"));
        let second = first
            .local()
            .connect()
            .unwrap_or_else(|error| panic!("{error}"));
        let third = second
            .local()
            .connect()
            .unwrap_or_else(|error| panic!("{error}"));
        let (mut below, mut agents, mut programs) = (BTreeSet::new(), Vec::new(), Vec::new());
        for context in [&first, &second, &third] {
            let script =
                "setsid sh -c 'sleep 1000 <&- >/dev/null 2>&1 & echo $!'; exec sleep 1000 >&-";
            let program = context
                .command("sh")
                .args(["-c", script])
                .detachable()
                .spawn();
            let mut program = program.unwrap_or_else(|error| panic!("{error}"));
            let text = std::io::read_to_string(program.stdout.take().expect("not taken yet"));
            below.extend(text.ok().and_then(|text| text.trim().parse::<u32>().ok()));
            programs.push(program);
            agents.push(facts(context).process);
        }
        below.extend(&agents);
        assert_eq!(below.len(), 6, "{below:?}");
        for agent in agents[1..].iter().filter(|_| stopped) {
            signal(*agent, Signal::SIGSTOP);
        }
        let agent = agents[0];
        let victim = if of_guard {
            look_at(agent).expect("it lives").parent
        } else {
            agent
        };
        assert!(signal(victim, Signal::SIGKILL));
        let gone = || below.iter().all(|pid| ended(*pid));
        assert!(
            eventually(LIMIT, gone),
            "stopped {stopped}, guard {of_guard}: {below:?}"
        );
    }
}

#[test]
fn programs_of_the_controller_end_with_their_guard() {
    let _leaks = Leaks::begin();
    let own = |controller: &DyingController| {
        let guard = controller.places[0].guard;
        let below = descendants(guard)
            .into_iter()
            .map(|seen| seen.pid)
            .chain([guard]);
        (
            guard,
            below
                .chain(controller.places[0].programs.iter().copied())
                .collect::<BTreeSet<u32>>(),
        )
    };
    kill_each_way("locals", "the guard of the controller's programs", own);
    kill_each_way(
        "locals",
        "the agent of the controller's programs",
        |controller| {
            let (guard, below) = own(controller);
            (
                descendants(guard)
                    .into_iter()
                    .find(|seen| seen.parent == guard)
                    .expect("its agent")
                    .pid,
                below,
            )
        },
    );
}

#[test]
fn killing_ssh_ends_everything_behind_it() {
    let _leaks = Leaks::begin();
    kill_each_way("ssh", "ssh", |controller| {
        let ssh = all()
            .into_values()
            .find(|seen| seen.parent == controller.controller() && seen.name == "ssh");
        (ssh.expect("it runs").pid, controller.behind_ssh())
    });
    kill_each_way("ssh", "the server's session", |controller| {
        let guard = look_at(controller.places[1].guard).expect("it runs");
        assert!(
            look_at(guard.parent)
                .expect("it runs")
                .name
                .starts_with("sshd")
        );
        (guard.parent, controller.from_on(1))
    });
}

#[test]
fn killing_sudo_ends_everything_behind_it() {
    let _leaks = Leaks::begin();
    for number in [2, 3] {
        kill_each_way("ssh", &format!("sudo before {number}"), |controller| {
            let guard = look_at(controller.places[number].guard).expect("it runs");
            assert_eq!(look_at(guard.parent).expect("it runs").name, "sudo");
            (guard.parent, controller.from_on(number))
        });
    }
}

#[test]
fn a_stopped_guard_and_agent_end_with_their_controller() {
    let _leaks = Leaks::begin();
    let controller = start("locals");
    for place in &controller.places[1..2] {
        signal(place.process, Signal::SIGSTOP);
        signal(place.guard, Signal::SIGSTOP);
    }
    controller.kill("guard and agent stopped");
}

#[test]
fn a_stopped_agent_is_distinguished_from_a_silent_one() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    let hops = [
        router.local().heartbeat(1).connect(),
        offshoot_tests::tree::hop(&router, &server, offshoot_tests::users::NOPASS)
            .heartbeat(1)
            .connect(),
    ];
    for context in hops {
        let context = context.unwrap_or_else(|error| panic!("{error}"));
        let agent = facts(&context).process;
        // A short stop ends nothing.
        signal(agent, Signal::SIGSTOP);
        signal(agent, Signal::SIGCONT);
        assert_eq!(facts(&context).process, agent);
        signal(agent, Signal::SIGSTOP);
        let error = context.call(stock::ping {}).expect_err("nobody answers");
        let offshoot::CallError::Failed(Error::Undelivered { reason, .. }) = &error else {
            panic!("{error}")
        };
        assert_eq!(*reason, Reason::Stopped, "{error}");
        assert!(
            error.to_string().contains("its process is stopped"),
            "{error}"
        );
        assert!(
            eventually(LIMIT, || ended(agent)),
            "the stopped agent is left"
        );
    }
}
