//! The end of a program's output. What other processes still write arrives; a stream held open in
//! silence ends.

use std::time::Duration;

use offshoot::{Command, Context};
use offshoot_tests::process::eventually;
use offshoot_tests::run::LIMIT;
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::tree::{ended, hop, router};
use offshoot_tests::users::NOPASS;
use offshoot_tests::{Leaks, Run, Sshd};

#[track_caller]
fn up<T, E: std::fmt::Display>(outcome: Result<T, E>) -> T {
    outcome.unwrap_or_else(|error| panic!("{error}"))
}

fn bash(context: &Context, script: &str) -> Command {
    context.command("bash").args(["-c", script])
}

/// Scripts whose output is written by other processes that end later; with the whole output and the
/// exit status.
const OTHERS: [(&str, &str, i32); 6] = [
    ("exec > >(cat); echo hi", "hi\n", 0),
    (
        "exec > >(sleep 0.2; cat) 2>&1; echo start; echo why >&2; exit 3",
        "start\nwhy\n",
        3,
    ),
    ("(sleep 0.3; echo late) & echo early", "early\nlate\n", 0),
    (
        "(for i in 1 2 3 4 5 6 7; do sleep 0.3; echo $i; done) & echo 0; exit 4",
        "0\n1\n2\n3\n4\n5\n6\n7\n",
        4,
    ),
    ("exec > >(setsid cat); echo elsewhere", "elsewhere\n", 0),
    (
        "echo one | (cat; sleep 0.2; echo two) & exit 5",
        "one\ntwo\n",
        5,
    ),
];

#[test]
fn output_written_by_children_after_the_program_exits_arrives() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    let host = up(hop(&router, &server, NOPASS).connect());
    let contexts = [up(router.local().connect()), up(host.sudo().connect())];
    for (script, printed, code) in OTHERS {
        for context in &contexts {
            let output = up(bash(context, script).output());
            let text = String::from_utf8_lossy(&output.stdout);
            assert_eq!(
                (&*text, output.status.code),
                (printed, Some(code)),
                "{context}: {script}"
            );
        }
        let seen = Run::offshoot(["run", "-n", "local", "--", "bash", "-c", script]).finish();
        assert_eq!(
            (seen.out().as_str(), seen.code),
            (printed, code),
            "{script}: {}",
            seen.err()
        );
    }
    // Output written to a file through another process is complete as well.
    let scratch = ScratchDir::new("tee");
    let log = scratch.path().join("log");
    let script = format!(
        "exec > >(sleep 0.1; tee {}) 2>&1; echo start; echo why; exit 3",
        log.display()
    );
    let config = server.config().display().to_string();
    let target = format!("{}@web1/sudo", NOPASS.name);
    for _ in 0..3 {
        let words = [
            "run", "-n", "-F", &config, &target, "--", "bash", "-c", &script,
        ];
        let seen = Run::offshoot(words).finish().expect_code(3);
        assert_eq!(seen.out(), "start\nwhy\n");
        assert_eq!(up(std::fs::read_to_string(&log)), "start\nwhy\n");
        up(std::fs::remove_file(&log));
    }
}

#[test]
fn a_stream_held_open_without_output_ends_and_its_holder_is_named() {
    let _leaks = Leaks::begin();
    for hold in [
        "sleep 1000 &",
        "setsid sleep 1000 &",
        "sleep 1000 2>/dev/null &",
        "sleep 1000 >/dev/null &",
    ] {
        let script = format!("{hold} echo $!; exit 6");
        let seen = Run::offshoot(["run", "-v", "-n", "local", "--", "sh", "-c", &script]).finish();
        let (said, printed) = (seen.err(), seen.out());
        seen.expect_code(6);
        let line = format!("sleep (process {}) of program", printed.trim());
        for what in ["holds a stream without writing", "was ended with it"] {
            let told = said
                .lines()
                .any(|told| told.contains(&line) && told.contains(what));
            assert!(told, "{hold}: {what}: {said}");
        }
        let pid = up(printed.trim().parse());
        assert!(eventually(LIMIT, || ended(pid)), "{hold}");
        let seen = Run::offshoot(["run", "-n", "local", "--", "sh", "-c", &script])
            .finish()
            .expect_code(6);
        assert_eq!(seen.err(), "", "without -v nothing is said");
    }
}

#[test]
fn the_time_to_wait_for_silent_streams_is_configurable() {
    let _leaks = Leaks::begin();
    let router = router();
    let context = up(router.local().connect());
    // Longer than the default time.
    let script = "(sleep 2; echo late) & echo early";
    let output = up(bash(&context, script)
        .wait_streams(Duration::from_secs(600))
        .output());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "early\nlate\n");
    let output = up(bash(&context, script).output());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "early\n");
    for (seconds, printed) in [("600", "early\nlate\n"), ("0", "early\n")] {
        let words = [
            "run",
            "-n",
            "--wait-for-streams",
            seconds,
            "local",
            "--",
            "bash",
            "-c",
            script,
        ];
        assert_eq!(Run::offshoot(words).finish().expect_code(0).out(), printed);
    }
}
