//! Programs that were killed or cut off: never reported with an exit status, and never shown an end
//! of input that is not the real end.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use offshoot::{Context, Error, Process, Reason};
use offshoot_tests::process::{
    all, descendants, die_with_parent, eventually, look_at, signal, wait_for,
};
use offshoot_tests::run::{LIMIT, offshoot_binary};
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::tree::{ended, facts, hop, router};
use offshoot_tests::users::NOPASS;
use offshoot_tests::{Leaks, Run, Sshd};

/// Programs that exit cleanly on a signal, are killed by it, or ignore it.
const ANSWERS: [&str; 4] = [
    "trap 'exit 0' TERM; echo $$; while :; do sleep 1000 & wait; done",
    "trap 'echo done; exit 7' TERM HUP; echo $$; while :; do sleep 1000 & wait; done",
    "echo $$; exec sleep 1000",
    "trap '' TERM HUP INT; echo $$; while :; do sleep 1000; done",
];

#[track_caller]
fn up<T, E: std::fmt::Display>(outcome: Result<T, E>) -> T {
    outcome.unwrap_or_else(|error| panic!("{error}"))
}

/// Starts a shell script that prints its process id first; returns the program and that id.
#[track_caller]
fn running(context: &Context, script: &str) -> (Process, u32) {
    let mut process = up(context.command("sh").args(["-c", script]).spawn());
    let mut line = String::new();
    let stdout = process.stdout.take().expect("not taken yet");
    up(BufReader::new(stdout).read_line(&mut line));
    (process, up(line.trim().parse()))
}

fn parent(pid: u32) -> u32 {
    look_at(pid).expect("it lives").parent
}

/// Ends a context by `end` and asserts that none of its programs has an exit status.
fn never_a_status(context: &Context, how: &str, end: impl FnOnce(u32)) {
    let programs = ANSWERS.map(|script| running(context, script));
    end(facts(context).process);
    for ((process, pid), script) in programs.into_iter().zip(ANSWERS) {
        match process.wait() {
            Err(Error::Ended {
                context: name,
                reason: Reason::ShutDown | Reason::Lost,
                ..
            }) => {
                assert_eq!(name, context.name(), "{how}: {script}");
            }
            Err(Error::Undelivered { .. }) => {}
            other => panic!("{how}: {script}: {other:?}"),
        }
        assert!(
            eventually(LIMIT, || ended(pid)),
            "{how}: {script}: {pid} lives"
        );
    }
}

#[test]
fn terminating_an_agent_guard_or_relay_yields_no_exit_status() {
    let _leaks = Leaks::begin();
    let router = router();
    for (how, signalled) in [("SIGTERM", Signal::SIGTERM), ("SIGKILL", Signal::SIGKILL)] {
        for of_guard in [false, true] {
            let one = up(router.local().connect());
            never_a_status(&one, &format!("{how}, guard: {of_guard}"), |agent| {
                signal(if of_guard { parent(agent) } else { agent }, signalled);
            });
            let one = up(router.local().connect());
            let two = up(one.local().connect());
            never_a_status(
                &two,
                &format!("{how} of a relay, guard: {of_guard}"),
                |_| {
                    let relay = facts(&one).process;
                    signal(if of_guard { parent(relay) } else { relay }, signalled);
                },
            );
        }
    }
    let one = up(router.local().connect());
    let two = up(one.local().connect());
    never_a_status(&two, "shutdown of the one above", |_| up(one.shutdown()));
    let one = up(router.local().connect());
    never_a_status(&one, "shutdown", |_| up(one.shutdown()));
}

#[test]
fn terminating_ssh_or_sudo_yields_no_exit_status() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    let named = |name: &str| {
        let found = descendants(std::process::id())
            .into_iter()
            .find(|seen| seen.name == name);
        found.unwrap_or_else(|| panic!("no {name}")).pid
    };
    for (how, signalled) in [("SIGTERM", Signal::SIGTERM), ("SIGKILL", Signal::SIGKILL)] {
        let host = up(hop(&router, &server, NOPASS).connect());
        let root = up(host.sudo().connect());
        never_a_status(&root, &format!("{how} of sudo"), |agent| {
            let sudo = parent(parent(agent));
            assert_eq!(look_at(sudo).map(|seen| seen.name).as_deref(), Some("sudo"));
            signal(sudo, signalled);
        });
        never_a_status(&host, &format!("{how} of ssh"), |_| {
            signal(named("ssh"), signalled);
        });
        let host = up(hop(&router, &server, NOPASS).connect());
        never_a_status(&host, &format!("{how} of the server's session"), |agent| {
            signal(parent(parent(agent)), signalled);
        });
    }
}

#[test]
fn a_command_stopped_past_its_heartbeat_exits_255_and_explains_why() {
    let _leaks = Leaks::begin();
    for script in ANSWERS {
        let mut command = Command::new(offshoot_binary());
        command.args([
            "run",
            "--heartbeat",
            "1",
            "-n",
            "local",
            "--",
            "sh",
            "-c",
            script,
        ]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = up(die_with_parent(&mut command).spawn());
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        up(stdout.read_line(&mut line));
        let program: u32 = up(line.trim().parse());
        signal(child.id(), Signal::SIGSTOP);
        assert!(eventually(LIMIT, || ended(program)), "{script}");
        signal(child.id(), Signal::SIGCONT);
        let status = wait_for(&mut child, LIMIT).expect("it ends");
        let said = up(std::io::read_to_string(
            child.stderr.take().expect("it is piped"),
        ));
        assert_eq!(status.code(), Some(255), "{script}: {said}");
        let why = ["silent", "connection lost", "shut down"]
            .iter()
            .any(|why| said.contains(why));
        assert!(why && said.contains("local: "), "{script}: {said}");
    }
}

/// Scripts that create the file `done` at the end of their input.
fn committing(place: &str) -> [String; 4] {
    [
        format!("echo $$; cat > {place}/got.$$ && touch {place}/done"),
        format!("trap 'exit 0' TERM; echo $$; cat > {place}/got.$$; touch {place}/done"),
        format!("trap '' TERM HUP INT; echo $$; cat > {place}/got.$$; touch {place}/done"),
        format!(
            "trap 'cat > {place}/got.$$; touch {place}/done' TERM; echo $$; while :; do sleep 1000 & wait; done"
        ),
    ]
}

/// Creates a directory that every user may write to.
fn open_folder() -> ScratchDir {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = ScratchDir::new("commits");
    up(std::fs::set_permissions(
        scratch.path(),
        std::fs::Permissions::from_mode(0o777),
    ));
    scratch
}

#[test]
fn failed_stdin_kills_the_program_before_it_sees_eof() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let scratch = open_folder();
    let place = scratch.path().display().to_string();
    let router = router();
    let one = up(router.local().connect());
    let two = up(one.local().connect());
    let host = up(hop(&router, &server, NOPASS).connect());
    for context in [&*router, &one, &two, &host] {
        for script in committing(&place) {
            for panics in [false, true] {
                let (mut process, pid) = running(context, &script);
                let mut stdin = process.stdin.take().expect("not taken yet");
                up(stdin.write_all(b"half of it"));
                if panics {
                    let writer = std::thread::spawn(move || {
                        let _stdin = stdin;
                        panic!("as the test wants it");
                    });
                    writer.join().expect_err("it panics");
                } else {
                    stdin.fail("the disk is gone");
                }
                let error = process.wait().expect_err("its input has failed");
                let Error::Ended {
                    context: name,
                    reason: Reason::Cancelled,
                    detail,
                } = &error
                else {
                    panic!("{script}: {error}")
                };
                let why = if panics {
                    "its writer has panicked"
                } else {
                    "the disk is gone"
                };
                assert!(detail.contains(why) && name == context.name(), "{error}");
                assert!(eventually(LIMIT, || ended(pid)), "{script}");
                assert!(
                    !scratch.path().join("done").exists(),
                    "{script}: it took half for the whole"
                );
            }
        }
    }
    // Dropping a writer without a failure is an end of input.
    let mut process = up(two.command("cat").spawn());
    up(process
        .stdin
        .take()
        .expect("not taken yet")
        .write_all(b"whole"));
    assert!(up(process.wait()).success());
}

#[test]
fn a_program_sees_no_eof_on_stdin_when_its_context_is_lost() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let scratch = open_folder();
    let place = scratch.path().display().to_string();
    let router = router();
    for script in committing(&place) {
        let host = up(hop(&router, &server, NOPASS).connect());
        let (mut process, pid) = running(&host, &script);
        up(process
            .stdin
            .as_mut()
            .expect("not taken yet")
            .write_all(b"half of it"));
        let ssh = all()
            .into_values()
            .find(|seen| seen.parent == std::process::id() && seen.name == "ssh");
        signal(ssh.expect("it runs").pid, Signal::SIGKILL);
        process.wait().expect_err("the way there is lost");
        assert!(eventually(LIMIT, || ended(pid)), "{script}");
        assert!(
            !scratch.path().join("done").exists(),
            "{script}: it took half for the whole"
        );
    }
}

#[test]
fn a_program_sees_no_eof_on_stdin_when_its_agent_is_killed() {
    let _leaks = Leaks::begin();
    let scratch = open_folder();
    let place = scratch.path().display().to_string();
    let router = router();
    // The kernel kills programs bound to the agent, the guard kills the others; some are in a
    // session of their own.
    for round in 0..12 {
        let context = up(router.local().connect());
        let script = "import os\n\
             os.write(1, b'%d\\n' % os.getpid())\nos.read(0, 100)\nos.read(0, 100)\nopen('PLACE/done', 'w')\n";
        let script = script.replace("PLACE", &place);
        let mut command = context.command("python3").args(["-c", &script]);
        if round % 3 == 0 {
            command = command.detachable();
        }
        if round % 4 == 0 {
            command = context
                .command("setsid")
                .args(["-w", "python3", "-c", &script])
                .detachable();
        }
        let mut process = up(command.spawn());
        let mut line = String::new();
        up(BufReader::new(process.stdout.take().expect("not taken yet")).read_line(&mut line));
        let pid = up(line.trim().parse());
        up(process
            .stdin
            .as_mut()
            .expect("not taken yet")
            .write_all(b"half of it"));
        signal(facts(&context).process, Signal::SIGKILL);
        process.wait().expect_err("its agent is killed");
        assert!(eventually(LIMIT, || ended(pid)), "round {round}");
        assert!(
            !scratch.path().join("done").exists(),
            "round {round}: it took half for the whole"
        );
    }
    // Inputs still end normally, and independently of other programs.
    let context = up(router.local().connect());
    let one = up(context.command("cat").spawn());
    let other = up(context.command("cat").spawn());
    assert!(up(other.wait()).success());
    assert!(up(one.wait()).success());
}

#[test]
fn unreadable_stdin_kills_the_program_and_exits_255() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let scratch = open_folder();
    let place = scratch.path().display().to_string();
    let config = server.config().display().to_string();
    for target in ["local".to_owned(), format!("{}@web1/sudo", NOPASS.name)] {
        for script in committing(&place) {
            let mut command = Command::new(offshoot_binary());
            command.args(["run", "-F", &config, &target, "--", "sh", "-c", &script]);
            command
                .stdin(up(File::open("/")))
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            // SAFETY: the closure makes one system call that allocates nothing.
            unsafe { command.pre_exec(|| Ok(nix::unistd::setsid().map(drop)?)) };
            let mut child = up(die_with_parent(&mut command).spawn());
            let status = wait_for(&mut child, LIMIT).expect("it ends");
            let said = up(std::io::read_to_string(
                child.stderr.take().expect("it is piped"),
            ));
            assert_eq!(status.code(), Some(255), "{script}: {said}");
            assert!(
                said.contains("reading stdin: Is a directory"),
                "{script}: {said}"
            );
            assert!(
                !scratch.path().join("done").exists(),
                "{script}: it took half for the whole"
            );
        }
    }
}

#[test]
fn wait_drains_output_that_the_caller_did_not_take() {
    let _leaks = Leaks::begin();
    let router = router();
    let context = up(router.local().connect());
    // More than all windows and pipes on the way hold, on either stream and on both in turn.
    let long = "head -c 3000000 /dev/zero";
    for (script, code) in [
        (format!("{long}; exit 3"), 3),
        (format!("{long} >&2; exit 4"), 4),
        (format!("{long}; {long} >&2; {long}; exit 5"), 5),
        ("exec >&- 2>&-; exit 6".to_owned(), 6),
    ] {
        let command = context.command("sh").args(["-c", &script]);
        assert_eq!(up(up(command.spawn()).wait()).code, Some(code), "{script}");
        assert_eq!(up(command.status()).code, Some(code), "{script}");
        // The caller reads stdout on another thread and leaves stderr alone.
        let mut process = up(command.spawn());
        let stdout = process.stdout.take().expect("not taken yet");
        let reading =
            std::thread::spawn(move || std::io::copy(&mut { stdout }, &mut std::io::sink()));
        assert_eq!(up(process.wait()).code, Some(code), "{script}");
        up(reading.join().expect("no panic"));
    }
    let seen = Run::offshoot([
        "run",
        "-n",
        "local",
        "--",
        "sh",
        "-c",
        &format!("{long}; exit 3"),
    ])
    .finish();
    assert_eq!((seen.code, seen.stdout.len()), (3, 3_000_000));
}
