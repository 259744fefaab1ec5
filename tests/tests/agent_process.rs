//! An agent seen from outside: its title, environment, descriptors, sealed memory and parent
//! process.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;

use offshoot::{Context, Router};
use offshoot_tests::hop::{agent_of, facts_of, router};
use offshoot_tests::mounts::Scene;
use offshoot_tests::process::{descendants, look_at};
use offshoot_tests::shells::{Sh, Tools};
use offshoot_tests::users::PLAIN;
use offshoot_tests::{Leaks, Sshd};

/// Starts a context in every possible way, each with a name for messages; `server` is `web1`.
fn started_in_every_way(router: &Router, server: &Sshd) -> Vec<(&'static str, Context)> {
    let config = server.config().display().to_string();
    let direct = router.local().connect().expect("a child of this program");
    let below = direct.local().connect().expect("a child of an agent");
    let shell = router
        .local()
        .shell("/bin/sh")
        .connect()
        .expect("a child by a shell");
    let remote = router
        .ssh("web1")
        .config(config)
        .user(PLAIN.name)
        .connect()
        .expect("a child by ssh");
    vec![
        ("direct", direct),
        ("below", below),
        ("shell", shell),
        ("ssh", remote),
    ]
}

#[test]
fn the_command_line_of_an_agent_is_its_context_name_only() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    for (way, context) in started_in_every_way(&router, &server) {
        let process = facts_of(&context).process;
        let raw = fs::read(format!("/proc/{process}/cmdline")).expect("the agent runs");
        let text = String::from_utf8_lossy(&raw).into_owned();
        assert_eq!(
            text.trim_end_matches(['\0', ' ']),
            format!("offshoot: {context}"),
            "{way}"
        );
        assert_eq!(
            look_at(process).expect("the agent runs").name,
            "offshoot",
            "{way}"
        );
    }
}

#[test]
fn an_agent_adds_no_environment_variables() {
    let _leaks = Leaks::begin();
    let router = router();
    let words = ["env", "-i", "PATH=/usr/bin:/bin", "ONLY=this", "/bin/dash"].map(str::to_owned);
    let context = router
        .local()
        .shell_words(words.into())
        .connect()
        .expect("a child by a shell");
    let variables = context
        .call(offshoot::stock::environment {})
        .expect("it answers");
    let mut names: Vec<&str> = variables.iter().map(|(name, _)| name.as_str()).collect();
    // dash itself sets this one.
    names.retain(|name| *name != "PWD");
    assert_eq!(names, ["ONLY", "PATH"]);
}

#[test]
fn image_and_agent_are_sealed_memfds() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    for (way, context) in started_in_every_way(&router, &server) {
        let process = facts_of(&context).process;
        let files = open_files(process);
        let memory: Vec<u32> = files
            .iter()
            .filter(|(_, target)| target.starts_with("/memfd:"))
            .map(|(fd, _)| *fd)
            .collect();
        assert_eq!(memory.len(), 2, "{way}: {files:?}");
        for fd in memory {
            let path = format!("/proc/{process}/fd/{fd}");
            let file = File::open(&path).expect("root may open it");
            // SAFETY: the call takes a descriptor that is open for its length and touches no
            // memory.
            let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
            let all =
                libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE | libc::F_SEAL_SEAL;
            assert_eq!(seals & all, all, "{way}: {path} is open to changes");
            let written = File::options()
                .write(true)
                .open(&path)
                .and_then(|mut file| file.write_all(b"x"));
            assert!(written.is_err(), "{way}: {path} was written to");
        }
        let program = fs::read_link(format!("/proc/{process}/exe")).expect("root may look");
        assert!(
            program.to_string_lossy().starts_with("/memfd:"),
            "{way}: {program:?}"
        );
    }
}

#[test]
fn image_and_agent_are_unlinked_read_only_files_under_memfd_noexec() {
    let _leaks = Leaks::begin();
    let (router, tools) = (router(), Tools::only(Sh::Dash, &["mkdir", "chmod", "rm"]));
    let scene = Scene::new(&tools).memfd_noexec(2);
    let context = router
        .local()
        .shell_words(scene.words())
        .connect()
        .expect("files are left");
    let files = open_files(agent_of(&context).pid);
    let nameless: Vec<&String> = files
        .values()
        .filter(|target| target.ends_with(" (deleted)"))
        .collect();
    assert_eq!(nameless.len(), 2, "{files:?}");
    for (fd, target) in &files {
        if target.ends_with(" (deleted)") {
            let about = fs::read_to_string(format!("/proc/{}/fdinfo/{fd}", agent_of(&context).pid));
            let flags = about.expect("the agent runs");
            let flags = flags
                .lines()
                .find_map(|line| line.strip_prefix("flags:\t"))
                .expect("always there");
            assert_eq!(
                flags.chars().last(),
                Some('0'),
                "{target} is open for writing: {flags}"
            );
        }
    }
}

#[test]
fn an_agent_holds_only_the_descriptors_it_needs() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    let contexts = started_in_every_way(&router, &server);
    // The context `direct` has a child and therefore one more link.
    for (way, context) in contexts.iter().filter(|(way, _)| *way != "direct") {
        let files = open_files(facts_of(context).process);
        let count = |kind: &str| {
            files
                .values()
                .filter(|target| target.starts_with(kind))
                .count()
        };
        // Both ends of the link, stdout and stderr with their readers, the pipes for SIGTERM and
        // for all other signals, and the socket shared with the guard.
        assert_eq!(
            count("pipe:") + count("socket:"),
            12,
            "{way}: pipes of {files:#?}"
        );
        assert_eq!(count("/memfd:"), 2, "{way}: image and agent of {files:#?}");
        assert_eq!(count("/dev/null"), 1, "{way}: stdin of {files:#?}");
        // The epoll instance and the eventfd that wakes it.
        assert_eq!(
            count("anon_inode:"),
            2,
            "{way}: kernel objects of {files:#?}"
        );
        assert_eq!(files.len(), 17, "{way}: {files:#?}");
    }
}

#[test]
fn a_guard_holds_stdin_stderr_a_signalfd_and_one_socket() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    for (way, context) in started_in_every_way(&router, &server) {
        let guard = look_at(facts_of(&context).process)
            .expect("the agent runs")
            .parent;
        let files = open_files(guard);
        let numbers: Vec<u32> = files.keys().copied().filter(|fd| *fd < 3).collect();
        assert_eq!(numbers, [0, 2], "{way}: {files:?}");
        let others: Vec<&String> = files
            .iter()
            .filter(|(fd, _)| **fd > 2)
            .map(|(_, target)| target)
            .collect();
        let known =
            |target: &&String| *target == "anon_inode:[signalfd]" || target.starts_with("socket:");
        assert!(
            others.len() == 2 && others.iter().all(known),
            "{way}: {files:?}"
        );
    }
}

#[test]
fn a_program_inherits_only_stdio_from_its_agent() {
    let _leaks = Leaks::begin();
    let router = router();
    let context = router
        .local()
        .shell("/bin/sh")
        .connect()
        .expect("a child by a shell");
    let output = context
        .command("/bin/busybox")
        .args(["ls", "/proc/self/fd"])
        .output()
        .expect("it runs");
    // 3 is the descriptor of the listing itself.
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n1\n2\n3\n");
}

#[test]
fn a_program_inherits_no_descriptors_of_the_shell_that_started_its_agent() {
    let _leaks = Leaks::begin();
    let router = router();
    let words = [
        "sh",
        "-c",
        "exec 7</etc/passwd 8>/dev/null; exec sh \"$@\"",
        "sh",
    ]
    .map(str::to_owned);
    let context = router
        .local()
        .shell_words(words.into())
        .connect()
        .expect("a child by a shell");
    let output = context
        .command("/bin/busybox")
        .args(["ls", "/proc/self/fd"])
        .output()
        .expect("it runs");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "0\n1\n2\n3\n",
        "a program of the agent inherits them"
    );
}

#[test]
fn only_the_guard_stands_between_parent_and_agent() {
    let _leaks = Leaks::begin();
    let router = router();
    let context = router
        .local()
        .shell("/bin/sh")
        .connect()
        .expect("a child by a shell");
    let agent = agent_of(&context);
    let guard = look_at(agent.parent).expect("it lives as long as the agent");
    assert_eq!(
        (guard.name.as_str(), &guard.arguments),
        ("offshoot-guard", &agent.arguments)
    );
    assert_eq!(
        guard.parent,
        std::process::id(),
        "the shell became the guard of the agent"
    );
    assert_eq!(descendants(agent.pid), [], "the agent has no helpers");
}

fn open_files(process: u32) -> BTreeMap<u32, String> {
    let listing =
        fs::read_dir(format!("/proc/{process}/fd")).expect("the agent runs, and root may look");
    let numbers = listing
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let target = |fd| {
        Some((
            fd,
            fs::read_link(format!("/proc/{process}/fd/{fd}"))
                .ok()?
                .to_string_lossy()
                .into_owned(),
        ))
    };
    numbers.filter_map(target).collect()
}
