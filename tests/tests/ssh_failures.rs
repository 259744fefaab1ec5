//! Failed hops through ssh. Each error has its kind, names the context and the hop, gives the
//! reason and a hint.

use std::net::TcpListener;
use std::time::Duration;

use nix::sys::signal::Signal;
use offshoot::{ConnectError, ConnectErrorKind as Kind, stock};
use offshoot_tests::process::{descendants, must_run};
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::sshd::config_for;
use offshoot_tests::tree::{below, hop, refused, router, without_place};
use offshoot_tests::users::{NOLOGIN, NOPASS, PASSWORD, PLAIN, PW};
use offshoot_tests::{Leaks, Sshd};

/// Asserts the whole message: context, hop, reason and hint.
#[track_caller]
fn says(error: &ConnectError, kind: Kind, start: &str, way_out: &str) {
    assert_eq!(error.kind, kind, "{error}\n{:#?}", error.output);
    let message = without_place(error);
    assert!(message.starts_with(start), "{message}");
    assert!(message.contains(way_out), "{message}");
}

#[test]
fn a_wrong_password_is_reported() {
    let _leaks = Leaks::begin();
    let server = Sshd::named("web1").password_only().start();
    let router = router();
    let error = refused(hop(&router, &server, PW).password("wrong").connect());
    let start = "ssh.web1 (ssh:pw@web1): the password was not accepted";
    says(&error, Kind::PasswordIncorrect, start, "check the password");
}

#[test]
fn a_missing_password_is_distinguished_from_a_wrong_one() {
    let _leaks = Leaks::begin();
    let server = Sshd::named("web1").password_only().start();
    let router = router();
    let error = refused(hop(&router, &server, PW).connect());
    let start = "ssh.web1 (ssh:pw@web1): no key was accepted; the host would take a password";
    says(&error, Kind::PasswordRequired, start, "password-file=PATH");
}

#[test]
fn a_refused_key_is_reported_where_no_password_would_help() {
    let _leaks = Leaks::begin();
    let server = Sshd::named("web1")
        .line("PasswordAuthentication no")
        .start();
    let scratch = ScratchDir::new("key");
    let key = scratch.path().join("other_key");
    let key = key.to_str().expect("our own path");
    must_run(
        "ssh-keygen",
        &["-q", "-t", "ed25519", "-N", "", "-f", key],
        b"",
    );
    let router = router();
    let host = router
        .ssh("127.0.0.1")
        .config("/dev/null")
        .user(PLAIN.name)
        .port(server.address().port());
    let host = host.option(format!(
        "UserKnownHostsFile={}",
        server.known_hosts().display()
    ));
    let error = refused(host.option("IdentitiesOnly=yes").identity(key).connect());
    let port = server.address().port();
    let start = format!(
        "ssh.127.0.0.1:{port} (ssh:plain@127.0.0.1:{port}): the host accepted none of our keys"
    );
    says(&error, Kind::Denied, &start, "give one (identity(), -i)");
}

#[test]
fn a_closed_port_is_reported() {
    let _leaks = Leaks::begin();
    let free = TcpListener::bind("127.0.0.1:0")
        .expect("lo is up")
        .local_addr()
        .expect("bound")
        .port();
    let router = router();
    let error = refused(
        router
            .ssh("127.0.0.1")
            .config("/dev/null")
            .port(free)
            .connect(),
    );
    let start =
        format!("ssh.127.0.0.1:{free} (ssh:127.0.0.1:{free}): nothing listens at that port");
    says(
        &error,
        Kind::Unreachable,
        &start,
        "check the name, the port and the network",
    );
    assert!(
        error
            .output
            .iter()
            .any(|line| line.contains("Connection refused")),
        "{:?}",
        error.output
    );
}

#[test]
fn an_unknown_host_name_is_reported() {
    let _leaks = Leaks::begin();
    let router = router();
    let error = refused(router.ssh("nobody.invalid").config("/dev/null").connect());
    let start = "ssh.nobody.invalid (ssh:nobody.invalid): the name of the host is unknown";
    says(&error, Kind::Unreachable, start, "check the name");
}

#[test]
fn a_host_that_accepts_but_stays_silent_times_out() {
    let _leaks = Leaks::begin();
    let silent = TcpListener::bind("127.0.0.1:0").expect("lo is up");
    let port = silent.local_addr().expect("bound").port();
    let router = router();
    let host = router.ssh("127.0.0.1").config("/dev/null").port(port);
    // ssh gets our timeout rounded down to seconds, so that it times out first and explains why.
    let error = refused(host.timeout(Duration::from_millis(1900)).connect());
    let start = format!("ssh.127.0.0.1:{port} (ssh:127.0.0.1:{port}): the host does not answer");
    says(
        &error,
        Kind::Unreachable,
        &start,
        "check the name, the port and the network",
    );
}

#[test]
fn a_session_that_starts_no_agent_times_out() {
    let _leaks = Leaks::begin();
    let server = Sshd::named("web1")
        .line("ForceCommand echo still here; cat >/dev/null")
        .start();
    let router = router();
    let error = refused(
        hop(&router, &server, NOPASS)
            .timeout(Duration::from_millis(1500))
            .connect(),
    );
    let start = "ssh.web1 (ssh:nopass@web1): no agent was up within 1500 ms";
    says(&error, Kind::TimedOut, start, "last output: \"still here\"");
}

#[test]
fn the_output_of_a_forced_command_is_quoted() {
    let _leaks = Leaks::begin();
    let server = Sshd::named("web1")
        .line("ForceCommand echo only backups here; exit 3")
        .start();
    let router = router();
    let error = refused(hop(&router, &server, NOPASS).connect());
    let start = "ssh.web1 (ssh:nopass@web1): its login shell, or a command forced in its place, ended with status 3 before an agent was up";
    says(
        &error,
        Kind::Exited,
        start,
        "last output: \"only backups here\"",
    );
}

#[test]
fn the_message_of_a_nologin_account_is_quoted() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    let error = refused(hop(&router, &server, NOLOGIN).connect());
    says(
        &error,
        Kind::Restricted,
        "ssh.web1 (ssh:nologin@web1): its login shell lets nobody in (nologin)",
        "This account is currently not available",
    );
}

#[test]
fn a_missing_ssh_is_reported() {
    let _leaks = Leaks::begin();
    let router = router();
    let error = refused(router.ssh("web1").program("no-such-ssh").connect());
    says(
        &error,
        Kind::Start,
        "ssh.web1 (ssh:web1): no-such-ssh cannot be started",
        "is no-such-ssh installed",
    );
}

#[test]
fn the_complaint_of_ssh_about_a_bad_option_is_quoted() {
    let _leaks = Leaks::begin();
    let router = router();
    let error = refused(
        router
            .ssh("web1")
            .config("/dev/null")
            .option("NoSuchOption=yes")
            .connect(),
    );
    assert_eq!(error.kind, Kind::Exited, "{error}");
    assert!(
        error
            .output
            .iter()
            .any(|line| line.to_lowercase().contains("nosuchoption")),
        "{:?}",
        error.output
    );
}

#[test]
fn a_host_name_that_looks_like_an_option_is_not_parsed_as_one() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("option");
    let proof = scratch.path().join("executed");
    let router = router();
    let host = format!("-oProxyCommand=touch {}", proof.display());
    refused(router.ssh(host).config("/dev/null").connect());
    assert!(!proof.exists(), "the name was taken for an option");
}

#[test]
fn calls_to_a_host_whose_hop_fails_return_its_error() {
    let _leaks = Leaks::begin();
    let server = Sshd::named("web1").password_only().start();
    let router = router();
    let opened = hop(&router, &server, PW)
        .password("wrong")
        .start()
        .expect("the order is sent");
    let replies: Vec<_> = (0..10)
        .map(|_| opened.context().start(stock::ping {}))
        .collect();
    for reply in replies {
        let error = reply.wait().expect_err("the password is wrong").to_string();
        assert!(
            error.contains("ssh.web1") && error.contains("password was not accepted"),
            "{error}"
        );
    }
    let error = refused(opened.wait());
    assert_eq!(error.kind, Kind::PasswordIncorrect);
    assert!(!format!("{error:?} {error}").contains(PASSWORD));
    assert!(
        below().iter().all(|seen| seen.name != "ssh"),
        "ssh is left running"
    );
}

#[test]
fn a_failing_jump_host_is_named() {
    let _leaks = Leaks::begin();
    let free = TcpListener::bind("127.0.0.1:0")
        .expect("lo is up")
        .local_addr()
        .expect("bound")
        .port();
    let good = Sshd::named("good")
        .client_line(format!("User {}", PLAIN.name))
        .start();
    let strict = Sshd::named("strict")
        .password_only()
        .client_line(format!("User {}", PLAIN.name))
        .start();
    let scratch = ScratchDir::new("jump");
    for (jump, host, kind, part) in [
        (
            "strict",
            "",
            Kind::Denied,
            "did not accept us: plain@127.0.0.1",
        ),
        (
            &format!("127.0.0.1:{free}"),
            "",
            Kind::Unreachable,
            &format!("connect to host 127.0.0.1 port {free}: Connection refused"),
        ),
        (
            "nobody.invalid",
            "",
            Kind::Unreachable,
            "Could not resolve hostname nobody.invalid",
        ),
        (
            "good",
            &format!("Port {free}"),
            Kind::Unreachable,
            "the last host on the way cannot reach it: connect failed",
        ),
    ] {
        let inner = Sshd::named("inner").client_line(format!("User {}", NOPASS.name));
        let inner = inner
            .client_line(format!("ProxyJump {jump}"))
            .client_line(host)
            .start();
        let config = config_for(&scratch, &[&good, &strict, &inner])
            .display()
            .to_string();
        let router = router();
        let error = refused(router.ssh("inner").config(config).connect());
        assert_eq!(error.kind, kind, "{jump}: {error}\n{:#?}", error.output);
        assert!(error.detail.contains(part), "{jump}: {error}");
    }
}

#[test]
fn output_after_login_is_not_mistaken_for_an_ssh_failure() {
    let _leaks = Leaks::begin();
    let router = router();
    for line in [
        "curl: (7) Failed to connect: Connection refused",
        "ssh: connect to host db port 22: Connection refused",
        "Host key verification failed.",
        "kex_exchange_identification: Connection closed by remote host",
        "Connection closed by 10.0.0.1 port 22",
        "Connection to 10.0.0.1 closed by remote host.",
    ] {
        let server = Sshd::named("web1")
            .line(format!("ForceCommand echo '{line}' >&2; exit 7"))
            .start();
        let error = refused(hop(&router, &server, NOPASS).connect());
        let start = "ssh.web1 (ssh:nopass@web1): its login shell, or a command forced in its place, ended with status 7 before an agent was up";
        says(&error, Kind::Exited, start, line);
    }
}

#[test]
fn the_nologin_message_of_the_server_is_shown() {
    let _leaks = Leaks::begin();
    std::fs::write("/etc/nologin", "down for maintenance until noon\n").expect("the sandbox's own");
    for pam in ["yes", "no"] {
        let server = Sshd::named("web1").line(format!("UsePAM {pam}")).start();
        let router = router();
        let error = refused(hop(&router, &server, NOPASS).connect());
        assert!(
            error
                .output
                .iter()
                .any(|line| line.contains("maintenance until noon")),
            "{pam}: {error}\n{:#?}",
            error.output
        );
    }
    std::fs::remove_file("/etc/nologin").expect("it was made");
}

#[test]
fn a_lost_link_quotes_the_last_output_of_ssh() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let context = hop(&router, &server, NOPASS).connect().expect("it is up");
        let process = context
            .command("sleep")
            .arg("1000")
            .spawn()
            .expect("the order is sent");
        context.call(stock::ping {}).expect("it answers");
        for seen in descendants(server.pid())
            .iter()
            .filter(|seen| seen.name.starts_with("sshd"))
        {
            offshoot_tests::process::signal(seen.pid, signal);
        }
        let error = process
            .wait()
            .expect_err("the session has ended")
            .to_string();
        // The message depends on what ssh was doing at that moment.
        let said = ["closed by remote host", "client_loop: send disconnect"];
        assert!(
            said.iter().any(|said| error.contains(said)),
            "{signal}: {error}"
        );
    }
}
