//! Hosts with little of everything: descriptors, memory, processes, sizes of files, processor time.
//! An agent starts and works, or the error names the limit; nothing is left behind.

use offshoot::stock::{echo, ping};
use offshoot::{ConnectErrorKind as Kind, Context, Router};
use offshoot_tests::boxes::said;
use offshoot_tests::cgroups::MemoryLimit;
use offshoot_tests::hop::{assert_says, refused, router, up, words};
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::shells::{INTERPRETERS, Sh, Tools};
use offshoot_tests::users::NOPASS;
use offshoot_tests::{Leaks, Run, Sshd, skip};

/// A user without processes, also in sandboxes beside this one, since users are counted over all.
const NOBODY_ELSE: &str = "60417";

/// Returns the words of a shell below a limit that bash sets.
fn below(limit: &str) -> Vec<String> {
    words(&[
        "bash",
        "-c",
        &format!("{limit}; exec \"$@\""),
        "bash",
        "/bin/sh",
    ])
}

/// Returns the words of a shell below a limit, which finds these tools only.
fn below_with(limit: &str, tools: &Tools) -> Vec<String> {
    let script = format!("{limit}; exec \"$@\"");
    let path = format!("PATH={}", tools.path());
    let shell = format!("{}/sh", tools.path());
    words(&["bash", "-c", &script, "bash", "env", "-i", &path, &shell])
}

/// Connects a host below a limit and uses it: calls, messages of several frames, a program with
/// much output.
#[track_caller]
fn works(router: &Router, limit: &str, words: Vec<String>) -> Context {
    let context = router.local().shell_words(words).connect();
    let context = context.unwrap_or_else(|error| panic!("{limit}: {error}"));
    let text = "more than a frame ".repeat(20_000);
    let back = context.call(echo { text: text.clone() });
    assert!(
        back.unwrap_or_else(|error| panic!("{limit}: {error}")) == text,
        "{limit}"
    );
    let counted = said(&context, &["sh", "-c", "head -c 3000000 /dev/zero"]);
    assert_eq!(counted.len(), 3_000_000, "{limit}");
    context
}

/// Asserts that a host below a limit is refused, with an error that has these parts.
#[track_caller]
fn names(router: &Router, words: Vec<String>, kind: Kind, parts: &[&str]) {
    let error = refused(router.local().shell_words(words).connect(), kind);
    assert_says(&error, parts);
}

#[test]
fn an_agent_works_with_32_descriptors_and_its_programs_have_its_limit() {
    let _leaks = Leaks::begin();
    let router = router();
    for number in ["100", "32"] {
        let limit = format!("ulimit -n {number}");
        let context = works(&router, &limit, below(&limit));
        assert_eq!(said(&context, &["sh", "-c", "ulimit -n"]), number);
        context.shutdown().expect("it is up");
    }
    // Enough for further hops.
    let context = works(&router, "100 descriptors", below("ulimit -n 100"));
    up(context.local().connect());
    up(context.local().shell("/bin/sh").connect());
}

#[test]
fn too_few_descriptors_are_named_with_the_limit() {
    let _leaks = Leaks::begin();
    let router = router();
    for number in [8, 12, 16] {
        let host = below(&format!("ulimit -n {number}"));
        let way_out = &["open files", "ulimit -n"];
        names(&router, host, Kind::Bootstrap, way_out);
    }
    // A host whose agent is up has none left for the next hop.
    let seen = Run::program("bash")
        .args(["-c", "ulimit -n 16; exec \"$@\"", "bash"])
        .arg(offshoot_tests::run::offshoot_binary())
        .args(["run", "local", "--", "true"])
        .finish()
        .expect_code(255);
    assert!(seen.err().contains("ulimit -n"), "{}", seen.err());
}

#[test]
fn an_agent_works_in_16_mib_of_address_space() {
    let _leaks = Leaks::begin();
    let router = router();
    for kib in [65_536, 16_384] {
        let limit = format!("ulimit -v {kib}");
        let context = works(&router, &limit, below(&limit));
        up(context.local().connect());
        // A message that it has no memory for does not end it without a word.
        let text = "x".repeat(100 << 20);
        if let Err(error) = context.call(echo { text }) {
            assert!(error.to_string().starts_with("local"), "{error}");
        }
    }
    let controller = Run::program("bash")
        .args(["-c", "ulimit -v 65536; exec \"$@\"", "bash"])
        .arg(offshoot_tests::run::offshoot_binary())
        .args(["run", "local/local", "--", "echo", "done"])
        .finish()
        .expect_code(0);
    assert_eq!(controller.out(), "done\n");
}

#[test]
fn an_agent_works_in_a_control_group_of_64_mib() {
    let _leaks = Leaks::begin();
    let Some(group) = MemoryLimit::new("offshoot-64m", 64 << 20) else {
        return skip("64 MiB of memory: control groups cannot be made here");
    };
    let router = router();
    let host = group.words(&["/bin/sh"]);
    let context = works(&router, "64 MiB", host);
    up(context.local().connect());
}

#[test]
fn a_limit_of_processes_is_met_or_named() {
    let _leaks = Leaks::begin();
    let router = router();
    let host = |number: u32| {
        let script = format!("ulimit -u {number}; exec \"$@\"");
        let user = format!("--reuid={NOBODY_ELSE}");
        words(&[
            "setpriv",
            &user,
            "--clear-groups",
            "env",
            "HOME=/",
            "bash",
            "-c",
            &script,
            "bash",
            "/bin/sh",
        ])
    };
    works(&router, "8 processes", host(8));
    for number in [0, 1] {
        let parts = &["last output", "fork"];
        names(&router, host(number), Kind::Exited, parts);
    }
    // An agent, its guard, and two programs at most.
    let context = router.local().shell_words(host(4)).connect();
    let context = context.unwrap_or_else(|error| panic!("{error}"));
    let start = || context.command("cat").spawn().expect("the order is sent");
    let mut running: Vec<_> = (0..4).map(|_| start()).collect();
    let last = running.pop().expect("four were started");
    let error = last.wait().expect_err("there is no process for it");
    let error = error.to_string();
    assert!(error.contains("Resource temporarily"), "{error}");
    drop(running);
    context.call(ping {}).expect("it goes on");
}

#[test]
fn a_limit_of_file_sizes_on_a_host_is_named() {
    let _leaks = Leaks::begin();
    let router = router();
    for blocks in [0, 1, 200] {
        let limit = format!("ulimit -f {blocks}");
        names(&router, below(&limit), Kind::Bootstrap, &["ulimit -f"]);
        for interpreter in INTERPRETERS {
            let tools = Tools::only(Sh::Dash, &["mkdir", "chmod", "rm"]);
            let tools = tools.link(interpreter, &real(interpreter));
            let host = below_with(&limit, &tools);
            names(&router, host, Kind::Bootstrap, &["ulimit -f"]);
        }
    }
}

/// Returns the path of an interpreter itself, because a wrapper script would need more programs.
fn real(interpreter: &str) -> String {
    let ask = match interpreter {
        "perl" => ["-e", "print $^X"],
        _ => ["-c", "import sys; print(sys.executable)"],
    };
    let path = offshoot_tests::process::must_run(interpreter, &ask, b"");
    path.trim().to_owned()
}

#[test]
fn a_limit_of_file_sizes_at_the_controller_ends_no_command_by_a_signal() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let limited = |target: &str| {
        Run::program("bash")
            .args(["-c", "ulimit -f 0; exec \"$@\"", "bash"])
            .arg(offshoot_tests::run::offshoot_binary())
            .args(["run", "-F"])
            .arg(server.config())
            .args([target, "--", "sh", "-c", "echo done"])
    };
    let host = format!("{}@web1", NOPASS.name);
    let seen = limited(&host).finish().expect_code(0);
    assert_eq!(seen.out(), "done\n", "a host has limits of its own");
    let seen = limited("local").finish().expect_code(255);
    assert!(seen.err().contains("ulimit -f"), "{}", seen.err());
    // Output in a file.
    let scratch = ScratchDir::new("limited");
    let file = scratch.file("output", "", 0o600);
    let seen = Run::program("bash")
        .args([
            "-c",
            "ulimit -f 0; out=$1; shift; exec \"$@\" >\"$out\"",
            "bash",
        ])
        .arg(&file)
        .arg(offshoot_tests::run::offshoot_binary())
        .args(["run", "-F"])
        .arg(server.config())
        .args([&host, "--", "echo", "done"])
        .finish()
        .expect_code(255);
    assert!(seen.err().contains("File too large"), "{}", seen.err());
}

#[test]
fn a_program_beyond_its_processor_time_ends_and_its_agent_stays() {
    let _leaks = Leaks::begin();
    let router = router();
    let context = works(&router, "1 s", below("ulimit -t 1"));
    let output = context
        .command("sh")
        .args(["-c", "while :; do :; done"])
        .output();
    let status = output.expect("it runs").status;
    // The soft limit sends SIGXCPU, the hard one SIGKILL.
    let signals = [Some(libc::SIGXCPU), Some(libc::SIGKILL)];
    assert!(signals.contains(&status.signal), "{status:?}");
    context.call(ping {}).expect("it goes on");
}
