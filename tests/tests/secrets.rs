//! Passwords in the memory of processes, and access to agents by other users.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use offshoot::{ConnectErrorKind as Kind, Context};
use offshoot_tests::memory::Masked;
use offshoot_tests::process::{all, eventually, look_at, signal};
use offshoot_tests::pty::Terminal;
use offshoot_tests::run::{LIMIT, offshoot_binary};
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::tree::{ended, facts, hop, refused, router};
use offshoot_tests::users::{PASSWORD, PLAIN, PW};
use offshoot_tests::{Leaks, Run, Sshd};

#[track_caller]
fn up(outcome: offshoot::Result<Context>) -> Context {
    outcome.unwrap_or_else(|error| panic!("{error}"))
}

/// Returns the agents and guards whose memory contains a secret, with the number of copies.
fn holders(secret: &Masked) -> Vec<(String, usize)> {
    let agents = all()
        .into_values()
        .filter(|seen| seen.name.starts_with("offshoot") && !seen.zombie);
    let agents: Vec<_> = agents.collect();
    assert!(agents.len() > 1, "there are agents and guards");
    let found = agents.into_iter().map(|seen| {
        let count = secret.count_in(seen.pid);
        (format!("{} {}", seen.name, seen.arguments), count)
    });
    found.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn no_agent_memory_holds_a_password_after_its_hop_is_done() {
    let _leaks = Leaks::begin();
    let (server, asking) = (
        Sshd::start("web1"),
        Sshd::named("web2").password_only().start(),
    );
    let router = router();
    let right = Masked::from(PASSWORD.bytes());
    // The connect requests pass through an agent.
    let relay = up(router.local().connect());
    let login = up(hop(&relay, &server, PW).connect());
    let root = up(login.sudo().password(PASSWORD).connect());
    let second = up(hop(&relay, &asking, PW).password(PASSWORD).connect());
    assert_eq!(holders(&right), []);
    // Once more, in a request longer than one frame.
    let option = format!("SetEnv=X={}", "x".repeat(100_000));
    let long = hop(&relay, &asking, PW).option(option).password(PASSWORD);
    let outcome = long.connect();
    assert!(
        outcome.is_ok() || !outcome.unwrap_err().to_string().is_empty(),
        "whatever ssh says of it"
    );
    assert_eq!(holders(&right), []);

    // A sudo that never prompts: the agent keeps the password until the hop is cancelled or times
    // out.
    let scratch = ScratchDir::new("asking");
    let silent = scratch.file("silent", "#!/bin/sh\nexec sleep 1000\n", 0o755);
    let silent = silent.to_str().expect("our own path");
    for end in [None, Some(Duration::from_secs(3))] {
        let hop = login
            .sudo()
            .program(silent)
            .password(PASSWORD)
            .timeout(end.unwrap_or(LIMIT * 3));
        let connecting = hop.start().unwrap_or_else(|error| panic!("{error}"));
        assert!(
            eventually(LIMIT, || !holders(&right).is_empty()),
            "it can be found at all"
        );
        match end {
            None => drop(connecting.context().shutdown()),
            Some(_) => assert_eq!(refused(connecting.wait()).kind, Kind::TimedOut),
        }
        assert!(
            eventually(LIMIT, || holders(&right).is_empty()),
            "{end:?}: {:?}",
            holders(&right)
        );
    }
    let wrong = "wrong horse, no battery";
    assert_eq!(
        refused(login.sudo().password(wrong).connect()).kind,
        Kind::PasswordIncorrect
    );
    assert_eq!(
        refused(hop(&relay, &asking, PW).password(wrong).connect()).kind,
        Kind::PasswordIncorrect
    );
    assert_eq!(holders(&Masked::from(wrong.bytes())), []);
    assert_eq!(facts(&root).uid, 0);
    assert_eq!(facts(&second).user, PW.name);
}

/// Starts the command line at a terminal, answers its question with the password, and waits until
/// its program runs.
fn running(server: &Sshd, target: &str, question: &str) -> Terminal {
    let mut command = Command::new(offshoot_binary());
    command.args(["run", "-n", "-F"]).arg(server.config());
    command.args([target, "--", "sh", "-c", "echo it runs; exec sleep 1000"]);
    let mut terminal = Terminal::start(command, false);
    terminal.expect(question);
    terminal.type_line(PASSWORD);
    terminal.expect("it runs");
    terminal
}

#[test]
fn the_command_line_erases_a_password_once_its_target_is_connected() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let target = format!("{}@web1/sudo", PW.name);
    let terminal = running(&server, &target, "password for sudo of pw:");
    let controllers = all()
        .into_values()
        .filter(|seen| seen.arguments.contains("echo it runs"));
    let controllers: Vec<_> = controllers
        .filter(|seen| seen.arguments.contains(&target))
        .collect();
    assert_eq!(controllers.len(), 1, "{controllers:?}");
    let found = Masked::from(PASSWORD.bytes()).count_in(controllers[0].pid);
    signal(controllers[0].pid, Signal::SIGTERM);
    let (_, text) = terminal.finish();
    assert_eq!(found, 0, "{text}");
}

#[test]
fn an_answer_to_a_hop_of_this_machine_is_erased_as_well() {
    let _leaks = Leaks::begin();
    let server = Sshd::named("web1").password_only().start();
    let target = format!("{}@web1", PW.name);
    let terminal = running(&server, &target, "password for ssh of pw:");
    let found = Masked::from(PASSWORD.bytes()).count_in(terminal.pid());
    signal(terminal.pid(), Signal::SIGTERM);
    let (_, text) = terminal.finish();
    assert_eq!(found, 0, "{text}");
}

#[test]
fn the_command_line_leaves_no_core_file_at_a_question() {
    let _leaks = Leaks::begin();
    let server = Sshd::named("web1").password_only().start();
    let scratch = ScratchDir::new("cores");
    let mut command = Command::new("sh");
    let script = format!(
        "ulimit -c unlimited; exec {} run -n -F {} {}@web1 -- true",
        offshoot_binary().display(),
        server.config().display(),
        PW.name
    );
    command.args(["-c", &script]).current_dir(scratch.path());
    let mut terminal = Terminal::start(command, false);
    terminal.expect("password for ssh of pw:");
    let process = terminal.pid();
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).expect("it lives");
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let soft = core.expect("it is there").split_ascii_whitespace().nth(4);
    assert_eq!(soft, Some("0"), "{core:?}");
    signal(process, Signal::SIGABRT);
    assert_eq!(terminal.finish().0, 128 + Signal::SIGABRT as i32);
    assert_eq!(cores(scratch.path()), [""; 0]);
}

#[test]
fn only_root_can_inspect_the_command_line() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("own");
    let program = scratch.path().join("offshoot");
    fs::copy(offshoot_binary(), &program).expect("there is room");
    // It runs as an ordinary user, who has a program of its own look at it.
    let look = "head -c 1 /proc/$P/environ; head -c 1 /proc/$P/mem; ls /proc/$P/fd";
    let script = format!(
        "export P=$$; exec {} run -n local -- sh -c \"{look}\"",
        program.display()
    );
    let words = [
        "--reuid=12345",
        "--regid=12345",
        "--clear-groups",
        "sh",
        "-c",
        &script,
    ];
    let seen = Run::program("setpriv").args(words).finish();
    assert_eq!(
        seen.err().matches("Permission denied").count(),
        3,
        "{}",
        seen.err()
    );
}

#[test]
fn only_root_can_inspect_an_agent_but_its_programs_stay_inspectable() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    let context = up(hop(&router, &server, PLAIN).connect());
    let agent = facts(&context).process;
    let guard = look_at(agent).expect("it lives").parent;
    let said = |script: &str| {
        let output = context.command("sh").args(["-c", script]).output();
        let output = output.unwrap_or_else(|error| panic!("{error}"));
        (
            output.status.code,
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    };
    for process in [agent, guard] {
        for file in ["mem", "environ", "fd/0"] {
            let (code, text) = said(&format!("head -c 1 /proc/{process}/{file} >/dev/null"));
            assert!(
                code != Some(0) && text.contains("Permission denied"),
                "{file}: {code:?} {text}"
            );
        }
        let (_, text) = said(&format!("readlink /proc/{process}/exe || echo none"));
        assert_eq!(text, "none\n");
        // The output of ps is public.
        let script =
            format!("tr '\\0' ' ' </proc/{process}/cmdline; cut -d' ' -f2 /proc/{process}/stat");
        let (_, text) = said(&script);
        assert!(
            text.starts_with("offshoot: ssh.web1 ") && text.contains("(offshoot"),
            "{text}"
        );
    }
    let (code, text) = said("head -c 1 /proc/$$/environ >/dev/null && readlink /proc/$$/exe");
    assert_eq!(code, Some(0), "{text}");
}

fn cores(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("our own folder").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("core")).collect()
}

#[test]
fn agents_and_guards_write_no_core_files_but_programs_may() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("cores");
    std::env::set_current_dir(scratch.path()).expect("our own folder");
    let (_, hard) = getrlimit(Resource::RLIMIT_CORE).expect("there is a limit");
    assert_eq!(hard, RLIM_INFINITY, "core files are allowed here");
    setrlimit(Resource::RLIMIT_CORE, hard, hard).expect("a soft limit may be raised");
    let router = router();
    let context = up(router.local().shell("/bin/sh").connect());
    let below = up(context.local().connect());
    for place in [&context, &below] {
        let output = place
            .command("sh")
            .args(["-c", "ulimit -Sc; ulimit -Hc"])
            .output();
        let text = String::from_utf8(output.unwrap_or_else(|error| panic!("{error}")).stdout);
        assert_eq!(text.as_deref(), Ok("unlimited\nunlimited\n"), "in {place}");
        let agent = facts(place).process;
        for process in [agent, look_at(agent).expect("it lives").parent] {
            let limits = fs::read_to_string(format!("/proc/{process}/limits")).expect("it lives");
            let core = limits
                .lines()
                .find(|line| line.starts_with("Max core file size"));
            let soft = core.expect("it is there").split_ascii_whitespace().nth(4);
            assert_eq!(soft, Some("0"), "{core:?}");
        }
    }
    for place in [&below, &context] {
        let agent = facts(place).process;
        signal(agent, Signal::SIGABRT);
        assert!(eventually(LIMIT, || ended(agent)), "it is gone");
        assert_eq!(cores(scratch.path()), [""; 0]);
    }
    // A program leaves a core file if the system writes core files.
    if fs::read_to_string("/proc/sys/kernel/core_pattern")
        .is_ok_and(|pattern| pattern.starts_with("core"))
    {
        let context = up(router.local().connect());
        let program = context
            .command("sh")
            .args(["-c", "kill -ABRT $$"])
            .current_dir(scratch.path());
        let output = program.output().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(output.status.signal, Some(libc::SIGABRT));
        assert_eq!(cores(scratch.path()).len(), 1, "it leaves its core file");
    }
}
