//! The command line without a tree: refused words, explanations, and exit statuses.

use std::process::{Command, Output, Stdio};

#[expect(
    clippy::disallowed_methods,
    reason = "the test is the user of the program"
)]
fn offshoot(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_offshoot"))
        .args(words)
        .stdin(Stdio::null())
        .output()
        .expect("cargo has built it")
}

/// Returns the message for refused words.
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
fn a_missing_separator_is_explained_with_the_correct_command() {
    assert!(refusal(&["run", "web1", "uptime"]).contains("offshoot run web1 -- uptime"));
    assert!(refusal(&["run", "web1"]).contains("offshoot run web1 -- "));
    assert!(refusal(&["run", "web1", "ls", "--color"]).contains("come after `--`"));
    assert!(refusal(&["run", "web1", "tail", "-f", "x"]).contains("come after `--`"));
}

#[test]
fn a_separator_without_a_target_is_refused() {
    assert!(refusal(&["run", "--", "ls"]).contains("TARGET"));
}

#[test]
fn a_bad_target_is_shown_with_the_position_of_the_error() {
    let message = refusal(&["run", "web1/sudo,pasword-file=x", "--", "ls"]);
    assert!(
        message.contains("\n    web1/sudo,pasword-file=x\n              ^^^^^^^^^^^^\n"),
        "{message}"
    );
    assert!(
        message.contains("sudo takes password-file=PATH"),
        "{message}"
    );
    assert!(refusal(&["ping", "web1//sudo"]).contains("a hop is empty"));
}

#[test]
fn a_password_from_stdin_needs_stdin_for_itself() {
    let message = refusal(&["run", "local/sudo,password-file=-", "--", "ls"]);
    assert!(message.contains("pass -n"), "{message}");
}

#[test]
fn a_password_on_the_command_line_is_refused_and_not_repeated() {
    for word in ["-pS3cret", "--password=S3cret", "--pass"] {
        let message = refusal(&["run", word, "web1", "--", "ls"]);
        assert!(
            message.contains("password-file=[PATH]") && !message.contains("S3cret"),
            "{message}"
        );
    }
}

#[test]
fn a_word_too_many_and_an_empty_name_are_refused() {
    let message = refusal(&["ping", "web1", "web2"]);
    assert!(message.contains("one argument too many: web2"), "{message}");
    let message = refusal(&["run", "--detach", "", "web1", "--", "ls"]);
    assert!(message.contains("--detach <NAME>"), "{message}");
}

#[test]
fn a_missing_password_file_is_named() {
    let message = refusal(&[
        "run",
        "web1/sudo,password-file=[/nonexistent/x]",
        "--",
        "ls",
    ]);
    assert!(
        message.contains("password-file=/nonexistent/x: No such file"),
        "{message}"
    );
}

#[test]
fn ssh_options_are_accepted_or_refused_with_a_hint() {
    for (option, way_out) in [
        ("-t", "ssh -t HOST CMD"),
        ("-tt", "ssh -t HOST CMD"),
        ("-L8080:localhost:80", "use ssh itself"),
        ("-R", "use ssh itself"),
        ("-D", "use ssh itself"),
        ("-W", "use ssh itself"),
        ("-N", "use ssh itself"),
        ("-f", "--detach NAME"),
        ("-X", "-o ForwardX11=yes"),
        ("-q", "leave it out"),
        ("-4", "-o AddressFamily=inet"),
        ("-c", "-o Ciphers="),
    ] {
        let message = refusal(&["run", option, "web1", "--", "ls"]);
        assert!(
            message.contains(way_out) && message.lines().count() == 1,
            "{option}: {message}"
        );
        assert!(
            !message.contains(&format!("-- {option}")),
            "no advice runs it: {message}"
        );
    }
    assert!(refusal(&["ping", "-t", "web1"]).contains("ssh -t"));
    assert!(refusal(&["run", "-Z", "web1", "--", "ls"]).contains("unknown option -Z"));
    assert!(
        refusal(&["run", "--heartbaet", "1", "web1", "--", "ls"])
            .contains("did you mean --heartbeat?")
    );
    // What is taken gets as far as the target.
    let taken = "-A -C -T -n -v -i key -p 22 -l me -F conf -o A=b -J bast";
    let words: Vec<&str> = ["run"]
        .into_iter()
        .chain(taken.split(' '))
        .chain(["web1/", "--", "ls"])
        .collect();
    assert!(refusal(&words).contains("a hop is empty"));
}

#[test]
fn a_password_in_a_target_is_never_shown_again() {
    for target in [
        "me:hunter2@web1",
        "ssh://me:hunter2@web1/",
        "web1/sudo:me:hunter2",
        "me:hunter2/@web1",
    ] {
        for words in [
            &["run", target, "--", "ls"][..],
            &["run", "--json", "local", target, "--", "ls"],
            &["run", "-vvv", target, "--", "ls"],
            &["ping", "--json", target],
        ] {
            let message = refusal(words);
            assert!(
                !message.contains("hunter2") && message.contains("password-file=PATH"),
                "{message}"
            );
        }
    }
}

#[test]
fn numbers_are_checked() {
    assert!(refusal(&["run", "-p", "0", "web1", "--", "ls"]).contains("-p"));
    assert!(
        refusal(&["run", "--connect-timeout", "0", "web1", "--", "ls"])
            .contains("--connect-timeout")
    );
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
    assert!(explanation(&["help", "build-agent"]).contains("--manifest-path disks/Cargo.toml"));
    for verb in ["run", "ping"] {
        assert!(explanation(&["help", verb]).contains("--heartbeat <SECONDS>"));
    }
    assert!(explanation(&["help", "targets"]).contains("sudo or sudo:USER"));
}

#[test]
fn help_fits_a_terminal() {
    for subject in ["targets", "run", "ping", "build-agent", "version"] {
        let words = ["help", subject];
        for line in explanation(&words).lines() {
            assert!(
                line.chars().count() <= 100,
                "{words:?} has the long line {line:?}"
            );
        }
    }
}

#[test]
fn the_version_has_the_number_of_the_build() {
    let text = explanation(&["version"]);
    let build = text
        .lines()
        .next()
        .and_then(|line| line.split("build ").nth(1));
    let build = build.unwrap_or_else(|| panic!("no number in {text}"));
    assert!(build.len() == 16 && build.chars().all(|c| c.is_ascii_hexdigit()));
    assert!(explanation(&["version", "--json"]).contains(&format!("\"build\":\"{build}\"")));
    assert!(explanation(&["--version"]).starts_with("offshoot "));
}

#[test]
fn build_agent_refuses_what_it_cannot_build() {
    assert!(refusal(&["build-agent"]).contains("--manifest-path is missing"));
    let words = ["build-agent", "--manifest-path", "x", "--target", "s390x"];
    assert!(refusal(&words).contains("there are agents for x86_64, aarch64"));
}
