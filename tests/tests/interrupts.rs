//! Signals to the command line. The first is passed on to the programs, the second ends everything.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use offshoot::Context;
use offshoot_tests::process::{all, die_with_parent, eventually, signal, wait_for};
use offshoot_tests::run::{LIMIT, offshoot_binary};
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::tree::{ended, router};
use offshoot_tests::users::NOPASS;
use offshoot_tests::{Leaks, Sshd};

const SIGNALS: [(Signal, &str); 3] = [
    (Signal::SIGINT, "INT"),
    (Signal::SIGTERM, "TERM"),
    (Signal::SIGHUP, "HUP"),
];

#[track_caller]
fn up<T, E: std::fmt::Display>(outcome: Result<T, E>) -> T {
    outcome.unwrap_or_else(|error| panic!("{error}"))
}

/// A running `offshoot run`.
struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    fn start(words: &[&str]) -> Self {
        let mut command = Command::new(offshoot_binary());
        command
            .arg("run")
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = up(die_with_parent(&mut command).spawn());
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, stdout }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        up(self.stdout.read_line(&mut line));
        line.trim().to_owned()
    }

    fn signal(&self, signalled: Signal) {
        assert!(signal(self.child.id(), signalled));
    }

    /// Waits for the end; returns the exit status and the rest of both outputs.
    #[track_caller]
    fn end(mut self) -> (Option<i32>, String, String) {
        let (mut printed, mut said) = (String::new(), String::new());
        up(self.stdout.read_to_string(&mut printed));
        up(self
            .child
            .stderr
            .take()
            .expect("it is piped")
            .read_to_string(&mut said));
        let status = wait_for(&mut self.child, LIMIT).expect("it ends");
        (status.code(), printed, said)
    }
}

#[test]
fn after_the_first_signal_a_program_may_finish_with_its_own_exit_status() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let config = server.config().display().to_string();
    let user = format!("{}@web1/sudo", NOPASS.name);
    for target in ["local", "local/local", &user] {
        for (signalled, name) in SIGNALS {
            // Twice the time that a full shutdown allows.
            let script = format!(
                "trap 'sleep 0.9; echo {name} done; echo said >&2; exit 7' {name}; echo up; while :; do sleep 1000 & wait; done"
            );
            let mut running =
                Running::start(&["-n", "-F", &config, target, "--", "sh", "-c", &script]);
            assert_eq!(running.line(), "up");
            running.signal(signalled);
            let (code, printed, said) = running.end();
            let seen = (code, printed.trim(), said.trim());
            assert_eq!(
                seen,
                (Some(7), format!("{name} done").as_str(), "said"),
                "{target}"
            );
        }
    }
    // A program that does not handle the signal has its status.
    for (signalled, _) in SIGNALS {
        let mut running =
            Running::start(&["-n", "local", "--", "sh", "-c", "echo up; exec sleep 1000"]);
        running.line();
        running.signal(signalled);
        assert_eq!(running.end().0, Some(128 + signalled as i32));
    }
}

#[test]
fn a_second_signal_or_the_end_of_the_grace_period_ends_everything() {
    let _leaks = Leaks::begin();
    let script = "trap 'echo heard' INT TERM HUP; trap '' QUIT; echo $$; while :; do sleep 1000 & wait; done";
    for (first, _) in SIGNALS {
        for (second, _) in SIGNALS {
            let mut running = Running::start(&["-n", "local", "--", "sh", "-c", script]);
            let program = up(running.line().parse());
            running.signal(first);
            assert_eq!(running.line(), "heard");
            assert!(!ended(program));
            running.signal(second);
            assert_eq!(
                running.end().0,
                Some(128 + second as i32),
                "{first} {second}"
            );
            assert!(eventually(LIMIT, || ended(program)));
        }
    }
    for grace in ["0", "1"] {
        let mut running =
            Running::start(&["--grace", grace, "-n", "local", "--", "sh", "-c", script]);
        let program = up(running.line().parse());
        running.signal(Signal::SIGINT);
        let (code, _, said) = running.end();
        assert_eq!(code, Some(130), "{said}");
        assert!(
            said.contains(&format!("still running {grace} s after signal 2")),
            "{said}"
        );
        assert!(eventually(LIMIT, || ended(program)));
    }
}

#[test]
fn with_several_targets_each_program_handles_the_signal_itself() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let config = server.config().display().to_string();
    let user = format!("{}@web1", NOPASS.name);
    let script =
        "trap 'sleep 0.5; echo done; exit 7' INT; echo up; while :; do sleep 1000 & wait; done";
    let mut running = Running::start(&[
        "-F", &config, "local", &user, "-n", "--", "sh", "-c", script,
    ]);
    assert!(running.line().ends_with(": up") && running.line().ends_with(": up"));
    running.signal(Signal::SIGINT);
    let (code, printed, _) = running.end();
    let mut lines: Vec<&str> = printed.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        (code, lines),
        (Some(7), vec!["local: done", &format!("{user}: done")])
    );
    // A target that is still connecting is not waited for.
    let silent = up(std::net::TcpListener::bind("127.0.0.1:0"));
    let port = up(silent.local_addr()).port();
    let hung = format!("ssh:127.0.0.1:{port},config=[/dev/null]");
    let mut running = Running::start(&["local", &hung, "-n", "--", "sh", "-c", script]);
    assert_eq!(running.line(), "local: up");
    running.signal(Signal::SIGINT);
    let (code, printed, said) = running.end();
    assert_eq!((code, printed.trim()), (Some(130), "local: done"), "{said}");
}

#[test]
fn the_first_signal_ends_a_command_that_is_still_connecting() {
    let _leaks = Leaks::begin();
    let silent = up(std::net::TcpListener::bind("127.0.0.1:0"));
    let port = up(silent.local_addr()).port();
    let hung = format!("ssh:127.0.0.1:{port},config=[/dev/null]");
    for (signalled, _) in SIGNALS {
        let running = Running::start(&[&hung, "-n", "--", "true"]);
        let id = running.child.id();
        let connecting = || {
            all()
                .into_values()
                .any(|seen| seen.parent == id && seen.name == "ssh")
        };
        assert!(eventually(LIMIT, connecting));
        running.signal(signalled);
        assert_eq!(running.end().0, Some(128 + signalled as i32));
    }
}

#[test]
fn a_program_that_ends_after_a_signal_takes_its_daemons_along() {
    let _leaks = Leaks::begin();
    let script = "setsid sleep 1000 </dev/null >/dev/null 2>&1 & daemon=$!; trap 'exit 0' INT; \
         while [ \"$(ps -o sid= -p $daemon | tr -d ' ')\" != $daemon ]; do :; done; \
         echo $daemon; while :; do sleep 1000 & wait $!; done";
    let mut running = Running::start(&["-n", "local", "--", "sh", "-c", script]);
    let daemon = up(running.line().parse());
    running.signal(Signal::SIGINT);
    let (code, _, said) = running.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(eventually(LIMIT, || ended(daemon)), "the daemon stays");
    // The same through the library, where a signal that ends nothing changes nothing.
    let router = router();
    let context = up(router.local().connect());
    for (number, stays) in [(libc::SIGINT, false), (libc::SIGUSR1, true)] {
        let script = script.replace("INT", "INT USR1");
        let mut process = up(context.command("sh").args(["-c", &script]).spawn());
        let mut line = String::new();
        up(BufReader::new(process.stdout.take().expect("not taken yet")).read_line(&mut line));
        let daemon: u32 = up(line.trim().parse());
        up(process.signaller().signal(number));
        assert_eq!(up(process.wait()).code, Some(0));
        assert_eq!(!ended(daemon), stays);
        signal(daemon, Signal::SIGKILL);
        assert!(eventually(LIMIT, || ended(daemon)));
    }
}

#[test]
fn a_cancelled_program_gets_its_own_grace_period() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("grace");
    let router = router();
    let context = up(router.local().connect());
    // More than the default grace period.
    let script = |done: &str| {
        let done = scratch.path().join(done).display().to_string();
        format!(
            "exec 2>/dev/null; trap 'sleep 1; touch {done}; exit 0' TERM; echo up; while :; do sleep 1000 & wait; done"
        )
    };
    let begin = |context: &Context, script: &str, grace: Option<Duration>| {
        let mut command = context.command("sh").args(["-c", script]);
        if let Some(grace) = grace {
            command = command.grace(grace);
        }
        let mut process = up(command.spawn());
        let mut line = String::new();
        up(BufReader::new(process.stdout.take().expect("not taken yet")).read_line(&mut line));
        process
    };
    let is_done = |done: &str| scratch.path().join(done).exists();
    drop(begin(&context, &script("dropped"), Some(LIMIT)));
    assert!(eventually(LIMIT, || is_done("dropped")));
    let late = begin(
        &context.within(Duration::from_secs(2)),
        &script("late"),
        Some(LIMIT),
    );
    late.wait().expect_err("its time is over");
    assert!(eventually(LIMIT, || is_done("late")));
    let short = begin(&context, &script("short"), None);
    drop(short);
    // This program is cancelled after the other and still gets its whole grace period.
    drop(begin(&context, &script("after"), Some(LIMIT)));
    assert!(eventually(LIMIT, || is_done("after")));
    assert!(!is_done("short"), "400 ms are no second");
}

#[test]
fn a_target_that_connects_after_the_signal_does_not_start_its_program() {
    let _leaks = Leaks::begin();
    for json in [false, true] {
        let scratch = ScratchDir::new("late");
        let at = |name: &str| scratch.path().join(name).display().to_string();
        let (gate, done, shell) = (at("gate"), at("done"), at("shell"));
        let wait = |file: &str| format!("while [ ! -e {file} ]; do sleep 0.05; done");
        up(std::fs::write(
            &shell,
            format!("#!/bin/sh\n{}\nexec /bin/sh \"$@\"\n", wait(&gate)),
        ));
        up(std::fs::set_permissions(
            &shell,
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        ));
        let script = format!(
            "trap '{}; exit 0' TERM; echo up; while :; do sleep 1000 & wait; done",
            wait(&done)
        );
        let late = format!("local,shell=[{shell}]");
        let mut words = vec!["-n", "local", &late, "--", "sh", "-c", &script];
        if json {
            words.insert(0, "--json");
        }
        let mut running = Running::start(&words);
        assert!(running.line().contains("up"));
        running.signal(Signal::SIGTERM);
        up(std::fs::write(&gate, ""));
        let said = "cancelled by signal 15 before the program was started";
        let seen = if json {
            running.line()
        } else {
            let mut line = String::new();
            let stderr = running.child.stderr.as_mut().expect("it is piped");
            up(BufReader::with_capacity(1, stderr).read_line(&mut line));
            line
        };
        assert!(seen.contains(said) && seen.contains(&late), "{seen}");
        up(std::fs::write(&done, ""));
        let (code, _, _) = running.end();
        assert_eq!(code, Some(143));
    }
}
