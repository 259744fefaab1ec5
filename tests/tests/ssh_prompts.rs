//! Prompts of ssh: which are answered, with what, and which fail the hop.

use std::process::{Command, Stdio};

use offshoot::ConnectErrorKind as Kind;
use offshoot_tests::process::{eventually, must_run};
use offshoot_tests::run::LIMIT;
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::sshd::config_for;
use offshoot_tests::tree::{facts, hop, refused, router};
use offshoot_tests::users::{NOPASS, PASSWORD, PLAIN, PW, client_key};
use offshoot_tests::{Leaks, Run, Sshd};

#[test]
fn the_ssh_agent_is_forwarded_only_on_request() {
    let _leaks = Leaks::begin();
    let server = Sshd::named("web1").client_line("ForwardAgent yes").start();
    let config = server.config().display().to_string();
    let target = format!("{}@web1", NOPASS.name);
    let scratch = ScratchDir::new("agent");
    let path = scratch.path().join("socket");
    let mut agent = Command::new("ssh-agent")
        .arg("-D")
        .arg("-a")
        .arg(&path)
        .stdout(Stdio::null())
        .spawn();
    let agent = agent.as_mut().expect("it comes with ssh");
    assert!(
        eventually(LIMIT, || path.exists()),
        "the ssh agent does not listen"
    );
    let socket = |options: &[&str]| {
        let run = Run::offshoot(["run", "-n", "-F", &config])
            .env("SSH_AUTH_SOCK", &path)
            .args(options);
        run.args([&target, "--", "sh", "-c", "echo ${SSH_AUTH_SOCK:-none}"])
            .finish()
            .expect_code(0)
            .out()
    };
    assert_eq!(socket(&[]), "none\n");
    for asked in [&["-A"][..], &["-o", "ForwardAgent yes"]] {
        assert_ne!(socket(asked), "none\n", "{asked:?}");
    }
    // The server removes its sockets at the end of the session, possibly after the command has
    // ended.
    let sockets = || std::fs::read_dir("/tmp").expect("it is there").flatten();
    let gone = || !sockets().any(|entry| entry.file_name().to_string_lossy().starts_with("ssh-"));
    assert!(eventually(LIMIT, gone), "a socket of the server stays");
    agent.kill().expect("it lives");
    agent.wait().expect("it was killed");
}

#[test]
fn a_given_password_suppresses_ssh_askpass() {
    let _leaks = Leaks::begin();
    let server = Sshd::named("web1").password_only().start();
    let scratch = ScratchDir::new("askpass");
    let asked = scratch.path().join("asked");
    let window = scratch.file(
        "askpass",
        format!("#!/bin/sh\necho \"$1\" >>{}\n", asked.display()),
        0o755,
    );
    let password = scratch.file("password", format!("{PASSWORD}\n"), 0o600);
    let target = format!("{}@web1,password-file=[{}]", PW.name, password.display());
    for required in ["prefer", "force"] {
        let run = Run::offshoot([
            "run",
            "-n",
            "-F",
            &server.config().display().to_string(),
            &target,
        ]);
        let run = run
            .env("SSH_ASKPASS", window.as_os_str())
            .env("SSH_ASKPASS_REQUIRE", required);
        assert_eq!(
            run.env("DISPLAY", ":0")
                .args(["--", "id", "-un"])
                .finish()
                .expect_code(0)
                .out(),
            "pw\n"
        );
    }
    assert!(!asked.exists(), "{:?}", std::fs::read_to_string(&asked));
}

/// Asserts that a hop through a jump host fails at a prompt of the jump host, although a password
/// was given.
#[track_caller]
fn not_asked(bastion: &Sshd, inner: &Sshd, question: &str) {
    let scratch = ScratchDir::new("jump");
    let config = config_for(&scratch, &[bastion, inner])
        .display()
        .to_string();
    let router = router();
    let error = refused(
        router
            .ssh(inner.alias())
            .config(config)
            .password(PASSWORD)
            .connect(),
    );
    assert_eq!(error.kind, Kind::Question, "{error}\n{:#?}", error.output);
    assert!(error.detail.ends_with(question), "{error}");
    assert!(
        !bastion.log().contains("password for"),
        "it was tried there: {}",
        bastion.log()
    );
}

#[test]
fn a_jump_host_never_gets_the_password_of_the_host_behind_it() {
    let _leaks = Leaks::begin();
    let bastion = Sshd::named("bastion")
        .password_only()
        .client_line(format!("User {}", PW.name))
        .start();
    let behind = |user: &str| {
        let inner = Sshd::named("inner")
            .password_only()
            .client_line("ProxyJump bastion");
        inner.client_line(format!("User {user}")).start()
    };
    not_asked(&bastion, &behind(NOPASS.name), "pw@127.0.0.1's password:");
    // The prompt is the same text: the same user on another port of the same address.
    not_asked(&bastion, &behind(PW.name), "pw@127.0.0.1's password:");
}

#[test]
fn the_host_behind_a_jump_gets_its_password() {
    let _leaks = Leaks::begin();
    let bastion = Sshd::named("bastion")
        .client_line(format!("User {}", PLAIN.name))
        .start();
    let inner = Sshd::named("inner")
        .password_only()
        .client_line("ProxyJump bastion");
    let inner = inner.client_line(format!("User {}", PW.name)).start();
    let scratch = ScratchDir::new("jump");
    let config = config_for(&scratch, &[&bastion, &inner])
        .display()
        .to_string();
    let router = router();
    let context = router
        .ssh("inner")
        .config(config)
        .password(PASSWORD)
        .connect();
    assert_eq!(
        facts(&context.unwrap_or_else(|error| panic!("{error}"))).user,
        "pw"
    );
}

/// Creates a key with a passphrase; returns its path and a line of sshd_config that accepts it for
/// every account.
fn locked_key(scratch: &ScratchDir, name: &str) -> (String, String) {
    let key = scratch.path().join(name);
    let path = key.display().to_string();
    must_run(
        "ssh-keygen",
        &["-q", "-t", "ed25519", "-N", "a passphrase", "-f", &path],
        b"",
    );
    let public = std::fs::read_to_string(key.with_extension("pub")).expect("it was just made");
    let authorized = scratch.file(&format!("{name}-authorized"), public, 0o644);
    (path, format!("AuthorizedKeysFile {}", authorized.display()))
}

/// Returns a hop with only this key.
fn with_key(
    router: &offshoot::Router,
    server: &Sshd,
    key: &str,
) -> offshoot::Hop<offshoot::methods::Ssh> {
    let host = router
        .ssh("127.0.0.1")
        .config("/dev/null")
        .user(PW.name)
        .port(server.address().port());
    let host = host.option(format!(
        "UserKnownHostsFile={}",
        server.known_hosts().display()
    ));
    host.option("IdentitiesOnly=yes").identity(key)
}

#[test]
fn a_key_with_a_passphrase_is_named_instead_of_asking_for_a_password() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("locked");
    let (key, line) = locked_key(&scratch, "locked");
    let server = Sshd::named("web1").line(line).start();
    let router = router();
    let error = refused(with_key(&router, &server, &key).connect());
    assert_eq!(error.kind, Kind::Denied, "{error}\n{:#?}", error.output);
    assert!(
        error.detail.contains(&format!("is locked: {key}")),
        "{error}"
    );
    assert!(error.hint.contains("ssh-add"), "{error}");
}

#[test]
fn a_passphrase_prompt_with_a_long_path_does_not_block_the_password() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("locked");
    for name in ["k".to_owned(), "k".repeat(46), "long-".repeat(40)] {
        let (key, line) = locked_key(&scratch, &name);
        let server = Sshd::named("web1").line(line).start();
        let router = router();
        let context = with_key(&router, &server, &key)
            .password(PASSWORD)
            .connect();
        assert_eq!(
            facts(&context.unwrap_or_else(|error| panic!("{name}: {error}"))).user,
            "pw"
        );
    }
}

#[test]
fn a_missing_or_world_readable_key_file_is_the_reported_reason() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let scratch = ScratchDir::new("keys");
    let text = std::fs::read(client_key()).expect("the fixtures made it");
    let open = scratch.file("open key", text, 0o644).display().to_string();
    let missing = scratch.path().join("missing").display().to_string();
    let router = router();
    for (key, part) in [(&open, "others may read"), (&missing, "no such key file")] {
        let error = refused(with_key(&router, &server, key).connect());
        assert_eq!(error.kind, Kind::Denied, "{error}\n{:#?}", error.output);
        assert!(
            error.detail.contains(part) && error.detail.ends_with(key.as_str()),
            "{error}"
        );
    }
}

#[test]
fn an_accepted_key_is_distinguished_from_a_second_required_method() {
    let _leaks = Leaks::begin();
    let server = Sshd::named("web1")
        .line("AuthenticationMethods publickey,password")
        .start();
    let router = router();
    let error = refused(hop(&router, &server, PW).connect());
    assert_eq!(error.kind, Kind::PasswordRequired, "{error}");
    assert!(
        error
            .detail
            .ends_with("the key was accepted; the host asks for more (password)"),
        "{error}"
    );
    let context = hop(&router, &server, PW).password(PASSWORD).connect();
    assert_eq!(
        facts(&context.unwrap_or_else(|error| panic!("{error}"))).user,
        "pw"
    );
}

#[test]
fn a_keyboard_interactive_password_prompt_is_answered() {
    let _leaks = Leaks::begin();
    let server = Sshd::named("web1")
        .line("UsePAM yes")
        .line("KbdInteractiveAuthentication yes");
    let server = server
        .line("AuthenticationMethods keyboard-interactive")
        .start();
    let router = router();
    let context = hop(&router, &server, PW).password(PASSWORD).connect();
    assert_eq!(
        facts(&context.unwrap_or_else(|error| panic!("{error}"))).user,
        "pw"
    );
    let error = refused(hop(&router, &server, PW).password("wrong").connect());
    assert_eq!(error.kind, Kind::PasswordIncorrect, "{error}");
    drop(router);
    drop(server);
    // A leftover of Debian's pam_motd.
    let _ = std::fs::remove_file("/run/motd.dynamic");
}

#[test]
fn an_unanswerable_prompt_fails_the_hop_and_is_quoted() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("asks");
    for question in [
        "(pw@web1) Verification code: ",
        "Duo two-factor login\\nPasscode or option (1-3): ",
    ] {
        let text = format!(
            "#!/bin/sh\n[ \"$1\" = -G ]&&exit 1\nprintf '{question}' >/dev/tty\nexec sleep 1000\n"
        );
        let ssh = scratch.file("ssh", text, 0o755).display().to_string();
        let router = router();
        let error = refused(router.ssh("web1").program(ssh).password(PASSWORD).connect());
        assert_eq!(error.kind, Kind::Question, "{error}");
        let last = question.rsplit("\\n").next().unwrap_or_default().trim();
        assert!(error.detail.ends_with(last), "{error}");
    }
}

#[test]
fn verbose_shows_the_output_of_ssh_while_it_connects() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("banner");
    let banner = scratch.file("banner", "all is logged here\n", 0o644);
    let server = Sshd::named("web1")
        .line(format!("Banner {}", banner.display()))
        .start();
    let (config, target) = (
        server.config().display().to_string(),
        format!("{}@web1", NOPASS.name),
    );
    for (options, shown) in [(&["-v"][..], true), (&[], false)] {
        let run = Run::offshoot(["run", "-n", "-F", &config])
            .args(options)
            .args([&target, "--", "true"]);
        let said = run.finish().expect_code(0).err();
        assert_eq!(said.contains("all is logged here"), shown, "{said}");
        assert!(!said.contains("debug1:"), "{said}");
    }
}
