//! Start-up files that print and start-up files that read stdin. Output is skipped; bytes that were
//! read are sent again, once, and the parent remembers the host.

use std::fs;
use std::path::PathBuf;

use offshoot::{ConnectErrorKind, Context, Result, Router};
use offshoot_tests::hop::{Counter, assert_says, facts_of, refused, router, sessions, up};
use offshoot_tests::process::must_run;
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::users::{NOISY, SWALLOW};
use offshoot_tests::{Leaks, Sshd};

/// A shell that runs `startup` before its command, like a start-up file.
struct Noisy {
    scratch: ScratchDir,
    counter: Counter,
}

impl Noisy {
    fn new(startup: &str) -> Self {
        let scratch = ScratchDir::new("noisy");
        scratch.file("startup", startup, 0o644);
        Self {
            scratch,
            counter: Counter::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn words(&self) -> Vec<String> {
        let startup = self.path("startup").display().to_string();
        // `bash -c` reads the file named by BASH_ENV with the stdin and stdout of the command.
        self.counter
            .before(["env", &format!("BASH_ENV={startup}"), "/bin/bash"])
    }

    fn connect(&self, router: &Router) -> Result<Context> {
        router.local().shell_words(self.words()).connect()
    }
}

#[test]
fn output_of_a_startup_file_over_ssh_is_skipped_on_the_first_attempt() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    let config = server.config().display().to_string();
    assert_eq!(
        up(router.ssh("web1").config(config).user(NOISY.name).connect()).user,
        NOISY.name
    );
    assert_eq!(sessions(&server), 1, "printing is no reason to try again");
}

#[test]
fn startup_output_of_every_kind_is_skipped_on_the_first_attempt() {
    let _leaks = Leaks::begin();
    let router = router();
    let noises = [
        ("lines", "echo 'Welcome!'; echo 'quota: 93 %' >&2"),
        (
            "no newline",
            "printf 'no newline here: '; printf 'nor here: ' >&2",
        ),
        (
            "a prompt",
            "printf 'Enter password: '; printf \"[sudo] password for you: \" >&2",
        ),
        (
            "half a marker",
            "printf 'offshoot:'; printf 'offshoot:0123456789abcdef:up'",
        ),
        (
            "a whole marker of somebody else",
            "printf 'offshoot:0123456789abcdef:up\\nOFFS'",
        ),
        (
            "bytes that are not text",
            "printf '\\000\\377\\376\\r\\r\\n\\033[2J'",
        ),
        (
            "a message of the day of 1 MiB",
            "head -c 1048576 /dev/zero | tr '\\0' m",
        ),
        (
            "a message of the day of 1 MiB in lines",
            "yes 'message of the day' | head -c 1048576",
        ),
        (
            "1 MiB on stderr",
            "yes 'message of the day' | head -c 1048576 >&2",
        ),
        ("shell tracing", "set -x"),
        (
            "a platform's name, in passing",
            "echo 'offshoot:platform:vax:'",
        ),
    ];
    for (what, startup) in noises {
        let noisy = Noisy::new(startup);
        let context = noisy
            .connect(&router)
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(facts_of(&context).user, "root", "{what}");
        assert_eq!(noisy.counter.starts(), 1, "attempts with {what}");
        context.shutdown().expect("it is up");
    }
}

#[test]
fn a_startup_file_that_reads_stdin_over_ssh_costs_one_retry_only_once() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    let connect = || {
        let config = server.config().display().to_string();
        router
            .ssh("web1")
            .config(config)
            .user(SWALLOW.name)
            .connect()
    };
    assert_eq!(up(connect()).user, SWALLOW.name);
    assert_eq!(sessions(&server), 2, "in one breath, then waiting");
    assert_eq!(up(connect()).user, SWALLOW.name);
    assert_eq!(sessions(&server), 3, "the second time it waits at once");
}

#[test]
fn bytes_read_by_startup_files_are_sent_again_on_the_second_attempt() {
    let _leaks = Leaks::begin();
    let router = router();
    // None of them may read forever without input: that would be a hang, not a start-up file.
    let listeners = [
        (
            "two lines",
            "read -r -t 1 swallowed; read -r -t 1 swallowed",
        ),
        ("ten bytes", "read -r -t 1 -N 10 swallowed"),
        (
            "4,096 bytes",
            "timeout 1 dd bs=4096 count=1 of=/dev/null 2>/dev/null",
        ),
        ("100,000 bytes", "timeout 1 head -c 100000 >/dev/null"),
        ("everything for a second", "timeout 1 cat >/dev/null"),
    ];
    for (what, startup) in listeners {
        let noisy = Noisy::new(startup);
        let context = noisy
            .connect(&router)
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(
            noisy.counter.starts(),
            2,
            "attempts with a file that reads {what}"
        );
        context.shutdown().expect("it is up");
        let context = noisy
            .connect(&router)
            .unwrap_or_else(|error| panic!("{what}, remembered: {error}"));
        assert_eq!(
            noisy.counter.starts(),
            3,
            "attempts with a file that reads {what}, remembered"
        );
        assert_eq!(facts_of(&context).user, "root", "{what}");
        context.shutdown().expect("it is up");
    }
}

#[test]
fn a_call_sent_with_a_swallowed_image_is_sent_again_with_it() {
    let _leaks = Leaks::begin();
    let router = router();
    let noisy = Noisy::new("timeout 1 cat >/dev/null");
    let connecting = router
        .local()
        .shell_words(noisy.words())
        .start()
        .expect("the order is sent");
    let reply = connecting.context().start(offshoot::stock::echo {
        text: "once".into(),
    });
    assert_eq!(reply.wait().expect("the call is answered"), "once");
    connecting.wait().expect("the call was answered");
    assert_eq!(noisy.counter.starts(), 2);
}

#[test]
fn a_host_that_reads_stdin_is_remembered_separately_from_others() {
    let _leaks = Leaks::begin();
    let router = router();
    let (swallowing, usual) = (
        Noisy::new("timeout 1 head -c 100 >/dev/null"),
        Noisy::new(""),
    );
    up(swallowing.connect(&router));
    let before = router.bytes_sent();
    up(usual.connect(&router));
    assert_eq!(
        (swallowing.counter.starts(), usual.counter.starts()),
        (2, 1)
    );
    assert!(router.bytes_sent() > before, "the image was sent");
}

#[test]
fn output_of_a_startup_file_that_exits_is_quoted_and_not_retried() {
    let _leaks = Leaks::begin();
    let router = router();
    let noisy = Noisy::new("echo 'this account has moved to web2' >&2; exit 3");
    let error = refused(noisy.connect(&router), ConnectErrorKind::Exited);
    assert_says(
        &error,
        &[
            "local (local): ",
            "status 3",
            "\"this account has moved to web2\"",
        ],
    );
    assert_eq!(noisy.counter.starts(), 1, "a refusal is not tried again");
}

#[test]
fn the_last_hundred_lines_of_each_stream_are_kept_for_the_error() {
    let _leaks = Leaks::begin();
    let router = router();
    let noisy = Noisy::new("for i in $(seq 1 250); do echo out $i; echo err $i >&2; done; exit 3");
    let error = refused(noisy.connect(&router), ConnectErrorKind::Exited);
    let expected = |name: &str| {
        (151..=250)
            .map(|i| format!("{name} {i}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(error.output, [expected("out"), expected("err")].concat());
}

#[test]
fn a_startup_file_that_reads_a_line_takes_none_of_the_image() {
    let _leaks = Leaks::begin();
    let router = router();
    for startup in ["read -r swallowed", "read -r -N 1 swallowed"] {
        let noisy = Noisy::new(startup);
        assert_eq!(up(noisy.connect(&router)).user, "root");
        assert_eq!(noisy.counter.starts(), 1, "attempts with {startup}");
    }
}

#[test]
fn another_shell_that_a_startup_file_starts_executes_none_of_the_image() {
    let _leaks = Leaks::begin();
    let router = router();
    let shells = [
        "dash",
        "bash",
        "busybox sh",
        "zsh",
        "mksh",
        "ksh93",
        "tcsh",
        "rc",
    ];
    for shell in shells {
        let folder = ScratchDir::new("other-shell");
        let place = folder.path().display();
        let noisy = Noisy::new(&format!("unset BASH_ENV; cd {place}; exec {shell}"));
        let error = refused(noisy.connect(&router), ConnectErrorKind::Bootstrap);
        assert_says(&error, &["starts another shell", "`[ -t 0 ] &&`"]);
        assert_eq!(noisy.counter.starts(), 1, "{shell}");
        let made = fs::read_dir(folder.path()).expect("ours").count();
        assert_eq!(made, 0, "{shell} has executed bytes of the image");
    }
    // One that reads a whole script before its first command gets no end of it.
    let home = ScratchDir::new("home-of-fish");
    let place = home.path().display();
    let places = format!("HOME={place} XDG_CONFIG_HOME={place} XDG_DATA_HOME={place}");
    let noisy = Noisy::new(&format!("unset BASH_ENV; export {places}; exec fish"));
    let hop = router.local().shell_words(noisy.words());
    let hop = hop.timeout(std::time::Duration::from_secs(2));
    let error = refused(hop.connect(), ConnectErrorKind::TimedOut);
    assert_says(&error, &["see whether a start-up file there reads stdin"]);
}

#[test]
fn what_a_startup_file_leaves_in_its_shell_is_harmless() {
    let _leaks = Leaks::begin();
    let router = router();
    for startup in [
        "set -e",
        "set -euo pipefail; false || true",
        "set -o noclobber -o noglob -o allexport",
        "cd /proc; OLDPWD=/nonexistent; CDPATH=/etc:/",
        "cd() { builtin cd \"$@\" && ls; }",
        "umask 777",
        "trap 'echo interrupted' TERM HUP INT EXIT DEBUG",
        "exec 3>&1 4>&2 9</dev/null",
        "IFS=abcdefghijklmnopqrstuvwxyz/.; PS4='$(echo no)'",
        "d=1 f=2 l=3 m=4 p=5 t=6 u=7 w=8 b=9; readonly d f",
        "shopt -s expand_aliases; alias printf='echo no' mkdir='mkdir -v' rm='rm -i'",
        "printf() { command printf \"$@\"; }; export -f printf",
        "{ for i in 1 2 3 4 5 6 7 8 9; do echo noise; done; } & wait",
        "{ for i in $(seq 1 2000); do echo noise >&2; done; } &",
    ] {
        let noisy = Noisy::new(startup);
        let context = noisy
            .connect(&router)
            .unwrap_or_else(|error| panic!("{startup}: {error}"));
        assert_eq!(facts_of(&context).user, "root", "{startup}");
        assert_eq!(noisy.counter.starts(), 1, "attempts with {startup}");
        context.shutdown().expect("it is up");
    }
}

#[test]
fn garbage_on_the_link_closes_only_that_link_and_is_quoted() {
    let _leaks = Leaks::begin();
    let router = router();
    // A background process that keeps the stdout of the link and writes to it on command.
    let noisy = Noisy::new("");
    let fifo = noisy.path("fifo");
    must_run("mkfifo", &[fifo.to_str().expect("our own path")], b"");
    let startup = format!(
        "{{ read -r go <{}; echo 'cron: disk full, cron: disk full, cron: disk full'; }} </dev/null 2>/dev/null &\n",
        fifo.display()
    );
    fs::write(noisy.path("startup"), startup).expect("it is ours");
    let other = router
        .local()
        .shell("/bin/sh")
        .connect()
        .expect("another one");
    let context = noisy.connect(&router).expect("silent so far");
    // `wait` closes stdin, so `cat` could end before the link does.
    let waiting = context
        .command("sleep")
        .arg("1000")
        .spawn()
        .expect("it runs");
    fs::write(&fifo, "go\n").expect("somebody waits for it");
    let error = waiting.wait().expect_err("its context is lost").to_string();
    assert!(
        error.starts_with("local: connection lost: ") && error.contains("\"cron: disk full"),
        "{error}"
    );
    let later = context
        .call(offshoot::stock::ping {})
        .expect_err("it stays lost")
        .to_string();
    assert!(later.starts_with("local: "), "{later}");
    facts_of(&other);
    up(router.local().connect());
}
