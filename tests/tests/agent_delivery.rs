//! Three ways in which the functions of a program reach a host.
//!
//! Runs the example projects below `controller/examples/projects` as their READMEs say; `cargo
//! xtask test` has copied them out of the workspace and built them. Also images that a program
//! provides itself, and threads started before `init`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use offshoot::{CallError, Error, Router};
use offshoot_test_agent as own;
use offshoot_tests::hop::sessions;
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::users::{NOPASS, client_key};
use offshoot_tests::{Finished, Leaks, Run, Sshd};

/// An example project: a directory whose `target` links to the build, and the commands of its
/// README.
struct Project {
    folder: ScratchDir,
    commands: Vec<String>,
}

impl Project {
    fn built(name: &str) -> Self {
        let built = std::env::var_os("OFFSHOOT_PROJECTS").expect("`cargo xtask test` sets it");
        assert!(
            Path::new(&built).exists(),
            "`cargo xtask test agent_delivery` builds the projects"
        );
        let folder = ScratchDir::new(name);
        symlink(built, folder.path().join("target")).expect("the directory is ours");
        let readme = Path::new("../controller/examples/projects")
            .join(name)
            .join("README.md");
        let text = fs::read_to_string(&readme)
            .unwrap_or_else(|error| panic!("{}: {error}", readme.display()));
        let commands = text
            .lines()
            .filter_map(|line| line.strip_prefix("$ "))
            .map(str::to_owned)
            .collect();
        Self { folder, commands }
    }

    /// Runs the one command that the README shows, as the shell script that `around` returns.
    fn run(&self, around: impl FnOnce(&str) -> String) -> Finished {
        let [command] = &self.commands[..] else {
            panic!("one command is shown: {:?}", self.commands)
        };
        // The variables of the suites must not help this program.
        let script = format!("unset OFFSHOOT_AGENTS; {}", around(command));
        Run::program("sh")
            .arg("-c")
            .arg(script)
            .directory(self.folder.path())
            .finish()
    }
}

/// Starts a host that everybody in the sandbox reaches by its name as `user`, with `line` in its
/// sshd_config.
fn host(name: &str, user: &str, line: &str) -> Sshd {
    let host = Sshd::named(name)
        .line(line)
        .client_line(format!("User {user}"));
    let keys = [
        client_key().display().to_string(),
        "~/.ssh/id_ed25519".to_owned(),
    ];
    keys.iter()
        .fold(host, |host, key| {
            host.client_line(format!("IdentityFile {key}"))
        })
        .start()
}

#[test]
fn the_stock_project_runs_programs_on_remote_hosts() {
    let _leaks = Leaks::begin();
    let tools = ScratchDir::new("tools");
    let _hosts = [("web1", 7), ("web2", 93)].map(|(name, percent)| {
        // Each host has its own `df`, which proves where the output comes from.
        let folder = tools.path().join(name);
        fs::create_dir(&folder).expect("the directory is ours");
        let script = format!("#!/bin/sh\necho Header; echo 'dev 1 2 3 {percent}% /'\n");
        tools.file(&format!("{name}/df"), script, 0o755);
        host(
            name,
            NOPASS.name,
            &format!("SetEnv PATH={}:/usr/bin:/bin", folder.display()),
        )
    });
    let seen = Project::built("stock").run(str::to_owned).expect_code(0);
    assert_eq!(seen.out(), " 93 % ssh.web2\n  7 % ssh.web1\n");
}

#[test]
fn the_own_agent_project_calls_its_function_on_a_remote_host() {
    let _leaks = Leaks::begin();
    let server = host("web1", NOPASS.name, "LogLevel VERBOSE");
    let project = Project::built("own-agent");
    // The program runs as an ordinary user who may not read these files: only the agent, as root,
    // can have read them.
    let hidden = ScratchDir::new("hidden");
    fs::create_dir_all(hidden.path().join("in/side")).expect("the directory is ours");
    let large = hidden.file("in/side/large", vec![0; 70_000], 0o600);
    let small = hidden.file("small", vec![0; 5], 0o600);
    let command =
        project.commands[0].replace("/etc", hidden.path().to_str().expect("our own path"));
    fs::set_permissions(
        hidden.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )
    .expect("it is ours");
    let seen = project.run(|shown| {
        assert!(shown.contains("/etc"), "{shown}");
        format!("exec runuser -u {} -- {command}", NOPASS.name)
    });
    let seen = seen.expect_code(0);
    assert_eq!(
        seen.out(),
        format!(
            "{:>12} {}\n{:>12} {}\n",
            70_000,
            large.display(),
            5,
            small.display()
        )
    );
    assert_eq!(sessions(&server), 1);
    // As shown in the README; a directory without the program's agent does no harm.
    for stock in ["", "export OFFSHOOT_AGENTS=/nonexistent; "] {
        let seen = project
            .run(|shown| format!("{stock}{shown}"))
            .expect_code(0);
        assert_eq!(seen.out().lines().count(), 10, "{}", seen.out());
    }
}

#[test]
fn a_static_program_sends_itself_and_calls_its_function_remotely() {
    let _leaks = Leaks::begin();
    // One host has a network of its own, so the function sees no listening sockets there.
    let _alone = host(
        "web1",
        "root",
        "ForceCommand unshare --net sh -c \"$SSH_ORIGINAL_COMMAND\"",
    );
    let usual = host("web2", "root", "LogLevel VERBOSE");
    let seen = Project::built("own-image")
        .run(str::to_owned)
        .expect_code(0);
    let out = seen.out();
    let [first, second] = out.lines().collect::<Vec<_>>()[..] else {
        panic!("{out}{}", seen.err())
    };
    assert_eq!(first, "web1: {}");
    assert!(
        second.contains(&usual.address().port().to_string()),
        "{second}"
    );
}

/// Reads an image that was built for the suites.
fn built(machine: &str, package: &str) -> Vec<u8> {
    let folder =
        PathBuf::from(std::env::var_os("OFFSHOOT_AGENTS").expect("`cargo xtask test` sets it"));
    let file = folder.join(format!("{machine}-unknown-linux-musl/{package}.image"));
    fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Reads the image of the suites' own agent for this machine.
fn image() -> Vec<u8> {
    built(std::env::consts::ARCH, "offshoot-test-agent")
}

#[test]
fn an_image_given_to_the_builder_is_the_one_sent() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = Router::builder()
        .image(image())
        .start()
        .unwrap_or_else(|error| panic!("{error}"));
    let config = server.config().display().to_string();
    let there = router.ssh("web1").config(config).user("root").connect();
    let there = there.unwrap_or_else(|error| panic!("{error}"));
    let here = router
        .local()
        .connect()
        .unwrap_or_else(|error| panic!("{error}"));
    for context in [there, here] {
        assert_eq!(context.call(own::place {}), Ok(context.name().to_owned()));
        let error = context.call(own::parse { text: "300".into() });
        assert_eq!(
            error.map_err(CallError::function),
            Err(Some(own::Odd::TooLarge { by: 45 }))
        );
    }
}

#[test]
fn an_image_for_another_platform_only_is_an_error_with_a_hint() {
    let _leaks = Leaks::begin();
    let [other, here] = match std::env::consts::ARCH {
        "x86_64" => ["aarch64", "x86_64"],
        _ => ["x86_64", "aarch64"],
    };
    let router = Router::builder()
        .image(built(other, "offshoot-agent"))
        .start();
    let refused = router.and_then(|router| router.local().connect().map(drop));
    let text = refused
        .expect_err("a stock agent was found somewhere")
        .to_string();
    for part in [
        "no agent for",
        here,
        other,
        "--manifest-path",
        "Builder::image",
    ] {
        assert!(text.contains(part), "{part:?} is missing: {text}");
    }
}

#[test]
fn a_missing_agent_of_a_package_is_named_with_the_place_and_the_command() {
    let _leaks = Leaks::begin();
    let router = Router::builder().package("no-such").start();
    let refused = router.and_then(|router| router.local().connect().map(drop));
    let text = refused.expect_err("there is none").to_string();
    let place = format!(
        "{}-unknown-linux-musl/no-such.image",
        std::env::consts::ARCH
    );
    for part in [
        "no agent no-such for",
        &place,
        "offshoot build-agent --manifest-path",
        "OFFSHOOT_AGENTS",
    ] {
        assert!(text.contains(part), "{part:?} is missing: {text}");
    }
}

#[test]
fn an_invalid_image_is_rejected_when_the_router_starts() {
    let _leaks = Leaks::begin();
    let whole = image();
    for (name, bytes) in [
        ("cut", &whole[..whole.len() - 1]),
        ("an agent, not its image", b"\x7fELF"),
        ("empty", b""),
    ] {
        let Err(Error::Image(text)) = Router::builder().image(bytes).start() else {
            panic!("{name} is taken")
        };
        assert!(
            text.contains(".image file of `offshoot build-agent`"),
            "{text}"
        );
    }
}

#[test]
fn own_image_without_init_is_rejected_when_the_router_starts() {
    let _leaks = Leaks::begin();
    // This program has not called init; it is dynamic and could not be sent anyway.
    let Err(Error::Image(text)) = Router::builder().own_image().start() else {
        panic!("it is its own image")
    };
    assert!(
        text.contains("does not begin with `offshoot::init()`"),
        "{text}"
    );
}

/// Prepares a run of `threaded` with that many threads before `init`.
fn threaded(threads: u32) -> Run {
    Run::program(env!("CARGO_BIN_EXE_threaded")).env("THREADS", threads.to_string())
}

#[test]
fn threads_before_init_are_an_error_that_shows_a_correct_main() {
    let _leaks = Leaks::begin();
    for (threads, running) in [(1, "2 threads"), (2, "3 threads"), (40, "41 threads")] {
        let seen = threaded(threads).finish().expect_code(0);
        let text = seen.out();
        for part in [
            "this program cannot be its own image",
            running,
            "\"early-0\"",
            "fn main() { offshoot::init(); runtime.block_on(...) }",
            "\nlocal\n",
        ] {
            assert!(text.contains(part), "{part:?} is missing: {text}");
        }
    }
    // Joined threads do not count; the next error is reported.
    let text = threaded(0).finish().expect_code(0).out();
    assert!(
        text.contains("linked dynamically") && text.contains("-unknown-linux-musl"),
        "{text}"
    );
}

#[test]
fn an_agent_with_threads_before_init_exits_with_one_line() {
    let _leaks = Leaks::begin();
    let stages = format!("..o{:08x}{:08x}{:016x}", 1, 1, 1);
    for variable in ["", "AGENT"] {
        for arguments in [
            vec![&*stages, "offshoot: somewhere"],
            vec!["--offshoot-functions"],
        ] {
            let mut run = threaded(2).args(&arguments);
            if !variable.is_empty() {
                run = run.env(variable, "1");
            }
            let seen = run.finish();
            assert_eq!((seen.code, seen.out().as_str()), (89, ""), "{}", seen.err());
            let text = seen.err();
            assert!(
                text.starts_with("offshoot-agent: ") && text.contains("with 3 threads running"),
                "{text}"
            );
            assert_eq!(text.lines().count(), 1, "{text}");
        }
    }
}
