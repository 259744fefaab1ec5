//! Login shells, implementations of `sh`, and hosts with a minimal set of tools.

use offshoot::ConnectErrorKind;
use offshoot::stock::echo;
use offshoot_tests::hop::{
    Counter, Traps, agent_of, assert_says, facts_of, refused, router, sessions, up,
};
use offshoot_tests::mounts::Scene;
use offshoot_tests::process::{look_at, must_run};
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::shells::{INTERPRETERS, Sh, Tools};
use offshoot_tests::users::SHELLS;
use offshoot_tests::{Leaks, Sshd};

/// The programs that a host needs besides `sh` if a directory is writable and executable.
const LEAST: [&str; 3] = ["mkdir", "chmod", "rm"];

/// Programs that a shell bootstrap could use to read its payload; many of them read too far.
const READERS: [&str; 20] = [
    "head", "tail", "dd", "cat", "tee", "od", "xxd", "hexdump", "base64", "uudecode", "gzip",
    "gunzip", "zcat", "xz", "unxz", "lzma", "bzip2", "zstd", "tar", "sed",
];

/// Returns the words of a shell with these tools as its whole environment.
fn bare(tools: &Tools) -> Vec<String> {
    let shell = format!("{}/sh", tools.path());
    [
        "env",
        "-i",
        &format!("PATH={}", tools.path()),
        "HOME=/nonexistent",
        &shell,
    ]
    .map(str::to_owned)
    .into()
}

#[test]
fn each_of_nine_login_shells_starts_an_agent_over_ssh_on_the_first_attempt() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    for (number, user) in SHELLS.iter().enumerate() {
        let context = router
            .ssh("web1")
            .config(server.config().display().to_string())
            .user(user.name)
            .connect();
        let context = context.unwrap_or_else(|error| panic!("login shell {}: {error}", user.name));
        let facts = facts_of(&context);
        assert_eq!(facts.user, user.name);
        let agent = look_at(facts.process).expect("the agent runs on this machine");
        assert_eq!(
            (agent.name.as_str(), agent.arguments.as_str()),
            ("offshoot", "offshoot: ssh.web1")
        );
        context.shutdown().expect("it is up");
        assert_eq!(
            look_at(facts.process),
            None,
            "the agent of {} outlived its context",
            user.name
        );
        assert_eq!(
            sessions(&server),
            number + 1,
            "one attempt per login shell, {}",
            user.name
        );
    }
}

#[test]
fn each_of_nine_login_shells_starts_an_agent_locally() {
    let _leaks = Leaks::begin();
    let router = router();
    let scratch = ScratchDir::new("login");
    for user in SHELLS {
        // With a home that the shell has used before: fish creates files in a new one.
        let script = format!(
            "#!/bin/sh\nHOME=/home/{} exec {} \"$@\"\n",
            user.name, user.shell
        );
        let shell = scratch.file(user.name, script, 0o755);
        let context = router
            .local()
            .login_shell(shell.display().to_string())
            .connect();
        let facts =
            facts_of(&context.unwrap_or_else(|error| panic!("login shell {}: {error}", user.name)));
        assert_eq!(facts.user, "root", "login shell {}", user.name);
    }
}

#[test]
fn dash_bash_and_busybox_each_work_as_sh() {
    let _leaks = Leaks::begin();
    let router = router();
    for sh in Sh::ALL {
        for tools in [Tools::of_system(sh, &[]), Tools::of_busybox(sh, &[])] {
            let counter = Counter::new();
            up(router
                .local()
                .shell_words(counter.before(bare(&tools)))
                .connect());
            assert_eq!(counter.starts(), 1, "attempts with {sh:?}");
        }
    }
}

#[test]
fn neither_perl_nor_python_is_needed() {
    let _leaks = Leaks::begin();
    let router = router();
    for sh in Sh::ALL {
        for tools in [
            Tools::of_system(sh, &INTERPRETERS),
            Tools::of_busybox(sh, &INTERPRETERS),
        ] {
            up(router.local().shell_words(bare(&tools)).connect());
        }
    }
}

#[test]
fn a_shell_mkdir_chmod_and_rm_are_enough() {
    let _leaks = Leaks::begin();
    let router = router();
    for sh in Sh::ALL {
        let tools = Tools::only(sh, &LEAST);
        up(router.local().shell_words(bare(&tools)).connect());
    }
}

#[test]
fn a_missing_mkdir_chmod_or_rm_is_named_in_the_error() {
    let _leaks = Leaks::begin();
    let router = router();
    for there in [&LEAST[..2], &LEAST[1..], &["mkdir", "rm"], &[]] {
        let tools = Tools::only(Sh::Dash, there);
        let error = refused(
            router.local().shell_words(bare(&tools)).connect(),
            ConnectErrorKind::Bootstrap,
        );
        assert_says(&error, &["mkdir, chmod and rm"]);
    }
}

#[test]
fn perl_or_python_alone_is_enough_where_no_file_can_be_executed() {
    let _leaks = Leaks::begin();
    let router = router();
    for interpreter in INTERPRETERS {
        for sh in Sh::ALL {
            let tools = Tools::only(sh, &LEAST);
            let tools = tools.link(interpreter, &real(interpreter));
            for options in ["noexec", "ro"] {
                let scene = Scene::new(&tools).everywhere(options);
                let context = router.local().shell_words(scene.words()).connect();
                up(context.inspect_err(|_| eprintln!("{interpreter} alone, {sh:?}, {options}")));
            }
        }
    }
}

/// Returns the path of the interpreter itself, because the name in `PATH` may be a script that
/// needs more programs.
fn real(interpreter: &str) -> String {
    let ask = match interpreter {
        "perl" => vec!["-e", "print $^X"],
        _ => vec!["-c", "import sys; print(sys.executable)"],
    };
    must_run(interpreter, &ask, b"").trim().to_owned()
}

#[test]
fn no_program_of_the_host_reads_the_image_or_the_bytes_after_it() {
    let _leaks = Leaks::begin();
    let router = router();
    for sh in Sh::ALL {
        let traps = Traps::named(&READERS);
        let tools = Tools::only(sh, &LEAST);
        let path = format!("PATH={}:{}", traps.path().display(), tools.path());
        let shell = format!("{}/sh", tools.path());
        let words = ["env", "-i", path.as_str(), "HOME=/nonexistent", &shell].map(str::to_owned);
        // The call is sent right after the image: a program that reads too much would read it.
        let connecting = router
            .local()
            .shell_words(words.into())
            .start()
            .expect("the order is sent");
        let text: String = "behind the image ".repeat(20_000);
        let reply = connecting.context().start(echo { text: text.clone() });
        assert!(
            reply.wait().expect("the call arrives whole") == text,
            "the echo differs, {sh:?}"
        );
        connecting.wait().expect("the call was answered");
        assert_eq!(traps.caught(), "", "{sh:?}");
    }
}

#[test]
fn the_agent_is_found_by_its_title() {
    let _leaks = Leaks::begin();
    let router = router();
    let context = router
        .local()
        .shell("/bin/sh")
        .connect()
        .expect("a shell is here");
    assert_eq!(agent_of(&context).pid, facts_of(&context).process);
}
