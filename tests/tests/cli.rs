//! The command line against real hosts: arguments, output and exit status.

use std::process::Command;

use offshoot_tests::process::{descendants, eventually};
use offshoot_tests::pty::Terminal;
use offshoot_tests::run::{LIMIT, offshoot_binary};
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::sshd::config_for;
use offshoot_tests::users::{NOPASS, PASSWORD, PLAIN, PW};
use offshoot_tests::{Finished, Leaks, Run, Sshd};

/// Prepares a run of `offshoot` with the ssh configuration of a server.
fn offshoot(server: &Sshd, words: &[&str]) -> Run {
    let config = server.config();
    let (verb, rest) = words.split_first().expect("a test gives a verb");
    Run::offshoot([
        *verb,
        "-F",
        config.to_str().expect("fixtures' paths are plain"),
    ])
    .args(rest)
}

fn json(finished: &Finished) -> Vec<serde_json::Value> {
    finished
        .out()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect()
}

/// Writes a file with the password of the fixtures' users.
fn password_file(scratch: &ScratchDir) -> String {
    scratch
        .file("password", format!("{PASSWORD}\n"), 0o600)
        .display()
        .to_string()
}

#[test]
fn run_id_prints_0_through_ssh_and_passwordless_sudo() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let key = offshoot_tests::users::client_key();
    // User, host and port are given in the target; no ssh configuration is used.
    let target = format!("ssh:{}@{}/sudo", NOPASS.name, server.address());
    let options = [format!(
        "UserKnownHostsFile={}",
        server.known_hosts().display()
    )];
    let run = Run::offshoot([
        "run",
        "-i",
        key.to_str().expect("it is plain"),
        "-o",
        &options[0],
        &target,
        "--",
        "id",
        "-u",
    ]);
    assert_eq!(run.finish().expect_code(0).out(), "0\n");
}

#[test]
fn run_id_prints_0_through_ssh_and_sudo_with_a_password_file() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let scratch = ScratchDir::new("passwords");
    let target = format!(
        "{}@web1/sudo,password-file=[{}]",
        PW.name,
        password_file(&scratch)
    );
    let seen = offshoot(&server, &["run", "-n", &target, "--", "id", "-u"])
        .finish()
        .expect_code(0);
    assert_eq!(seen.out(), "0\n");
    let other = format!(
        "{}@web1/sudo:{},password-file=[{}]",
        PW.name,
        NOPASS.name,
        password_file(&scratch)
    );
    let seen = offshoot(&server, &["run", "-n", &other, "--", "id", "-un"])
        .finish()
        .expect_code(0);
    assert_eq!(seen.out().trim(), NOPASS.name);
}

#[test]
fn a_password_is_prompted_for_and_prompted_again_if_wrong() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let mut command = Command::new(offshoot_binary());
    let target = format!("{}@web1/sudo", PW.name);
    command
        .args(["run", "-n", "-F"])
        .arg(server.config())
        .args([&target, "--", "id", "-u"]);
    let mut terminal = Terminal::start(command, false);
    terminal.expect("password for sudo of pw:");
    terminal.type_line("not this one");
    terminal.expect("password for sudo of pw:");
    terminal.type_line(PASSWORD);
    let (code, text) = terminal.finish();
    assert_eq!(code, 0, "{text}");
    assert!(
        text.trim_end().ends_with('0') && !text.contains(PASSWORD),
        "{text}"
    );
}

#[test]
fn the_exit_status_is_that_of_the_program() {
    let _leaks = Leaks::begin();
    let run = |words: &[&str]| {
        Run::offshoot(["run", "-n", "local", "--"])
            .args(words)
            .finish()
    };
    for (words, status) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 7"], 7),
        (&["sh", "-c", "kill -KILL $$"], 137),
        (&["no-such-program-here"], 127),
        (&["/etc/passwd"], 126),
    ] {
        assert_eq!(run(words).code, status, "{words:?}");
    }
    assert!(
        run(&["no-such-program-here"])
            .err()
            .contains("no-such-program-here")
    );
    for (words, part) in [
        (
            &["cd", "/tmp"][..],
            "cd is a shell builtin and not a program; use a shell: -- sh -c '...'",
        ),
        (&["ulimit", "-n"], "-- sh -c '...'"),
        (&["FOO=1", "env"], "-- env FOO=1 ..."),
        (
            &["ls -l /tmp"],
            "no shell splits it into words; use one: -- sh -c '...'",
        ),
        (&["no-such-program-here"], "not found in PATH on the target"),
    ] {
        let seen = run(words).expect_code(127);
        assert!(seen.err().contains(part), "{words:?}: {}", seen.err());
    }
}

#[test]
fn a_failed_hop_exits_255_and_names_hop_reason_and_hint() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let seen = offshoot(
        &server,
        &["run", "-n", "nobody-here@web1/sudo", "--", "true"],
    )
    .finish()
    .expect_code(255);
    let text = seen.err();
    for part in [
        "nobody-here@web1",
        "hop 1 of 2",
        "ssh:nobody-here@web1",
        "no key was accepted",
        "-i",
        "Permission denied",
    ] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
}

#[test]
fn arguments_are_passed_verbatim_without_a_shell() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let odd = [
        "two words",
        "$HOME",
        "*",
        "'\"",
        "a\nb",
        "",
        "\\",
        "!x",
        "--",
        "-n",
    ];
    let target = format!("{}@web1/sudo", NOPASS.name);
    let mut words = vec!["run", "-n", &target, "--", "printf", "<%s>"];
    words.extend(odd);
    let expected: String = odd.iter().map(|word| format!("<{word}>")).collect();
    assert_eq!(
        offshoot(&server, &words).finish().expect_code(0).out(),
        expected
    );
}

#[test]
fn stdin_is_forwarded_up_to_eof_and_closed_with_n() {
    let _leaks = Leaks::begin();
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let seen = Run::offshoot(["run", "local", "--", "cat"])
        .stdin(bytes.clone())
        .finish()
        .expect_code(0);
    assert!(
        seen.stdout == bytes,
        "{} of {} bytes",
        seen.stdout.len(),
        bytes.len()
    );
    let closed = Run::offshoot(["run", "-n", "local", "--", "cat"])
        .stdin("unread")
        .finish()
        .expect_code(0);
    assert!(closed.stdout.is_empty());
}

#[test]
fn stdout_and_stderr_stay_separate_and_byte_exact() {
    let _leaks = Leaks::begin();
    let script = r"printf 'out\000\377no newline'; printf 'err\r' >&2";
    let seen = Run::offshoot(["run", "-n", "local", "--", "sh", "-c", script])
        .finish()
        .expect_code(0);
    assert_eq!(
        (seen.stdout.as_slice(), seen.stderr.as_slice()),
        (&b"out\0\xffno newline"[..], &b"err\r"[..])
    );
}

#[test]
fn output_of_several_targets_is_labelled_line_by_line() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let (plain, root) = (
        format!("{}@web1", NOPASS.name),
        format!("{}@web1/sudo", NOPASS.name),
    );
    let seen = offshoot(
        &server,
        &["run", "-n", &plain, &root, "local", "--", "id", "-un"],
    )
    .finish()
    .expect_code(0);
    let mut lines: Vec<String> = seen.out().lines().map(str::to_owned).collect();
    lines.sort_unstable();
    let mut expected = [
        format!("{plain}: {}", NOPASS.name),
        format!("{root}: root"),
        "local: root".into(),
    ];
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

#[test]
fn with_several_targets_the_worst_status_wins_and_all_finish() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let words = [
        "run",
        "-n",
        "local",
        "nobody-here@web1",
        "--",
        "sh",
        "-c",
        "echo done; exit 3",
    ];
    let seen = offshoot(&server, &words).finish().expect_code(255);
    assert_eq!(seen.out(), "local: done\n");
    assert!(seen.err().contains("nobody-here@web1"), "{}", seen.err());
}

#[test]
fn json_prints_one_object_per_line_and_ends_with_status_signal_or_error() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let run = |target: &str, script: &str| {
        json(
            &offshoot(
                &server,
                &["run", "-n", "--json", target, "--", "sh", "-c", script],
            )
            .finish(),
        )
    };
    let told = run("local", "echo out; echo err >&2; exit 5");
    let text = |key: &str| {
        told.iter()
            .filter_map(|object| object[key].as_str())
            .collect::<String>()
    };
    assert_eq!(
        (text("stdout").as_str(), text("stderr").as_str()),
        ("out\n", "err\n")
    );
    assert!(told.iter().all(|object| object["target"] == "local"));
    assert_eq!(told.last().expect("there is an end")["status"], 5);
    assert_eq!(
        run("local", "kill -TERM $$")
            .last()
            .expect("there is an end")["signal"],
        15
    );
    let failed = run("nobody-here@web1", "true");
    assert!(
        failed[0]["error"]
            .as_str()
            .is_some_and(|text| text.contains("no key was accepted")),
        "{failed:?}"
    );
}

#[test]
fn ping_json_prints_one_object_with_count_and_round_trip_times() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let target = format!("{}@web1", NOPASS.name);
    let told = json(
        &offshoot(&server, &["ping", "--json", "-c", "3", &target])
            .finish()
            .expect_code(0),
    );
    let [object] = told.as_slice() else {
        panic!("one object: {told:?}")
    };
    assert_eq!(
        (object["target"].as_str(), object["count"].as_u64()),
        (Some(target.as_str()), Some(3))
    );
    let number = |key: &str| {
        object[key]
            .as_f64()
            .unwrap_or_else(|| panic!("{key}: {object}"))
    };
    assert!(number("connect_ms") > 0.0);
    assert!(number("min_us") <= number("median_us") && number("median_us") <= number("max_us"));
}

#[test]
fn a_signal_ends_the_command_with_status_128_plus_its_number() {
    let _leaks = Leaks::begin();
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let mut command = Command::new(offshoot_binary());
        command.args(["run", "-n", "local/local", "--", "sleep", "1000"]);
        let mut child = command.spawn().expect("the binary is there");
        let running = || descendants(child.id()).len() >= 3;
        assert!(eventually(LIMIT, running), "two agents and the program run");
        let number = child.id().to_string();
        assert!(
            Command::new("kill")
                .args([&format!("-{signal}"), &number])
                .status()
                .is_ok_and(|done| done.success())
        );
        assert_eq!(
            child.wait().expect("it is ours").code(),
            Some(code),
            "{signal}"
        );
    }
}

#[test]
fn a_closed_stdout_pipe_ends_the_command_with_sigpipe_status() {
    let _leaks = Leaks::begin();
    let script = format!(
        "{} run -n local -- yes | head -n 1; echo ${{PIPESTATUS[0]}}",
        offshoot_binary().display()
    );
    let seen = Run::program("bash")
        .args(["-c", &script])
        .finish()
        .expect_code(0);
    assert_eq!(seen.out(), "y\n141\n");
}

#[test]
fn ssh_options_on_the_command_line_reach_ssh() {
    let _leaks = Leaks::begin();
    let bastion = Sshd::named("bastion")
        .client_line(format!("User {}", PLAIN.name))
        .start();
    let inner = Sshd::named("inner")
        .client_line(format!("User {}", NOPASS.name))
        .start();
    let scratch = ScratchDir::new("jump");
    let config = config_for(&scratch, &[&bastion, &inner])
        .display()
        .to_string();
    // Everything runs on one machine, so the program behind the jump sees the arguments of the ssh
    // before it.
    let look = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '";
    let words = [
        "run", "-n", "-F", &config, "-J", "bastion", "-A", "-C", "-T", "inner", "--", "sh", "-c",
        look,
    ];
    let seen = Run::offshoot(words).finish().expect_code(0).out();
    for part in ["ProxyJump=bastion", "ForwardAgent=yes", "Compression=yes"] {
        assert!(seen.contains(part), "{part} is missing");
    }
    assert!(
        bastion
            .log()
            .contains(&format!("Accepted publickey for {}", PLAIN.name)),
        "{}",
        bastion.log()
    );
}

#[test]
fn verbose_logs_every_hop_with_its_duration_on_stderr_only() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let target = format!("{}@web1/sudo", NOPASS.name);
    for words in [&["run", "-n", "-v"][..], &["run", "-n", "-v", "--json"]] {
        let all: Vec<&str> = words
            .iter()
            .copied()
            .chain([target.as_str(), "--", "echo", "out"])
            .collect();
        let seen = offshoot(&server, &all).finish().expect_code(0);
        for line in seen.out().lines() {
            assert!(line == "out" || line.starts_with('{'), "{line}");
        }
        let hop = |place: &str, what: &str| {
            let is =
                |line: &&str| line.contains("INFO") && line.contains(place) && line.contains(what);
            assert!(
                seen.err().lines().any(|line| is(&line)),
                "{place} {what}: {}",
                seen.err()
            );
        };
        let host = format!("{}@web1:", NOPASS.name);
        for place in [host, format!("{target}:")] {
            hop(&place, "connecting by ");
            hop(&place, " ms");
        }
        hop(&format!("{target}:"), "exit status 0 after ");
    }
    let quiet = offshoot(&server, &["run", "-n", &target, "--", "true"])
        .finish()
        .expect_code(0);
    assert_eq!(quiet.err(), "");
}
