//! `offshoot plan`, which starts nothing, and `offshoot doctor`, against real hosts.

use std::path::Path;

use offshoot_tests::process::must_run;
use offshoot_tests::run::LIMIT;
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::users::{NOISY, NOPASS, PLAIN};
use offshoot_tests::{Finished, Leaks, Run, Sshd};

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
    // A fast ssh gets one more option from the script before it.
    let targets = ["deploy@web1,fast=no/sudo:app", "sudo,umask=027"];
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
        "deploy@web1,fast=no/sudo:app\n  hop 1 of 2: ssh:deploy@web1\n    from       this machine\n",
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
    assert!(seen.contains("is answered with the password\n"), "{seen}");
    let seen = plan(&["web1,password-file=-"])
        .finish()
        .expect_code(0)
        .out();
    let only = "is answered with the password, if this host asks and no host on the way\n";
    assert!(seen.contains(only), "{seen}");
    let refused = plan(&["local/sudo,nonsense"]).finish().expect_code(2);
    assert!(refused.err().contains("no option"), "{}", refused.err());
}

/// Prepares a run of `offshoot doctor`.
fn doctor(words: &[&str]) -> Run {
    Run::offshoot(["doctor", "--no-ask"]).args(words)
}

/// Prepares the same with the ssh configuration of a server.
fn doctor_of(server: &Sshd, words: &[&str]) -> Run {
    doctor(&["-F", &server.config().display().to_string()]).args(words)
}

/// Returns all advice about a row.
fn advice(report: &serde_json::Value, about: &str) -> String {
    let all = report["advice"]
        .as_array()
        .expect("a hop that is up has it");
    let about = all.iter().filter(|advice| advice["about"] == about);
    let texts: Vec<_> = about.filter_map(|advice| advice["text"].as_str()).collect();
    texts.join("\n")
}

#[test]
fn each_hop_of_a_healthy_path_is_reported_without_advice() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let target = format!("{}@web1/sudo", NOPASS.name);
    let seen = doctor_of(&server, &["--json", &target])
        .finish()
        .expect_code(0);
    let reports = json(&seen);
    assert_eq!(reports.len(), 2, "{}", seen.out());
    let reached = &reports[0]["host"];
    assert_eq!(reached["address"], "127.0.0.1");
    assert_eq!(reached["port"], server.address().port());
    for (report, user, context) in [
        (&reports[0], NOPASS.name, "ssh.web1"),
        (&reports[1], "root", "ssh.web1.sudo.root"),
    ] {
        assert_eq!(report["target"], target.as_str());
        assert_eq!(report["context"], context);
        assert_eq!(report["user"]["name"], user);
        assert_eq!(report["shell"], "/bin/bash");
        assert_eq!(report["platform"]["machine"], std::env::consts::ARCH);
        assert_eq!(report["umask"], "0022");
        assert_eq!(report["memfd"]["executes"], true);
        assert_eq!(report["clock_s"], 0);
        assert_eq!(report["sudo"]["passwordless"], true);
        let first = &report["places"][0];
        assert!(
            first["path"] == "/dev/shm" && first["state"] == "runs",
            "{first}"
        );
        let time = |key: &str| report[key].as_f64().expect("it is a number");
        assert!(time("ping_ms") > 0.0 && time("connect_ms") > time("ping_ms"));
        assert!(report["limits"]["nofile"].as_u64() > Some(0), "{report}");
        assert!(report["memory"]["total_kib"].as_u64() > Some(0), "{report}");
        assert!(
            report["ssh"]
                .as_str()
                .is_some_and(|ssh| ssh.starts_with("OpenSSH"))
        );
        assert_eq!(report["startup"][0]["bytes"], 0, "{report}");
    }
    // Of two targets the common hop is reported once.
    let first = format!("{}@web1", NOPASS.name);
    let text = doctor_of(&server, &[&target, &first])
        .finish()
        .expect_code(0)
        .out();
    for part in [
        format!("{target}\n  hop 1 of 2: nopass@web1\n    connected "),
        "  hop 2 of 2: sudo\n    connected ".into(),
        format!("\n\n{first}\n  hop 1 of 1: nopass@web1\n                  see above\n"),
    ] {
        assert!(text.contains(&part), "{part:?} is missing in {text}");
    }
    assert!(!text.contains("ADVICE"), "{text}");
}

#[test]
fn a_hop_that_fails_is_reported_with_its_way_out() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let target = format!("{}@web1/sudo/local", PLAIN.name);
    let seen = doctor_of(&server, &["--json", &target])
        .finish()
        .expect_code(255);
    let reports = json(&seen);
    assert_eq!(reports.len(), 2, "{}", seen.out());
    assert_eq!(reports[0]["sudo"]["passwordless"], false);
    let error = reports[1]["error"].as_str().expect("it has failed");
    assert!(
        error.starts_with("sudo: ") && error.contains("; "),
        "{error}"
    );
    let text = doctor_of(&server, &[&target])
        .finish()
        .expect_code(255)
        .out();
    assert!(text.contains("    failed        sudo: "), "{text}");
    assert!(
        text.ends_with("hop 3 of 3: local\n                  not tried\n"),
        "{text}"
    );
}

#[test]
fn a_tmpdir_that_executes_nothing_has_advice() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("noexec");
    let folder = scratch.path().join("mount");
    std::fs::create_dir(&folder).expect("its parent is ours");
    let folder = folder.to_str().expect("our own path");
    must_run(
        "busybox",
        &["mount", "-t", "tmpfs", "-o", "noexec", "tmpfs", folder],
        b"",
    );
    let target = format!("local,env=TMPDIR=[{folder}]");
    let seen = doctor(&["--json", &target]).finish();
    must_run("busybox", &["umount", folder], b"");
    let report = &json(&seen.expect_code(1))[0];
    assert_eq!(report["places"][0]["path"], folder);
    assert_eq!(report["places"][0]["state"], "does not execute");
    assert_eq!(report["places"][1]["state"], "runs");
    let text = advice(report, "places");
    assert!(
        text.contains("TMPDIR") && text.contains("env=TMPDIR=[/dev/shm]"),
        "{text}"
    );
}

#[test]
fn start_up_files_that_print_or_take_long_have_advice() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let target = format!("{}@web1", NOISY.name);
    let seen = doctor_of(&server, &["--json", &target])
        .finish()
        .expect_code(1);
    let report = &json(&seen)[0];
    let printed = NOISY
        .startup
        .map(|(_, text)| text.contains("Welcome to noisy!"));
    assert_eq!(printed, Some(true), "the fixture prints");
    assert!(
        report["startup"][0]["bytes"].as_u64() > Some(20),
        "{report}"
    );
    let text = advice(report, "startup");
    assert!(text.contains("/bin/bash -c true` prints "), "{text}");

    // The login shell of root, with a home of its own.
    let scratch = ScratchDir::new("home");
    scratch.file(".profile", "echo hello\nsleep 2\n", 0o644);
    let target = format!("local,env=HOME=[{}]", scratch.path().display());
    let seen = doctor(&["--json", &target]).finish().expect_code(1);
    let report = &json(&seen)[0];
    assert_eq!(report["startup"][0]["bytes"], 0, "{report}");
    assert_eq!(report["startup"][1]["bytes"], 6, "{report}");
    assert!(
        report["startup"][1]["ms"].as_f64() >= Some(2000.0),
        "{report}"
    );
    let text = advice(report, "startup");
    assert!(
        text.contains("takes 2") && text.contains("prints 6 bytes (hops with `login` only)"),
        "{text}"
    );
}

#[test]
fn hostile_and_missing_tools_are_bounded_and_harmless() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("tools");
    let tool = |name: &str, script: &str| {
        scratch.file(name, format!("#!/bin/sh\n{script}\n"), 0o755);
    };
    // The bootstrap asks for the machine, and needs the truth.
    let machine = std::env::consts::ARCH;
    tool(
        "uname",
        &format!(
            "[ $1 = -m ]&&exec echo {machine}\nprintf 'x\\033[2J\\nuser=forged\\342\\200\\256\\nend=yes\\n'"
        ),
    );
    tool(
        "id",
        "while :;do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy >&2||exit;done",
    );
    tool("sudo", "exec sleep 100");
    let target = format!(
        "local,shell=[/bin/sh],env=PATH=[{}:/usr/bin:/bin]",
        scratch.path().display()
    );
    // A probe that never ends, in a context whose options are repeated in the advice.
    let scratch = ScratchDir::new("hangs");
    scratch.file("getent", "#!/bin/sh\nexec sleep 100\n", 0o755);
    let hangs = format!(
        "local,shell=[/bin/sh],env=PATH=[{}:/usr/bin:/bin]",
        scratch.path().display()
    );
    // Each waits for a tool until its time is up.
    std::thread::scope(|both| {
        let options = ["-o", "LogLevel INFO", "--connect-timeout=30"];
        let run = doctor(&options).args([&hangs]).limit(LIMIT);
        let hangs = &hangs;
        both.spawn(move || {
            let text = run.finish().expect_code(1).out();
            let again = format!(
                "hangs or fails: `offshoot run -o 'LogLevel INFO' --connect-timeout 30 --no-ask '{hangs}' -- sh -xc"
            );
            assert!(text.contains(&again), "{again} is missing in {text}");
        });
        for form in ["--json", "--connect-timeout=30"] {
            let run = doctor(&[form, &target]).limit(LIMIT);
            both.spawn(|| {
                let text = run.finish().expect_code(1).out();
                for part in ["forged", "sudo is slow"] {
                    assert!(text.contains(part), "{part:?} is missing in {text}");
                }
                let harmless = !text.contains(['\u{1b}', '\u{202e}']);
                assert!(harmless && text.len() < 20_000, "{text}");
            });
        }
    });
}

#[test]
fn the_steps_of_ssh_are_timed_by_one_more_login() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let target = format!("{}@web1", NOPASS.name);
    let seen = doctor_of(
        &server,
        &["--json", "--steps", &format!("{target}/command:[sh]")],
    )
    .finish()
    .expect_code(0);
    let steps = &json(&seen)[0]["steps"];
    let names: Vec<_> = steps["steps"]
        .as_array()
        .expect("it is a list")
        .iter()
        .collect();
    let names: Vec<_> = names
        .iter()
        .filter_map(|step| step["step"].as_str())
        .collect();
    assert_eq!(
        names,
        [
            "connect",
            "key exchange",
            "authentication",
            "session",
            "command",
            "image and agent"
        ]
    );
    let names: Vec<_> = json(&seen)[1]["steps"]["steps"]
        .as_array()
        .expect("it is a list")
        .iter()
        .map(|step| step["step"].clone())
        .collect();
    assert_eq!(names, ["program and shell", "image and agent"]);
    assert!(
        steps["kex"].as_str().is_some_and(|kex| !kex.is_empty()),
        "{steps}"
    );
    assert_eq!(steps["trouble"], serde_json::Value::Null);
    for key in ["first_result_ms", "with_fast_no_ms"] {
        let time = &json(&seen)[0]["ssh_fast"][key];
        assert!(time.as_f64().is_some_and(|ms| ms > 0.0), "{key}: {time}");
    }
}
