//! Detached programs and contexts. They outlive their tree; nothing else does.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::OnceLock;

use nix::sys::signal::Signal;
use offshoot::{Context, Error, Process, Router};
use offshoot_test_agent::wait_for_file;
use offshoot_tests::dying_controller::DyingController;
use offshoot_tests::process::{Seen, all, descendants, eventually, look_at, signal};
use offshoot_tests::records::Records;
use offshoot_tests::run::LIMIT;
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::tree::{ended, facts, hop};
use offshoot_tests::users::NOPASS;
use offshoot_tests::{Leaks, Run, Sshd};

fn records() -> &'static Records {
    static RECORDS: OnceLock<Records> = OnceLock::new();
    RECORDS.get_or_init(Records::keep)
}

fn router() -> Router {
    let _ = records();
    Router::builder()
        .log_level(3)
        .start()
        .expect("the system has descriptors and threads")
}

#[track_caller]
fn up<T, E: std::fmt::Display>(outcome: Result<T, E>) -> T {
    outcome.unwrap_or_else(|error| panic!("{error}"))
}

/// Starts a detachable script; returns the program and the process ids it prints, its own first.
fn running(context: &Context, script: &str) -> (Process, Vec<u32>) {
    let mut process = up(context
        .command("sh")
        .args(["-c", script])
        .detachable()
        .spawn());
    let mut line = String::new();
    up(BufReader::new(process.stdout.take().expect("not taken yet")).read_line(&mut line));
    (
        process,
        line.split_ascii_whitespace()
            .map(|word| word.parse().expect("a number"))
            .collect(),
    )
}

/// Asserts that detached processes are still running, then kills them.
fn end(pids: &[u32]) {
    for pid in pids {
        assert!(!ended(*pid), "{pid} was detached and is gone: {:#?}", all());
    }
    for pid in pids {
        signal(*pid, Signal::SIGKILL);
    }
    assert!(
        eventually(LIMIT, || pids.iter().all(|pid| look_at(*pid).is_none())),
        "it is not collected"
    );
}

#[test]
fn only_detached_programs_outlive_a_killed_controller() {
    let _leaks = Leaks::begin();
    for depth in ["locals", "ssh"] {
        let controller =
            DyingController::start(env!("CARGO_BIN_EXE_dying-controller"), depth, "detach");
        controller.expect_all_up();
        let kept = controller.detached.clone();
        assert_eq!(kept.len(), 4);
        let children = kept
            .iter()
            .flat_map(|pid| descendants(*pid))
            .map(|seen| seen.pid);
        let with_children: Vec<u32> = children.chain(kept.iter().copied()).collect();
        assert_eq!(with_children.len(), 8);
        controller.kill(depth);
        end(&with_children);
    }
}

#[test]
fn a_detached_program_outlives_its_agent_guard_and_ancestors() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    for victim in 0..5 {
        let router = router();
        let host = up(hop(&router, &server, NOPASS).connect());
        let root = up(host.sudo().connect());
        let program = root.command("sh").args(["-c", "sleep 1000 & wait"]);
        let pid = up(program.detached("the server"));
        assert!(eventually(LIMIT, || descendants(pid).len() == 1));
        let child = descendants(pid)[0].pid;
        let agents = [&host, &root].map(|context| facts(context).process);
        let guards = agents.map(|agent| look_at(agent).expect("it runs").parent);
        let below: Vec<Seen> = descendants(guards[0]);
        assert!(
            below.iter().any(|seen| seen.pid == pid),
            "it is among what a sweep finds"
        );
        match victim {
            0 => up(host.shutdown()),
            1 | 2 => drop(signal(agents[victim - 1], Signal::SIGKILL)),
            _ => drop(signal(guards[victim - 3], Signal::SIGKILL)),
        }
        let last = agents[1];
        assert!(eventually(LIMIT, || ended(last)), "the agent is left");
        drop(router);
        assert!(eventually(LIMIT, || agents
            .iter()
            .chain(&guards)
            .all(|pid| ended(*pid))));
        end(&[pid, child]);
    }
}

#[test]
fn detaching_a_running_program_keeps_its_children_and_is_logged() {
    let _leaks = Leaks::begin();
    let router = router();
    let outer = up(router.local().connect());
    let inner = up(outer.local().connect());
    let script = "sleep 1000 >/dev/null & one=$!; setsid sleep 1000 >/dev/null & echo $$ $one $!; \
                  exec >/dev/null 2>&1; read line; sleep 1000 & wait";
    let mut kept = Vec::new();
    for context in [&*router, &inner] {
        let (process, numbers) = running(context, script);
        let pid = up(process.detach("nightly job"));
        assert_eq!(pid, numbers[0]);
        // Its stdin is at EOF, so the script continues and starts another process.
        assert!(
            eventually(LIMIT, || descendants(pid).len() == 3),
            "{:#?}",
            descendants(pid)
        );
        kept.extend(
            descendants(pid)
                .into_iter()
                .map(|seen| seen.pid)
                .chain([pid]),
        );
        let record = format!("detached: nightly job (process {pid})");
        assert!(
            eventually(LIMIT, || records().with(&record).len() == 1),
            "{:?}",
            records().with("")
        );
        let record = records().with(&record).remove(0);
        assert!(
            record.starts_with("INFO") && record.contains(&format!("context={:?}", context.name())),
            "{record}"
        );
        let (_bound, other) = running(context, "echo $$; exec sleep 1000");
        assert!(!kept.contains(&other[0]));
    }
    drop(router);
    end(&kept);
}

#[test]
fn detaching_a_program_not_started_as_detachable_fails_and_kills_it() {
    let _leaks = Leaks::begin();
    let router = router();
    let context = up(router.local().connect());
    let mut process = up(context
        .command("sh")
        .args(["-c", "echo $$; exec sleep 1000"])
        .spawn());
    let mut line = String::new();
    up(BufReader::new(process.stdout.take().expect("not taken yet")).read_line(&mut line));
    let pid: u32 = line.trim().parse().expect("a number");
    let error = process.detach("no").expect_err("the kernel has tied it");
    assert!(
        error.to_string().contains("not started as detachable"),
        "{error}"
    );
    assert!(eventually(LIMIT, || ended(pid)));
    let error = context
        .command("/no/such/program")
        .detached("none")
        .expect_err("there is none");
    let Error::Spawn {
        context, program, ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(
        (context.as_str(), program.as_str()),
        ("local", "/no/such/program")
    );
}

#[test]
fn a_detached_program_that_exits_is_reaped() {
    let _leaks = Leaks::begin();
    let router = router();
    // Without heartbeats, which would wake the agent.
    let context = up(router.local().heartbeat(0).connect());
    let agent = facts(&context).process;
    let pid = up(context.command("true").detached("short"));
    assert!(
        eventually(LIMIT, || look_at(pid).is_none()),
        "{:#?}",
        descendants(agent)
    );
    let (process, numbers) = running(&context, "echo $$; read line");
    assert_eq!(up(process.detach("short")), numbers[0]);
    assert!(
        eventually(LIMIT, || look_at(numbers[0]).is_none()),
        "{:#?}",
        descendants(agent)
    );
}

#[test]
fn the_tree_of_a_detached_controller_is_not_detached_itself() {
    let _leaks = Leaks::begin();
    let router = router();
    let scratch = ScratchDir::new("controller");
    let told = scratch.path().join("told");
    let program = router.command("sh").args([
        "-c",
        "exec \"$0\" locals wait >\"$1\"",
        env!("CARGO_BIN_EXE_dying-controller"),
        &told.display().to_string(),
    ]);
    let pid = up(program.detached("another controller"));
    // It says when everything is running. A shell that daemonises a program then waits for a
    // process in between, and is replaced: until that is over, `setsid` stands in its arguments.
    let ready = || std::fs::read_to_string(&told).is_ok_and(|line| line.contains(" ready"));
    assert!(eventually(LIMIT, ready), "its programs are not up");
    let mut below: BTreeSet<u32> = BTreeSet::new();
    let grown = eventually(LIMIT, || {
        let living = descendants(pid);
        below = living.iter().map(|seen| seen.pid).collect();
        living
            .iter()
            .all(|seen| !seen.zombie && !seen.arguments.contains("setsid"))
    });
    // The controller, and in each of its four contexts an agent, its guard and at least six
    // programs.
    assert!(grown && below.len() >= 32, "{below:?}");
    drop(router);
    assert!(
        !ended(pid) && below.iter().all(|pid| look_at(*pid).is_some()),
        "it is detached"
    );
    signal(pid, Signal::SIGKILL);
    let gone = eventually(LIMIT, || below.iter().all(|pid| ended(*pid)));
    assert!(
        gone,
        "{:#?}",
        all()
            .into_values()
            .filter(|seen| below.contains(&seen.pid))
            .collect::<Vec<_>>()
    );
}

#[test]
fn run_detach_prints_which_program_was_detached() {
    let _leaks = Leaks::begin();
    let run = Run::offshoot(["run", "--detach", "backup", "local", "--", "sleep", "1000"]);
    let seen = run.finish().expect_code(0);
    let text = seen.out();
    let number = text
        .strip_prefix("local: detached: backup (process ")
        .and_then(|rest| rest.strip_suffix(")\n"));
    let pid: u32 = number
        .unwrap_or_else(|| panic!("{text:?}"))
        .parse()
        .expect("a number");
    let run = Run::offshoot([
        "run",
        "--json",
        "--detach",
        "backup",
        "local/local",
        "--",
        "sleep",
        "1000",
    ]);
    let seen = run.finish().expect_code(0);
    let object: serde_json::Value = serde_json::from_str(&seen.out()).expect("one object");
    let expected = ("local/local", "local.local", "backup");
    let members =
        ["target", "context", "detached"].map(|name| object[name].as_str().unwrap_or_default());
    assert_eq!((members[0], members[1], members[2]), expected);
    let other = object["process"].as_u64().expect("a number") as u32;
    end(&[pid, other]);
    let run = Run::offshoot(["run", "--detach", "none", "local", "--", "/no/such/program"]);
    assert!(
        run.finish()
            .expect_code(127)
            .err()
            .contains("/no/such/program")
    );
}

/// Output printed before the detach has been read; the reader is at EOF.
#[test]
fn the_streams_of_a_detached_program_are_at_eof() {
    let _leaks = Leaks::begin();
    let router = router();
    let context = up(router.local().connect());
    let mut process = up(context
        .command("sh")
        .args(["-c", "trap '' PIPE; echo $$; exec sleep 1000"])
        .detachable()
        .spawn());
    let mut stdout = BufReader::new(process.stdout.take().expect("not taken yet"));
    let mut line = String::new();
    up(stdout.read_line(&mut line));
    let pid = up(process.detach("quiet"));
    assert_eq!(line.trim(), pid.to_string());
    assert_eq!(up(stdout.read_to_string(&mut line)), 0);
    end(&[pid]);
}

/// A detached context with a program that prints more than any buffer holds, and a waiting
/// function.
struct Free {
    agent: u32,
    guard: u32,
    program: u32,
    scratch: ScratchDir,
}

fn detach(context: &Context) -> Free {
    let scratch = ScratchDir::new("free");
    // The program may run as any user.
    up(std::fs::set_permissions(
        scratch.path(),
        std::fs::Permissions::from_mode(0o777),
    ));
    let agent = facts(context).process;
    let guard = look_at(agent).expect("it runs").parent;
    let printed = scratch.path().join("printed");
    let script = format!(
        "echo $$; head -c 2000000 /dev/zero && : >{} && exec sleep 1000",
        printed.display()
    );
    let mut process = up(context.command("sh").args(["-c", &script]).spawn());
    let mut number = String::new();
    let mut stdout = process.stdout.take().expect("not taken yet");
    let mut byte = [0];
    while !number.ends_with('\n') {
        up(stdout.read_exact(&mut byte));
        number.push(char::from(byte[0]));
    }
    let waiting = context.start(wait_for_file {
        path: scratch.path().join("go"),
    });
    assert_eq!(up(context.detach("a job")), agent);
    waiting.wait().expect_err("its context is detached");
    process.wait().expect_err("its context is detached");
    let record = format!("detached: a job (process {agent})");
    assert!(
        eventually(LIMIT, || records().with(&record).len() == 1),
        "{:?}",
        records().with("")
    );
    assert!(
        eventually(LIMIT, || printed.exists()),
        "its program waits for a reader"
    );
    Free {
        agent,
        guard,
        program: number.trim().parse().expect("a number"),
        scratch,
    }
}

/// Connects contexts of three kinds, each with its ancestors.
fn kinds(router: &Router, server: &Sshd) -> [Vec<Context>; 3] {
    let outer = up(router.local().connect());
    let inner = up(outer.local().connect());
    let host = up(hop(router, server, NOPASS).connect());
    let root = up(host.sudo().connect());
    let error = root
        .detach("no")
        .expect_err("sudo would take it along")
        .to_string();
    assert!(error.contains("detach a local child of it"), "{error}");
    let below = up(root.local().connect());
    let other = up(hop(router, server, NOPASS).connect());
    [vec![outer, inner], vec![host, root, below], vec![other]]
}

#[test]
fn a_detached_context_outlives_the_tree_and_ends_when_idle() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let _ = records();
    let router = Router::builder()
        .package("offshoot-test-agent")
        .log_level(3)
        .start();
    let router = router.expect("the system has descriptors and threads");
    let chains = kinds(&router, &server);
    let free = chains
        .each_ref()
        .map(|chain| detach(chain.last().expect("there is one")));
    for above in &chains[..2] {
        assert_eq!(
            facts(&above[0]).process,
            facts(&above[0]).process,
            "the contexts above continue"
        );
        let agent = facts(&above[0]).process;
        signal(agent, Signal::SIGKILL);
        assert!(eventually(LIMIT, || ended(agent)));
    }
    drop(router);
    for free in &free {
        for pid in [free.agent, free.guard, free.program] {
            assert!(!ended(pid), "{pid} was detached and is gone: {:#?}", all());
        }
        signal(free.program, Signal::SIGKILL);
        assert!(eventually(LIMIT, || ended(free.program)));
        assert!(!ended(free.agent), "its function still waits");
        free.scratch.file("go", "", 0o644);
        assert!(
            eventually(LIMIT, || ended(free.agent) && ended(free.guard)),
            "it has nothing left to do"
        );
    }
}

#[test]
fn a_detached_context_that_is_killed_takes_its_programs_along() {
    let _leaks = Leaks::begin();
    let _ = records();
    let router = Router::builder()
        .package("offshoot-test-agent")
        .log_level(3)
        .start();
    let router = router.expect("the system has descriptors and threads");
    for victim in 0..3 {
        let outer = up(router.local().connect());
        let inner = up(outer.local().connect());
        let free = detach(&inner);
        up(outer.shutdown());
        assert!(!ended(free.program) && !ended(free.agent));
        match victim {
            0 => signal(free.agent, Signal::SIGKILL),
            1 => signal(free.guard, Signal::SIGKILL),
            _ => signal(free.guard, Signal::SIGTERM),
        };
        let gone = eventually(LIMIT, || {
            [free.agent, free.guard, free.program]
                .iter()
                .all(|pid| ended(*pid))
        });
        assert!(gone, "{victim}: {:#?}", all());
    }
}
