//! Programs in a context: arguments, environment, streams and exit status.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use offshoot::{Command, Context, Error, ExitStatus, Output, Process, Reader, Router};
use offshoot_tests::process::{eventually, look_at};
use offshoot_tests::run::LIMIT;
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::tree::{ended, facts, hop, resident, router};
use offshoot_tests::users::PLAIN;
use offshoot_tests::{Leaks, Sshd};

struct Here {
    context: Context,
    _router: Router,
}

impl Here {
    fn new() -> Self {
        let router = router();
        let context = router
            .local()
            .connect()
            .unwrap_or_else(|error| panic!("{error}"));
        Self {
            context,
            _router: router,
        }
    }

    fn command(&self, program: &str) -> Command {
        self.context.command(program)
    }

    fn shell(&self, script: &str) -> Command {
        self.command("sh").arg("-c").arg(script)
    }
}

#[track_caller]
fn done<T>(outcome: offshoot::Result<T>) -> T {
    outcome.unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn printed(command: Command) -> Vec<u8> {
    let Output {
        status,
        stdout,
        stderr,
        ..
    } = done(command.output());
    assert!(
        status.success() && stderr.is_empty(),
        "{status:?}: {}",
        String::from_utf8_lossy(&stderr)
    );
    stdout
}

/// Reads the number on the first line.
#[track_caller]
fn first_number(output: &mut BufReader<Reader>) -> u32 {
    let mut line = String::new();
    output
        .read_line(&mut line)
        .expect("the program prints a line");
    line.trim()
        .parse()
        .unwrap_or_else(|_| panic!("{line:?} is no number"))
}

fn stdout_of(process: &mut Process) -> BufReader<Reader> {
    BufReader::new(process.stdout.take().expect("not taken yet"))
}

#[test]
fn arguments_are_passed_verbatim() {
    let _leaks = Leaks::begin();
    let here = Here::new();
    let words: [&[u8]; 12] = [
        b"two words",
        b"",
        b"'single' \"double\" `back`",
        b"*",
        b"~root $HOME $(id) %s \\n",
        b"line\nline\r",
        b"\xff\xfe not utf-8 \x80",
        "na\u{ef}ve \u{1f980}".as_bytes(),
        b"-n",
        b"--",
        b";reboot &",
        b"\x01\x1b[0m\x7f",
    ];
    let seen = printed(
        here.command("printf")
            .arg("%s\\0")
            .args(words.map(OsStr::from_bytes)),
    );
    let expected: Vec<u8> = words
        .iter()
        .flat_map(|word| word.iter().chain(b"\0"))
        .copied()
        .collect();
    assert_eq!(
        String::from_utf8_lossy(&seen),
        String::from_utf8_lossy(&expected)
    );
    assert_eq!(seen, expected);
    let long = "x".repeat(100_000);
    assert_eq!(
        printed(here.command("printf").arg("%s").arg(&long)),
        long.as_bytes()
    );
}

#[test]
fn a_program_inherits_the_environment_of_its_agent_unless_cleared() {
    let _leaks = Leaks::begin();
    let here = Here::new();
    let value = OsStr::from_bytes(b"a b=c\n\xff");
    let seen = printed(
        here.command("env")
            .arg("-0")
            .env("MARK", value)
            .env("HOME", "/elsewhere"),
    );
    let entries: Vec<&[u8]> = seen.split(|byte| *byte == 0).collect();
    assert!(
        entries.contains(&&b"MARK=a b=c\n\xff"[..]) && entries.contains(&&b"HOME=/elsewhere"[..])
    );
    assert!(
        !entries.contains(&&b"HOME=/root"[..]),
        "the agent's own is replaced"
    );
    assert!(
        entries.contains(&&b"USER=root"[..]),
        "the agent's environment is kept"
    );
    let seen = printed(here.command("env").arg("-0").env_clear().env("MARK", "x"));
    assert_eq!(String::from_utf8_lossy(&seen), "MARK=x\0");
}

#[test]
fn a_program_starts_in_the_given_directory() {
    let _leaks = Leaks::begin();
    let here = Here::new();
    let scratch = ScratchDir::new("here and there");
    let directory = scratch.path();
    assert_eq!(
        printed(here.command("pwd").current_dir(directory)),
        format!("{}\n", directory.display()).as_bytes()
    );
    let error = done(here.command("pwd").current_dir("/nowhere").spawn())
        .wait()
        .expect_err("no such directory");
    let Error::Spawn { errno, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(*errno, libc::ENOENT, "{error}");
    let named = "local: pwd: it cannot start in the folder /nowhere: No such file or directory";
    assert_eq!(error.to_string(), named);
    let file = scratch.file("file", "", 0o644);
    let error = here
        .command("ls")
        .current_dir(&file)
        .output()
        .expect_err("it is no directory");
    assert!(
        error
            .to_string()
            .contains(&format!("in the folder {}: Not a", file.display())),
        "{error}"
    );
    // The same for programs of the root, and for detached programs.
    let error = here
        ._router
        .command("ls")
        .current_dir("/nowhere/../x")
        .output()
        .expect_err("none");
    assert!(
        error
            .to_string()
            .contains("the folder /nowhere/../x: No such file"),
        "{error}"
    );
    let error = here
        .command("ls")
        .current_dir("/nowhere")
        .detached("x")
        .expect_err("none");
    assert!(
        error
            .to_string()
            .contains("the folder /nowhere: No such file"),
        "{error}"
    );
}

#[test]
fn an_inaccessible_directory_is_distinguished_from_a_non_executable_file() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    let context = done(hop(&router, &server, PLAIN).connect());
    let scratch = ScratchDir::new("closed");
    let closed = scratch.file("tool", "#!/bin/sh\n", 0o750);
    let locked = scratch.path().join("locked");
    std::fs::create_dir(&locked).expect("our own folder");
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o700))
        .expect("our own folder");
    let error = context
        .command(locked.join("tool"))
        .output()
        .expect_err("it may not be entered");
    assert!(
        error
            .to_string()
            .contains("may not enter a folder on the way"),
        "{error}"
    );
    let error = context
        .command(&closed)
        .output()
        .expect_err("it is root's alone");
    assert!(
        error.to_string().contains("this user may not execute it"),
        "{error}"
    );
    // An inaccessible directory in PATH does not turn a missing program into a forbidden one.
    let error = context
        .command("no-such")
        .env("PATH", format!("{}:/usr/bin", locked.display()))
        .output()
        .expect_err("it is nowhere");
    let Error::Spawn { errno, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(*errno, libc::ENOENT, "{error}");
}

#[test]
fn a_nul_byte_in_any_setting_of_a_command_is_rejected_before_sending() {
    let _leaks = Leaks::begin();
    let here = Here::new();
    let cases = [
        (here.command("echo\0x"), "echo\\0x: its name has a NUL byte"),
        (here.command("\0"), "its name"),
        (
            here.command("printf").args(["%s|", "/srv/data\0.old", "b"]),
            "its argument 2 has a NUL byte",
        ),
        (here.command("printf").arg("\0"), "its argument 1"),
        (
            here.command("true").env("A", "1\0"),
            "the value of the variable A has a NUL byte",
        ),
        (
            here.command("true").env("B\0", "1"),
            "the name of the variable \"B\\0\" has a NUL byte",
        ),
        (
            here.command("true").env("A=1", "x"),
            "the name of the variable \"A=1\" has a '='",
        ),
        (here.command("true").env("=", "x"), "has a '='"),
        (here.command("true").env("", "x"), "no name"),
        (
            here.command("true").current_dir("/tmp\0/x"),
            "its directory has a NUL byte",
        ),
    ];
    for (command, expected) in cases {
        let spawned = command
            .spawn()
            .expect_err("it is refused when it is to be sent");
        for error in [
            spawned,
            command.output().unwrap_err(),
            command.detached("x").unwrap_err(),
        ] {
            let Error::Spawn { context, errno, .. } = &error else {
                panic!("{error}")
            };
            assert_eq!(
                (context.as_str(), *errno),
                ("local", libc::EINVAL),
                "{error}"
            );
            let text = error.to_string();
            assert!(
                text.contains(expected) && !text.contains('\0'),
                "{expected}: {text:?}"
            );
        }
    }
    let error = here
        .command("true")
        .detached("na\0me")
        .expect_err("a name is refused as well");
    assert!(
        error.to_string().contains("detached name has a NUL byte"),
        "{error}"
    );
    let process = done(here.command("sleep").arg("1000").detachable().spawn());
    let error = process
        .detach("na\0me")
        .expect_err("a name is refused as well");
    assert!(error.to_string().contains("has a NUL byte"), "{error}");
    assert!(
        here.context
            .detach("\0")
            .expect_err("as above")
            .to_string()
            .contains("has a NUL byte")
    );
    assert_eq!(printed(here.command("echo").arg("still")), b"still\n");
}

#[test]
fn a_nul_byte_in_any_setting_of_a_hop_is_rejected() {
    let _leaks = Leaks::begin();
    let here = Here::new();
    let place = &here.context;
    let outcomes = [
        (
            place.local().shell("/bin/sh\0").start().err(),
            "a word of its command",
        ),
        (
            place
                .local()
                .shell_words(vec!["env".into(), "A=\0".into(), "sh".into()])
                .start()
                .err(),
            "\"A=\\0\"",
        ),
        (place.ssh("ho\0st").start().err(), "a word of its command"),
        (
            place.ssh("host").user("de\0ploy").start().err(),
            "\"de\\0ploy\"",
        ),
        (
            place.ssh("host").option("Port\0 1").start().err(),
            "a word of its command",
        ),
        (
            place.ssh("host").identity("/key\0").start().err(),
            "a word of its command",
        ),
        (
            place.ssh("host").config("\0").start().err(),
            "a word of its command",
        ),
        (
            place.ssh("host").program("ssh\0").start().err(),
            "a word of its command",
        ),
        (
            place.sudo().program("su\0do").start().err(),
            "a word of its command",
        ),
        (
            place.sudo().role("r\0").start().err(),
            "a word of its command",
        ),
        (
            place.sudo().password("hu\0sh").start().err(),
            "its password",
        ),
        (place.local().name("na\0me").start().err(), "its name"),
        (
            place.local().remote_name("ti\0tle").start().err(),
            "its title",
        ),
        (
            here._router.local().name("na\0me").start().err(),
            "its name",
        ),
    ];
    for (error, expected) in outcomes {
        let error = error.expect("it is refused before anything is sent");
        let kind = error.as_connect().map(|error| error.kind);
        assert_eq!(kind, Some(offshoot::ConnectErrorKind::Start), "{error}");
        let text = error.to_string();
        assert!(
            text.contains(expected) && text.contains("has a NUL byte; "),
            "{expected}: {text}"
        );
        assert!(!text.contains('\0') && !text.contains("hu\\0"), "{text:?}");
    }
    assert_eq!(printed(here.command("echo").arg("still")), b"still\n");
}

#[test]
fn exit_codes_and_signals_are_reported_exactly() {
    let _leaks = Leaks::begin();
    let here = Here::new();
    for code in [0, 1, 7, 255] {
        let status = done(done(here.shell(&format!("exit {code}")).spawn()).wait());
        assert_eq!(status, ExitStatus::new(Some(code), None));
        assert_eq!(status.success(), code == 0);
    }
    for signal in [libc::SIGTERM, libc::SIGKILL, libc::SIGSEGV] {
        let status = done(done(here.shell(&format!("kill -{signal} $$")).spawn()).wait());
        assert_eq!(status, ExitStatus::new(None, Some(signal)));
        assert_eq!(status.shell_code(), 128 + signal);
    }
}

#[test]
fn a_program_that_cannot_start_reports_errno_and_an_explanation() {
    let _leaks = Leaks::begin();
    let here = Here::new();
    let scratch = ScratchDir::new("programs");
    let plain = scratch.file("plain", "#!/bin/sh\n", 0o644);
    let empty = scratch.file("nothing", "\x7fELF nothing", 0o755);
    let lost = scratch.file("lost", "#!/no/such/interpreter\n", 0o755);
    let text = |path: &std::path::Path| path.to_str().expect("our own path").to_owned();
    let windows = scratch.file("windows", "#!/bin/sh\r\necho hi\r\n", 0o755);
    let bare = scratch.file("bare", "echo hi\n", 0o755);
    let foreign = [
        b"\x7fELF\x02\x01\x01".as_slice(),
        &[0; 9],
        &[2, 0, 22, 0],
        &[0; 44],
    ]
    .concat();
    let foreign = scratch.file("foreign", foreign, 0o755);
    // A file on a noexec file system.
    let noexec = std::path::PathBuf::from("/proc/version");
    for (program, expected, words) in [
        (
            "no-such-program".to_owned(),
            libc::ENOENT,
            "not found in PATH",
        ),
        ("/no/such/program".to_owned(), libc::ENOENT, "No such file"),
        (text(&plain), libc::EACCES, "it is not executable (chmod +x"),
        (text(scratch.path()), libc::EACCES, "it is a folder"),
        (
            text(&empty),
            libc::ENOEXEC,
            "a program for another kind of machine",
        ),
        (text(&foreign), libc::ENOEXEC, "a program for s390x"),
        (text(&bare), libc::ENOEXEC, "#!/bin/sh"),
        (
            text(&lost),
            libc::ENOENT,
            "its interpreter /no/such/interpreter does not exist",
        ),
        (text(&windows), libc::ENOENT, "carriage return"),
        (
            format!("{}/x", text(&plain)),
            libc::ENOTDIR,
            "of its path is not a folder",
        ),
        (text(&noexec), libc::EACCES, "noexec"),
        ("cd".to_owned(), libc::ENOENT, "cd is a shell builtin"),
        ("FOO=1".to_owned(), libc::ENOENT, "env FOO=1 ..."),
        (
            "ls -l /".to_owned(),
            libc::ENOENT,
            "no shell splits it into words",
        ),
    ] {
        let mut process = done(here.command(&program).spawn());
        let mut stdout = Vec::new();
        let read = process
            .stdout
            .take()
            .expect("not taken yet")
            .read_to_end(&mut stdout);
        assert!(read.is_err() || stdout.is_empty(), "nothing ran");
        let error = process.wait().expect_err("it cannot be started");
        let Error::Spawn {
            context,
            program: named,
            errno,
            ..
        } = &error
        else {
            panic!("{error}")
        };
        assert_eq!(
            (context.as_str(), named, *errno),
            ("local", &program, expected),
            "{error}"
        );
        assert!(
            error
                .to_string()
                .starts_with(&format!("local: {program}: ")),
            "{error}"
        );
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(
            here.command(&program).output().expect_err("as above"),
            error
        );
    }
}

/// Returns pseudo-random bytes, so that lost or duplicated bytes are detected.
fn piece(number: u64) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(64 << 10);
    while bytes.len() < 64 << 10 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

#[test]
fn fifty_mebibytes_pass_both_ways_unchanged() {
    const PIECES: u64 = 800;
    let _leaks = Leaks::begin();
    let here = Here::new();
    let mut process = done(here.command("cat").spawn());
    let (mut stdin, mut stdout) = (
        process.stdin.take().expect("there"),
        process.stdout.take().expect("there"),
    );
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..PIECES {
                stdin.write_all(&piece(number)).expect("cat reads all");
            }
        });
        for number in 0..PIECES {
            let mut seen = vec![0; 64 << 10];
            stdout.read_exact(&mut seen).expect("cat writes all");
            assert!(seen == piece(number), "piece {number} has changed");
        }
        assert_eq!(stdout.read(&mut [0]).expect("the end is said"), 0);
    });
    assert!(done(process.wait()).success());
}

#[test]
fn stdout_and_stderr_stay_separate_and_complete() {
    let _leaks = Leaks::begin();
    let here = Here::new();
    let script =
        "i=0; while [ $i -lt 2000 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done; exit 3";
    let output = done(here.shell(script).output());
    let lines = |name: &str| {
        (0..2000)
            .map(|number| format!("{name} {number}\n"))
            .collect::<String>()
    };
    assert_eq!(output.status.code, Some(3));
    assert!(output.stdout == lines("out").as_bytes() && output.stderr == lines("err").as_bytes());
}

#[test]
fn lines_are_exchanged_without_buffering_delay() {
    let _leaks = Leaks::begin();
    let here = Here::new();
    let mut process = done(here.command("cat").spawn());
    let (mut stdin, mut stdout) = (
        process.stdin.take().expect("there"),
        stdout_of(&mut process),
    );
    for number in 0..100 {
        writeln!(stdin, "{number}").expect("cat reads");
        assert_eq!(first_number(&mut stdout), number);
    }
    assert_eq!(
        process.wait_timeout(Duration::ZERO).expect("it is up"),
        None
    );
    drop(stdin);
    assert!(done(process.wait()).success());
}

#[test]
fn closing_stdin_gives_the_writer_a_broken_pipe_and_keeps_the_exit_status() {
    let _leaks = Leaks::begin();
    let here = Here::new();
    // One exits after reading a little; the other closes its stdin and runs until it is signalled,
    // for which it is prepared before it does anything that the test can see.
    for script in [
        "head -c 10 >/dev/null; exit 4",
        "trap 'exit 4' TERM; exec <&-; while :; do sleep 0.01; done",
    ] {
        let mut process = done(here.shell(&format!("echo $$; {script}")).spawn());
        let pid = first_number(&mut stdout_of(&mut process));
        let mut stdin = process.stdin.take().expect("there");
        let mut written = 0_u64;
        let error = loop {
            match stdin.write(&[b'x'; 4096]) {
                Ok(count) => written += count as u64,
                Err(error) => break error,
            }
            assert!(written < 1 << 30, "the writer is never told");
        };
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        here.command("kill")
            .arg(pid.to_string())
            .output()
            .expect("it has ended or ends now");
        assert_eq!(done(process.wait()).code, Some(4), "{script}");
    }
}

/// Returns true if the agent or this process grows by more than `limit` bytes within a second.
fn held_more_than(limit: u64, here: &Here, passed: &AtomicU64) -> bool {
    let agent = facts(&here.context).process;
    let before = (resident(agent), resident(std::process::id()));
    eventually(Duration::from_secs(1), || {
        resident(agent) > before.0 + limit
            || resident(std::process::id()) > before.1 + limit
            || passed.load(Ordering::Relaxed) > limit
    })
}

#[test]
fn a_program_that_does_not_read_blocks_its_writer() {
    let _leaks = Leaks::begin();
    let here = Here::new();
    let mut process = done(here.command("sleep").arg("1000").spawn());
    let mut stdin = process.stdin.take().expect("there");
    let written = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for _ in 0..3200 {
                stdin.write_all(&[b'x'; 64 << 10])?;
                written.fetch_add(64 << 10, Ordering::Relaxed);
            }
            Ok::<(), std::io::Error>(())
        });
        assert!(
            !held_more_than(8 << 20, &here, &written),
            "{written:?} bytes were taken"
        );
        drop(process);
        let error = writer
            .join()
            .expect("it does not panic")
            .expect_err("the program is gone");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn unread_output_blocks_the_program() {
    let _leaks = Leaks::begin();
    let here = Here::new();
    let mut process = done(here.command("cat").arg("/dev/zero").spawn());
    assert!(
        !held_more_than(8 << 20, &here, &AtomicU64::new(0)),
        "unread output is kept in memory"
    );
    // Other programs are unaffected, and the output continues once it is read.
    assert_eq!(printed(here.command("echo").arg("still")), b"still\n");
    let mut some = vec![1; 32 << 20];
    process
        .stdout
        .take()
        .expect("there")
        .read_exact(&mut some)
        .expect("cat goes on");
    assert!(some.iter().all(|byte| *byte == 0));
}

#[test]
fn a_background_child_that_holds_the_streams_open_delays_nobody() {
    let _leaks = Leaks::begin();
    let here = Here::new();
    let output = done(
        here.shell("sleep 1000 & echo done; echo too >&2; exit 6")
            .output(),
    );
    assert_eq!(
        (output.status.code, &output.stdout[..], &output.stderr[..]),
        (Some(6), &b"done\n"[..], &b"too\n"[..])
    );
}

#[test]
fn dropping_a_process_kills_the_program_even_if_it_ignores_signals() {
    let _leaks = Leaks::begin();
    let here = Here::new();
    for script in [
        "echo $$; exec sleep 1000",
        "trap '' TERM HUP INT; echo $$; while :; do sleep 1000; done",
        "sleep 1000 & echo $!; wait",
        "echo $$; kill -STOP $$; exec sleep 1000",
    ] {
        let mut process = done(here.shell(script).spawn());
        let pid = first_number(&mut stdout_of(&mut process));
        assert!(!ended(pid), "{script}");
        drop(process);
        assert!(eventually(LIMIT, || ended(pid)), "{script}: {pid} lives on");
    }
}

#[test]
fn the_pid_of_an_exited_program_is_not_reused_while_it_can_be_signalled() {
    let _leaks = Leaks::begin();
    let here = Here::new();
    // Unread output makes the agent keep the program after its exit.
    let mut process = done(
        here.shell("echo $$; head -c 300000 /dev/zero; exit 4")
            .spawn(),
    );
    let mut stdout = stdout_of(&mut process);
    let number = first_number(&mut stdout);
    assert_eq!(
        done(process.wait_timeout(LIMIT)).map(|status| status.code),
        Some(Some(4))
    );
    let mut strangers = Vec::new();
    for _ in 0..20 {
        std::fs::write("/proc/sys/kernel/ns_last_pid", (number - 1).to_string())
            .expect("the sandbox's own");
        let stranger = std::process::Command::new("setsid")
            .args(["sleep", "1000"])
            .spawn()
            .expect("there is");
        assert_ne!(
            stranger.id(),
            number,
            "the number of a program was given to somebody else"
        );
        strangers.push(stranger);
    }
    drop((process, stdout));
    assert!(
        eventually(LIMIT, || look_at(number).is_none()),
        "it is not collected"
    );
    for mut stranger in strangers {
        assert_eq!(
            stranger.try_wait().expect("it is ours"),
            None,
            "a stranger was ended"
        );
        stranger.kill().expect("it is ours");
        stranger.wait().expect("it is ours");
    }
}

#[test]
fn two_hundred_programs_run_at_once() {
    let _leaks = Leaks::begin();
    let here = Here::new();
    let script = "read line; echo got $line";
    let mut running: Vec<Process> = (0..200).map(|_| done(here.shell(script).spawn())).collect();
    for (number, process) in running.iter_mut().enumerate() {
        writeln!(process.stdin.as_mut().expect("there"), "{number}").expect("it reads");
    }
    for (number, mut process) in running.into_iter().enumerate() {
        let mut text = String::new();
        process
            .stdout
            .take()
            .expect("there")
            .read_to_string(&mut text)
            .expect("it ends");
        assert_eq!(text, format!("got {number}\n"));
        assert!(done(process.wait()).success());
    }
}
