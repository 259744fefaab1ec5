//! Accounts over ssh that run no command of ours, or not at once: restricted and missing login
//! shells, forced commands, expired passwords. And what has ended: ssh itself, or a program there.

use std::path::Path;

use offshoot::{ConnectError, ConnectErrorKind as Kind};
use offshoot_tests::process::must_run;
use offshoot_tests::scratch::{ScratchDir, write_file};
use offshoot_tests::sshd::config_for;
use offshoot_tests::tree::{facts, hop, refused, router};
use offshoot_tests::users::{NOPASS, PASSWORD, PLAIN, RESTRICTED, User, client_key};
use offshoot_tests::{Leaks, Run, Sshd};

/// Adds an account with this login shell, named after the test that needs it.
fn account(name: &'static str, shell: &'static str) -> User {
    must_run("useradd", &["--create-home", "--shell", shell, name], b"");
    let password = format!("{name}:{PASSWORD}\n");
    must_run(
        "chpasswd",
        &["--crypt-method", "SHA512"],
        password.as_bytes(),
    );
    User {
        name,
        shell,
        ..PLAIN
    }
}

/// Asserts the kind, the beginning of the reason, and a part of the advice.
#[track_caller]
fn says(error: &ConnectError, kind: Kind, detail: &str, way_out: &str) {
    assert_eq!(error.kind, kind, "{error}\n{:#?}", error.output);
    assert!(error.detail.starts_with(detail), "{detail}: {error}");
    assert!(error.hint.contains(way_out), "{way_out}: {error}");
}

/// Returns the number of sessions that the server has opened.
fn sessions(server: &Sshd) -> usize {
    server.log().matches("Starting session: ").count()
}

#[test]
fn a_restricted_shell_starts_an_agent_in_the_second_attempt() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    let context = hop(&router, &server, RESTRICTED).connect();
    let context = context.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(facts(&context).user, RESTRICTED.name);
    let said = context.command("sh").args(["-c", "echo $0"]).output();
    assert_eq!(said.expect("it runs").stdout, b"sh\n");
    assert_eq!(sessions(&server), 2);
    // The first shell is given up for the second attempt; other accounts need none.
    hop(&router, &server, PLAIN).connect().expect("it is up");
    assert_eq!(sessions(&server), 3);
}

#[test]
fn a_restricted_shell_that_finds_no_sh_is_named() {
    let closed = account("closed", "/bin/rbash");
    write_file(
        Path::new("/home/closed/.bashrc"),
        "PATH=/home/closed\n",
        0o644,
    );
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    let error = refused(hop(&router, &server, closed).connect());
    let detail = "its login shell is restricted and finds no sh on its PATH";
    says(&error, Kind::Restricted, detail, "an account with a shell");
    assert_eq!(sessions(&server), 2);
}

#[test]
fn a_login_shell_that_runs_nothing_is_named() {
    let git = which("git-shell");
    let silent = account("silent", "/bin/false");
    let happy = account("happy", "/bin/true");
    let for_git = account("forgit", git);
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    for (user, status) in [(silent, 1), (happy, 0)] {
        let error = refused(hop(&router, &server, user).connect());
        let detail = format!(
            "its login shell, or a command forced in its place, ended with status {status} before"
        );
        says(&error, Kind::Exited, &detail, "the account's shell");
    }
    let error = refused(hop(&router, &server, for_git).connect());
    let detail = "the account is for git only (git-shell)";
    says(&error, Kind::Restricted, detail, "an account with a shell");
}

/// Returns the path of a program.
fn which(name: &str) -> &'static str {
    let path = must_run("sh", &["-c", &format!("command -v {name}")], b"");
    path.trim().to_owned().leak()
}

#[test]
fn an_account_for_sftp_only_is_named() {
    let _leaks = Leaks::begin();
    let router = router();
    for chroot in ["none", "/"] {
        let server = Sshd::named("web1")
            .line("Subsystem sftp internal-sftp")
            .line("ForceCommand internal-sftp")
            .line(format!("ChrootDirectory {chroot}"))
            .start();
        let error = refused(hop(&router, &server, NOPASS).connect());
        let detail = "the account is for sftp only (internal-sftp)";
        says(&error, Kind::Restricted, detail, "an account with a shell");
        // The user's own level of messages hides no reason.
        let quiet = hop(&router, &server, NOPASS).option("LogLevel=ERROR");
        says(&refused(quiet.connect()), Kind::Restricted, detail, "");
    }
}

#[test]
fn a_forced_command_of_a_key_is_named_with_its_file_and_line() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("keys");
    let public = std::fs::read_to_string(client_key().with_extension("pub"));
    let public = public.expect("the fixtures made it");
    let router = router();
    for (options, command, status) in [
        ("", "echo backups only; exit 3", 3),
        ("restrict,", "exit 255", 255),
    ] {
        let text = format!("# keys\n{options}command=\"{command}\" {public}");
        let keys = scratch.file("authorized", text, 0o644);
        let server = Sshd::named("web1")
            .line(format!("AuthorizedKeysFile {}", keys.display()))
            .start();
        let error = refused(hop(&router, &server, NOPASS).connect());
        let detail = format!(
            "the key has a command of its own (command= at {}:2), which ran instead of our agent and ended with status {status}",
            keys.display()
        );
        says(&error, Kind::Restricted, &detail, "use another key");
    }
    // A command that runs what is asked for does no harm.
    let text = format!("command=\"eval \\\"$SSH_ORIGINAL_COMMAND\\\"\" {public}");
    let keys = scratch.file("authorized", text, 0o644);
    let server = Sshd::named("web1")
        .line(format!("AuthorizedKeysFile {}", keys.display()))
        .start();
    let context = hop(&router, &server, NOPASS).connect();
    let context = context.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(facts(&context).user, NOPASS.name);
}

#[test]
fn permit_tty_no_does_no_harm() {
    let _leaks = Leaks::begin();
    let server = Sshd::named("web1").line("PermitTTY no").start();
    let router = router();
    let context = hop(&router, &server, NOPASS).connect();
    let context = context.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(facts(&context).user, NOPASS.name);
}

#[test]
fn a_jump_host_that_forbids_connections_is_named() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("jump");
    let router = router();
    let inner = Sshd::named("inner")
        .client_line("ProxyJump bastion")
        .client_line(format!("User {}", NOPASS.name))
        .start();
    for line in [
        "PermitOpen 127.0.0.1:1",
        "AllowTcpForwarding no",
        "DisableForwarding yes",
    ] {
        let bastion = Sshd::named("bastion")
            .line(line)
            .client_line(format!("User {}", PLAIN.name))
            .start();
        let config = config_for(&scratch, &[&bastion, &inner]);
        let host = router.ssh("inner").config(config.display().to_string());
        let error = refused(host.connect());
        let detail = "the last host on the way does not lead there";
        says(&error, Kind::Denied, detail, "PermitOpen");
    }
}

#[test]
fn an_account_that_may_not_log_in_is_told_from_a_wrong_key() {
    let locked = account("locked", "/bin/bash");
    must_run("usermod", &["-L", locked.name], b"");
    let shellless = account("shellless", "/bin/bash");
    must_run("usermod", &["-s", "/no/such/shell", shellless.name], b"");
    let expired = account("expired", "/bin/bash");
    must_run("chage", &["-E", "0", expired.name], b"");
    let renewing = account("renewing", "/bin/bash");
    must_run("chage", &["-d", "0", renewing.name], b"");
    let _leaks = Leaks::begin();
    let router = router();
    let pam = Sshd::named("web1").line("UsePAM yes").start();
    let error = refused(hop(&router, &pam, expired).connect());
    says(&error, Kind::Denied, "the account has expired", "chage -E");
    let error = refused(hop(&router, &pam, renewing).connect());
    let detail = "the host wants the password to be changed";
    says(&error, Kind::Denied, detail, "change it with plain ssh");
    drop(pam);
    // Without PAM sshd treats these users like ones that do not exist.
    let server = Sshd::named("web1")
        .line("PasswordAuthentication no")
        .start();
    for user in [locked, shellless] {
        let error = refused(hop(&router, &server, user).connect());
        let detail = "the host accepted none of our keys";
        says(
            &error,
            Kind::Denied,
            detail,
            "locked, expired or without an existing login shell",
        );
    }
    drop(server);
    // The key is right, and the user may not log in.
    let server = Sshd::named("web1").line("PermitRootLogin no").start();
    let root = User {
        name: "root",
        ..PLAIN
    };
    let error = refused(hop(&router, &server, root).connect());
    let detail = "the host knows the key, and still does not let this user in";
    says(&error, Kind::Denied, detail, "PermitRootLogin");
    drop((router, server));
    // A leftover of Debian's pam_motd.
    let _ = std::fs::remove_file("/run/motd.dynamic");
}

#[test]
fn the_end_of_ssh_is_told_from_the_end_of_a_program_there() {
    let _leaks = Leaks::begin();
    let router = router();
    let refused_by = |line: &str| {
        let server = Sshd::named("web1").line(line).start();
        refused(hop(&router, &server, NOPASS).connect())
    };
    let program = "its login shell, or a command forced in its place, ";
    let error = refused_by("ForceCommand exit 255");
    let detail = format!("{program}ended with status 255 before an agent was up");
    says(&error, Kind::Exited, &detail, "ssh itself did not fail");
    let error = refused_by("ForceCommand kill -9 $$");
    let detail = format!("{program}was killed before an agent was up");
    says(&error, Kind::Exited, &detail, "limits");
    let lost = "the connection was lost after the login, before an agent was up";
    let error = refused_by("ForceCommand kill -9 $PPID");
    says(&error, Kind::Exited, lost, "ssh itself ended");
    let error = refused_by("MaxSessions 0");
    says(
        &error,
        Kind::Denied,
        "the host opens no session",
        "MaxSessions",
    );
    // Before the login it has reasons of its own: see `ssh_failures`.
    let error = refused_by("ForceCommand no-such-command");
    says(
        &error,
        Kind::Exited,
        "its program ended with status 127",
        "",
    );
}

#[test]
fn status_255_of_a_program_is_told_from_a_failed_hop() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let config = server.config().display().to_string();
    let run = |user: &str, options: &[&str]| {
        let target = format!("{user}@web1");
        let run = Run::offshoot(["run", "-n", "-F", &config]).args(options);
        run.args([&target, "--", "sh", "-c", "exit 255"])
            .finish()
            .expect_code(255)
    };
    assert_eq!(run(NOPASS.name, &[]).err(), "");
    let failed = run("nologin", &[]).err();
    assert!(
        failed.contains("its login shell lets nobody in"),
        "{failed}"
    );
    let exited = run(NOPASS.name, &["--json"]).out();
    assert!(
        exited.contains("255") && !exited.contains("\"error\""),
        "{exited}"
    );
    let failed = run("nologin", &["--json"]).out();
    assert!(failed.contains("\"error\""), "{failed}");
}
