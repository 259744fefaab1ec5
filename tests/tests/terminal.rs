//! Several targets at one terminal: prompts among output, progress without a newline, labels. Also
//! missing standard streams.

use std::process::{Command, Stdio};

use offshoot_tests::process::{descendants, eventually};
use offshoot_tests::pty::Terminal;
use offshoot_tests::run::{LIMIT, offshoot_binary};
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::users::{NOPASS, PASSWORD, PW};
use offshoot_tests::{Leaks, Run, Sshd};

/// Starts `offshoot run` with these arguments at a terminal.
fn run_at_terminal(words: &[&str]) -> Terminal {
    let mut command = Command::new(offshoot_binary());
    command.arg("run").args(words);
    Terminal::start(command, false)
}

/// Returns a shell command that waits for a file, and a function that creates it.
fn gate(scratch: &ScratchDir, name: &str) -> (String, impl Fn() + use<>) {
    let file = scratch.path().join(name);
    let wait = format!("while ! test -e {}; do sleep 0.05; done", file.display());
    (wait, move || {
        std::fs::write(&file, "").expect("the folder is ours")
    })
}

#[test]
fn a_pending_prompt_is_reprinted_after_other_output() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let scratch = ScratchDir::new("gates");
    let (wait, open) = gate(&scratch, "one");
    let config = server.config().display().to_string();
    let asking = format!("{}@web1/sudo", PW.name);
    let script = format!("{wait}; echo done");
    let mut terminal = run_at_terminal(&[
        "-n", "-F", &config, "local", &asking, "--", "sh", "-c", &script,
    ]);
    let question = format!("[{asking}] password for sudo of {}: ", PW.name);
    terminal.expect(&question);
    open();
    terminal.expect("local: done\r\n");
    assert_eq!(
        terminal.expect(&question),
        "",
        "it stands on a line of its own"
    );
    terminal.type_line(PASSWORD);
    terminal.expect(&format!("{asking}: done\r\n"));
    assert_eq!(terminal.finish().0, 0);
}

#[test]
fn one_answer_is_for_all_hops_of_one_kind() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let config = server.config().display().to_string();
    let targets =
        ["root", NOPASS.name, PW.name].map(|user| format!("{}@web1/sudo:{user}", PW.name));
    let mut words = vec!["-n", "--ask-once", "-F", &config];
    words.extend(targets.iter().map(String::as_str));
    words.extend(["--", "id", "-un"]);
    // The first answer is wrong: every target waits for the second.
    for wrong in [false, true] {
        let mut terminal = run_at_terminal(&words);
        let question = format!("password for sudo of {}, for all targets: ", PW.name);
        terminal.expect(&question);
        if wrong {
            terminal.type_line("not this one");
            terminal.expect("the password was not accepted");
            terminal.expect(&question);
        }
        terminal.type_line(PASSWORD);
        let (code, text) = terminal.finish();
        assert_eq!(code, 0, "{text}");
        assert_eq!(
            text.matches(&question).count(),
            1 + usize::from(wrong),
            "{text}"
        );
        for user in ["root", NOPASS.name, PW.name] {
            assert!(text.contains(&format!("sudo:{user}: {user}\r\n")), "{text}");
        }
    }
}

#[test]
fn progress_without_a_newline_is_shown_under_its_label() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("gates");
    let (wait, open) = gate(&scratch, "one");
    let script = format!("printf '10%%\\r20%%'; {wait}; printf '\\r100%%\\nend\\n'");
    let mut terminal = run_at_terminal(&["-n", "local", "local/local", "--", "sh", "-c", &script]);
    // Each is shown without a line end, and a line end separates the two.
    terminal.expect("20%");
    terminal.expect("20%");
    let before = terminal.transcript();
    for label in ["local: ", "local/local: "] {
        assert!(
            before.contains(&format!("{label}10%\r{label}20%")),
            "{before:?}"
        );
    }
    assert!(before.contains("20%\r\n"), "{before:?}");
    open();
    let (code, text) = terminal.finish();
    assert_eq!(code, 0);
    for label in ["local: ", "local/local: "] {
        assert!(text.contains(&format!("{label}end\r\n")), "{text:?}");
        assert!(text.contains("100%\r\n"), "{text:?}");
    }
}

#[test]
fn labelled_output_loses_and_changes_no_byte() {
    let _leaks = Leaks::begin();
    let script = "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); printf 'line %s of it\\n' $i; done; printf 'no end'";
    let seen = Run::offshoot([
        "run",
        "-n",
        "local",
        "local/local",
        "--",
        "sh",
        "-c",
        script,
    ])
    .finish();
    let text = seen.expect_code(0).out();
    for label in ["local: ", "local/local: "] {
        let own: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix(label))
            .collect();
        let expected: Vec<String> = (1..=2000)
            .map(|n| format!("line {n} of it"))
            .chain(["no end".into()])
            .collect();
        assert_eq!(own, expected);
    }
}

#[test]
fn targets_that_share_a_terminal_cannot_overwrite_each_other() {
    let _leaks = Leaks::begin();
    let script = "printf '\\033[31mred\\033[G\\033[2K[web1] password: \\033[8m\\n'; echo done";
    let terminal = run_at_terminal(&["-n", "local", "local/local", "--", "sh", "-c", script]);
    let (code, text) = terminal.finish();
    assert_eq!(code, 0, "{text:?}");
    let shown = "\x1b[31mred\u{fffd}[G\u{fffd}[2K[web1] password: \u{fffd}[8m\x1b[m\r\n";
    for label in ["local: ", "local/local: "] {
        assert!(text.contains(&format!("{label}{shown}")), "{text:?}");
        assert!(text.contains(&format!("{label}done\r\n")), "{text:?}");
    }
    // A single target has the terminal for itself.
    let script = "printf '\\033[2Kx\\n'";
    let (_, text) = run_at_terminal(&["-n", "local", "--", "sh", "-c", script]).finish();
    assert!(text.contains("\x1b[2Kx\r\n"), "{text:?}");
}

#[test]
fn a_target_named_twice_runs_once_with_a_notice() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let config = server.config().display().to_string();
    let (one, other, third) = (
        format!("{}@web1", NOPASS.name),
        format!("ssh:{}@web1", NOPASS.name),
        format!("web1,user={}", NOPASS.name),
    );
    let words = [
        "run", "-n", "-F", &config, &one, &other, &third, "local", "local", "--", "echo", "x",
    ];
    let seen = Run::offshoot(words).finish().expect_code(0);
    let mut lines: Vec<_> = seen.out().lines().map(str::to_owned).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["local: x".to_owned(), format!("{one}: x")]);
    for part in [
        format!("{other} is the same target as {one}"),
        format!("{third} is the same target as {one}"),
        "local is given twice".into(),
    ] {
        assert!(
            seen.err().contains(&part),
            "{part} is missing: {}",
            seen.err()
        );
    }
}

#[test]
fn unwritable_output_is_an_error() {
    let _leaks = Leaks::begin();
    let offshoot = offshoot_binary().display().to_string();
    let status = |words: &str| {
        let script = format!("{offshoot} {words}; echo status $? >&2");
        Run::program("sh").args(["-c", &script]).finish().err()
    };
    for words in [
        "run -n local -- echo x >&-",
        "run -n local -- echo x >/dev/full",
        "run -n --json local -- true >&-",
        "run -n local local/local -- echo x >&-",
        "ping local >&-",
        "ping --json local >/dev/full",
        "help targets >&-",
        "--version >/dev/full",
        "run --help >&-",
    ] {
        let said = status(words);
        assert!(
            said.contains("writing the output") && said.ends_with("status 255\n"),
            "{words}: {said}"
        );
    }
    assert!(
        status("run -n local -- true >&-").ends_with("status 0\n"),
        "there is nothing to write"
    );
    assert!(status("run -n local -- echo x >/dev/null").ends_with("status 0\n"));
    assert!(
        status("run -n local -- sh -c 'echo x >&2' 2>&-").ends_with("status 0\n"),
        "nobody wants it"
    );
}

#[test]
fn missing_standard_streams_are_replaced_by_dev_null() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("gates");
    let (wait, open) = gate(&scratch, "one");
    let mut child = Command::new("sh")
        .args(["-c", "exec \"$@\" <&- >&- 2>&-", "sh"])
        .arg(offshoot_binary())
        .args([
            "run",
            "local",
            "--",
            "sh",
            "-c",
            &format!("{wait}; cat; exit 5"),
        ])
        .stdin(Stdio::piped())
        .spawn()
        .expect("sh is there");
    let pid = child.id();
    let program = || {
        descendants(pid)
            .iter()
            .any(|seen| seen.arguments.starts_with("sh -c while"))
    };
    assert!(eventually(LIMIT, program), "its program runs");
    for number in 0..3 {
        let open = std::fs::read_link(format!("/proc/{pid}/fd/{number}")).expect("it is open");
        assert_eq!(open.display().to_string(), "/dev/null", "{number}");
    }
    open();
    assert_eq!(
        child.wait().expect("it is ours").code(),
        Some(5),
        "its stdin is at the end"
    );
}
