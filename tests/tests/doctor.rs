//! `offshoot plan`, which starts nothing.

use std::path::Path;

use offshoot_tests::run::LIMIT;
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::{Finished, Leaks, Run};

fn json(finished: &Finished) -> Vec<serde_json::Value> {
    finished
        .out()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect()
}

/// Puts programs in front of the PATH that write their arguments to a file and fail.
fn recording(scratch: &ScratchDir, names: &[&str]) -> String {
    for name in names {
        let trace = scratch.path().join(format!("{name}.trace"));
        // ssh is asked for its configuration first, which is no attempt.
        let script = format!(
            "#!/bin/sh\n[ \"$1\" = -G ] && exit 0\nprintf '%s\\0' \"$@\" > {}\nexit 1\n",
            trace.display()
        );
        scratch.file(name, script, 0o755);
    }
    let path = std::env::var("PATH").expect("the sandbox has one");
    format!("{}:{path}", scratch.path().display())
}

fn arguments(trace: &Path) -> Vec<String> {
    let bytes = std::fs::read(trace).expect("the program ran");
    let text = String::from_utf8(bytes).expect("words are text");
    let mut words: Vec<String> = text.split('\0').map(str::to_owned).collect();
    assert_eq!(words.pop().as_deref(), Some(""), "each word ends in NUL");
    words
}

fn words(plan: &serde_json::Value) -> Vec<String> {
    let words = plan["words"].as_array().expect("it is a list").iter();
    words
        .map(|word| word.as_str().expect("words are text").to_owned())
        .collect()
}

/// Asserts that words are those of a plan, but for the random numbers.
fn assert_planned(planned: &[String], executed: &[String]) {
    let zeros = "0".repeat(16);
    assert_eq!(planned.len(), executed.len(), "{planned:?} {executed:?}");
    for (planned, executed) in planned.iter().zip(executed) {
        assert_eq!(planned.len(), executed.len(), "{planned} {executed}");
        // From the right, because a sum that ends in zeros may stand before the number.
        let numbers: Vec<usize> = planned.rmatch_indices(&zeros).map(|(at, _)| at).collect();
        let mut expected = executed.clone();
        for at in numbers {
            expected.replace_range(at..at + zeros.len(), &zeros);
        }
        assert_eq!(*planned, expected);
    }
}

#[test]
fn a_plan_starts_nothing_and_has_the_words_that_a_run_executes() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("plan");
    let path = recording(&scratch, &["ssh", "sudo"]);
    let traces = ["ssh", "sudo"].map(|name| scratch.path().join(format!("{name}.trace")));
    let options = ["--no-ask", "-o", "Port=1", "--connect-timeout", "7"];
    let targets = ["deploy@web1/sudo:app", "sudo,umask=027"];
    let plan = |more: &[&str]| {
        Run::offshoot(["plan"])
            .args(options)
            .args(more)
            .args(targets)
            .env("PATH", &path)
            .limit(LIMIT)
            .finish()
            .expect_code(0)
    };
    let plans = json(&plan(&["--json"]));
    let text = plan(&[]).out();
    let full = plan(&["--full"]).out();
    assert!(traces.iter().all(|trace| !trace.exists()), "{text}");
    for target in targets {
        let run = Run::offshoot(["run", "-n"]).args(options);
        let run = run.args([target, "--", "true"]).env("PATH", &path);
        run.finish().expect_code(255);
    }
    // The script before ssh is executed by sh, and its arguments are ssh and its arguments.
    let executed = arguments(&traces[0]);
    assert_planned(&words(&plans[0])[5..], &executed);
    assert_planned(&words(&plans[2])[1..], &arguments(&traces[1]));

    let last = executed.last().expect("it has words").len();
    for part in [
        "deploy@web1/sudo:app\n  hop 1 of 2: ssh:deploy@web1\n    from       this machine\n",
        "-o Port=1",
        "-l deploy -- web1 'exec sh -c ",
        &format!("[... {last} bytes ...]"),
        "7 s for the hop",
        "  hop 2 of 2: sudo:app\n    from       ssh.web1\n",
        "becomes    ssh.web1.sudo.app\n",
        "password   none",
        "password: ' -u app -- sh -c '",
    ] {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
    assert!(text.lines().all(|line| line.len() < 1000), "{text}");
    let script = words(&plans[2]).pop().expect("it has words");
    assert!(!text.contains(&script) && full.contains(&script), "{full}");
    assert_eq!(plans[1]["from"], "ssh.web1");
    assert_eq!(plans[1]["context"], "ssh.web1.sudo.app");
    assert_eq!(plans[1]["bootstrap"], "words");
    assert_eq!(plans[1]["timeout_ms"], 7000);
}

#[test]
fn a_plan_opens_no_password_file_and_shows_no_password() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("plan");
    let file = scratch.file("password", "top secret\n", 0o600);
    let of_file = format!("local/sudo,password-file=[{}]", file.display());
    let plan = |words: &[&str]| Run::offshoot(["plan"]).args(words).stdin("top secret\n");
    for target in [
        of_file.as_str(),
        "local/sudo,password-file=-",
        "local/sudo,password-file=[/no/such/file]",
        "web1,password-file=-/sudo,password-file=-",
    ] {
        for form in ["--full", "--json"] {
            let seen = plan(&[form, target]).limit(LIMIT).finish().expect_code(0);
            assert!(!seen.out().contains("top secret"), "{}", seen.out());
            assert!(seen.err().is_empty(), "{}", seen.err());
        }
    }
    let seen = plan(&[&of_file]).finish().expect_code(0).out();
    let line = format!("password   the first line of {}", file.display());
    assert!(seen.contains(&line), "{seen}");
    assert!(seen.contains("is answered with the password"), "{seen}");
    let refused = plan(&["local/sudo,nonsense"]).finish().expect_code(2);
    assert!(refused.err().contains("no option"), "{}", refused.err());
}
