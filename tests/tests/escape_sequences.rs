//! Terminal escape sequences and bidirectional characters in text from hosts. They are replaced in
//! every error that is shown to a person.

use std::fs::Permissions;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;

use offshoot::{Context, Error, RecvError, Router};
use offshoot_test_agent as own;
use offshoot_tests::Leaks;
use offshoot_tests::run::Run;
use offshoot_tests::scratch::ScratchDir;

/// For `printf`: sequences that set the title and the clipboard, clear the screen, a C1 control, a
/// bidirectional override.
const HOSTILE: &str =
    r"\033]0;title\007\033]52;c;ZXZpbA==\007\033[2J\302\2332J\342\200\256txt.exe\342\201\246\n";

/// Returns true for characters that no displayed text may contain.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
}

#[track_caller]
fn assert_harmless(text: &str) {
    assert!(!text.chars().any(is_harmful), "{text:?}");
}

fn tree() -> Router {
    let builder = Router::builder().package("offshoot-test-agent");
    builder.start().unwrap_or_else(|error| panic!("{error}"))
}

/// Writes a shell that prints the hostile text on one of its streams and exits.
fn shell(folder: &ScratchDir, name: &str, stream: u8) -> String {
    let path = folder.path().join(name);
    let script = format!("#!/bin/sh\nprintf '{HOSTILE}' >&{stream}\nexit 7\n");
    std::fs::write(&path, script).expect("the folder is ours");
    std::fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("the file is ours");
    path.display().to_string()
}

fn local(of: &Context) -> Context {
    of.local()
        .connect()
        .unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn output_of_a_failed_hop_is_sanitized_in_every_form_of_its_error() {
    let _leaks = Leaks::begin();
    let router = tree();
    let below = local(&router);
    // From this process and from an agent.
    for place in [&*router, &below] {
        for stream in [1, 2] {
            let folder = ScratchDir::new("harmless");
            let words = vec![shell(&folder, "shell", stream)];
            let hop = place.local().shell_words(words.clone());
            let error = hop.connect().expect_err("no agent comes up");
            assert_harmless(&error.to_string());
            assert_harmless(&format!("{error:?}"));
            let connect = error.as_connect().expect("it is about a hop");
            assert!(
                connect.output.iter().any(|line| line.contains("txt.exe")),
                "{connect:?}"
            );
            connect.output.iter().for_each(|line| assert_harmless(line));
            // A call sent along returns the same text.
            let hop = place
                .local()
                .shell_words(words)
                .start()
                .unwrap_or_else(|error| panic!("{error}"));
            let error = hop
                .context()
                .call(own::zeros { count: 1 })
                .expect_err("no agent comes up");
            assert_harmless(&error.to_string());
        }
    }
}

#[test]
fn texts_of_functions_senders_and_panics_are_sanitized_in_errors() {
    let _leaks = Leaks::begin();
    let router = tree();
    let context = local(&router);
    let evil = "\u{1b}[2J\u{202e}evil\u{9b}".to_owned();
    let error = context
        .call(own::refuse { why: evil.clone() })
        .expect_err("it refuses");
    assert_harmless(&error.to_string());
    assert_harmless(&Error::from(error).to_string());
    let error = context
        .call(own::panic_with { text: evil.clone() })
        .expect_err("it panics");
    assert_harmless(&error.to_string());
    let (to, from) = router
        .channel::<u64>()
        .unwrap_or_else(|error| panic!("{error}"));
    context
        .call(own::channel_ends::complain_in_words {
            to,
            why: evil.clone(),
        })
        .unwrap_or_else(|error| panic!("{error}"));
    match from.recv() {
        Err(error @ RecvError::Failed { .. }) => assert_harmless(&error.to_string()),
        other => panic!("{other:?}"),
    }
    let (to, mut from) = router.pipe().unwrap_or_else(|error| panic!("{error}"));
    let call = context.start(own::channel_ends::write_and {
        to,
        bytes: 9,
        fail: Some(evil),
    });
    let error = from
        .read_to_end(&mut Vec::new())
        .expect_err("its writer has failed it");
    assert_harmless(&error.to_string());
    call.wait().unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn the_command_line_prints_sanitized_text() {
    let _leaks = Leaks::begin();
    let folder = ScratchDir::new("harmless");
    let shell = shell(&folder, "shell", 2);
    let target = format!("local,shell=[{shell}]");
    for words in [
        vec!["run", &target],
        vec!["run", "--json", &target],
        vec!["ping", &target],
    ] {
        let mut run = Run::offshoot(&words);
        if words[0] == "run" {
            run = run.args(["--", "true"]);
        }
        let done = run.finish();
        let shown = [done.stdout, done.stderr].concat();
        let shown = String::from_utf8(shown).expect("it is text");
        assert!(shown.contains("txt.exe"), "{shown:?}");
        shown.lines().for_each(assert_harmless);
        assert_eq!(done.code, 255);
    }
}
