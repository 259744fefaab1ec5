//! The command line where no tree is needed: what is refused, what is explained, and with which status.

use std::process::{Command, Output, Stdio};

fn offshoot(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_offshoot"))
        .args(words)
        .stdin(Stdio::null())
        .output()
        .expect("cargo has built it")
}

/// What is said about words that are refused.
fn refusal(words: &[&str]) -> String {
    let output = offshoot(words);
    assert_eq!(output.status.code(), Some(2), "{words:?} gave {output:?}");
    assert!(output.stdout.is_empty(), "{words:?} printed to stdout");
    String::from_utf8(output.stderr).expect("messages are text")
}

fn explanation(words: &[&str]) -> String {
    let output = offshoot(words);
    assert!(output.status.success(), "{words:?} gave {output:?}");
    String::from_utf8(output.stdout).expect("help is text")
}

#[test]
fn a_forgotten_separator_is_explained_with_the_line_that_would_be_right() {
    assert!(refusal(&["run", "web1", "uptime"]).contains("offshoot run web1 -- uptime"));
    assert!(refusal(&["run", "web1"]).contains("offshoot run web1 -- "));
    assert!(refusal(&["run", "web1", "ls", "--color"]).contains("stand after `--`"));
    assert!(refusal(&["run", "web1", "tail", "-f", "x"]).contains("stand after `--`"));
}

#[test]
fn a_separator_without_a_target_is_refused() {
    assert!(refusal(&["run", "--", "ls"]).contains("TARGET"));
}

#[test]
fn a_bad_target_is_shown_with_its_place() {
    let message = refusal(&["run", "web1/sudo,pasword-file=x", "--", "ls"]);
    assert!(message.contains("\n    web1/sudo,pasword-file=x\n              ^^^^^^^^^^^^\n"), "{message}");
    assert!(message.contains("sudo takes password-file=PATH"), "{message}");
    assert!(refusal(&["ping", "web1//sudo"]).contains("a hop is empty"));
}

#[test]
fn a_password_from_stdin_needs_stdin_for_itself() {
    let message = refusal(&["run", "local/sudo,password-file=-", "--", "ls"]);
    assert!(message.contains("give -n"), "{message}");
}

#[test]
fn a_password_file_that_is_missing_is_named_with_its_target() {
    let message = refusal(&["run", "web1/sudo,password-file=[/nonexistent/x]", "--", "ls"]);
    assert!(message.contains("password-file=/nonexistent/x: No such file"), "{message}");
}

#[test]
fn numbers_are_checked() {
    assert!(refusal(&["run", "-p", "0", "web1", "--", "ls"]).contains("-p"));
    assert!(refusal(&["run", "--connect-timeout", "0", "web1", "--", "ls"]).contains("--connect-timeout"));
    assert!(refusal(&["ping", "-c", "0", "web1"]).contains("--count"));
    assert!(refusal(&["ping", "--heartbeat", "90000", "web1"]).contains("--heartbeat"));
}

#[test]
fn help_has_examples_and_the_grammar() {
    assert!(explanation(&["--help"]).contains("offshoot run web1 -- uname -a"));
    assert!(explanation(&["help"]).contains("offshoot run web1 -- uname -a"));
    assert!(explanation(&["run", "--help"]).contains("Exit status:"));
    assert!(explanation(&["help", "run"]).contains("Exit status:"));
    assert!(explanation(&["help", "ping"]).contains("offshoot ping web1"));
    for verb in ["run", "ping"] {
        assert!(explanation(&["help", verb]).contains("--heartbeat <SECONDS>"));
    }
    assert!(explanation(&["help", "targets"]).contains("sudo or sudo:USER"));
}

#[test]
fn help_fits_a_terminal() {
    for words in [["help", "targets"], ["help", "run"], ["help", "ping"]] {
        for line in explanation(&words).lines() {
            assert!(line.chars().count() <= 100, "{words:?} has the long line {line:?}");
        }
    }
}
