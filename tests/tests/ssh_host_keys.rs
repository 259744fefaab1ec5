//! Host keys that ssh does not accept: unknown, changed and revoked ones, of the host and of a host
//! on the way, each with its fingerprint and the way out.

use std::fs;
use std::path::Path;
use std::process::Command;

use offshoot::methods::HostKeys;
use offshoot::{ConnectError, ConnectErrorKind as Kind};
use offshoot_tests::process::must_run;
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::sshd::{SshdBuilder, config_for};
use offshoot_tests::tree::{facts, hop, refused, router};
use offshoot_tests::users::{NOPASS, PASSWORD, PLAIN, PW};
use offshoot_tests::{Leaks, Sshd};

/// Returns the fingerprint of the first key in a file, `SHA256:` and what follows.
fn fingerprint(file: impl AsRef<Path>) -> String {
    let listed = Command::new("ssh-keygen")
        .arg("-lf")
        .arg(file.as_ref())
        .output();
    let listed = String::from_utf8(listed.expect("it comes with ssh").stdout).expect("ASCII");
    let word = listed.split_ascii_whitespace().nth(1);
    word.expect("size, fingerprint, name").to_owned()
}

fn read(file: impl AsRef<Path>) -> String {
    fs::read_to_string(file).expect("the fixture wrote it")
}

/// Makes the file of known hosts that a client has if the server had another key before. Returns
/// the fingerprint of the real key.
fn forge(server: &Sshd, scratch: &ScratchDir) -> String {
    let real = fingerprint(server.known_hosts());
    let other = scratch.path().join("other");
    let path = other.to_str().expect("our own path");
    must_run(
        "ssh-keygen",
        &["-q", "-t", "ed25519", "-N", "", "-f", path],
        b"",
    );
    let key = read(other.with_extension("pub"));
    let line = format!("[127.0.0.1]:{} {key}", server.address().port());
    fs::write(server.known_hosts(), line).expect("the scratch directory is ours");
    real
}

#[track_caller]
fn says(error: &ConnectError, kind: Kind, detail: &str, way_out: &str) {
    assert_eq!(error.kind, kind, "{error}\n{:#?}", error.output);
    assert!(error.detail.contains(detail), "{detail}: {error}");
    assert!(error.hint.contains(way_out), "{way_out}: {error}");
}

#[test]
fn an_unknown_key_is_shown_with_the_commands_that_accept_it() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let shown = fingerprint(server.known_hosts());
    fs::write(server.known_hosts(), "").expect("the scratch directory is ours");
    let router = router();
    let detail = format!("the host's key is unknown: ssh-ed25519 {shown}");
    for checking in ["yes", "ask"] {
        let strict = format!("StrictHostKeyChecking={checking}");
        let error = refused(hop(&router, &server, NOPASS).option(&strict).connect());
        let plain = format!(
            "ssh -F {} -l nopass -o {strict} web1",
            server.config().display()
        );
        says(&error, Kind::HostKey, &detail, &plain);
        assert!(error.hint.contains("host-keys=accept-new"), "{error}");
    }
    // With a terminal ssh asks; the answer is no.
    let asked = hop(&router, &server, PW)
        .option("StrictHostKeyChecking=ask")
        .password(PASSWORD);
    let host = format!("[127.0.0.1]:{}", server.address().port());
    let detail = format!("the key of {host} is unknown: ED25519 {shown}");
    says(&refused(asked.connect()), Kind::HostKey, &detail, "web1");
    // A level of the user's own leaves out the fingerprint, and not the reason.
    let silent = hop(&router, &server, NOPASS).option("LogLevel=ERROR");
    let error = refused(silent.connect());
    says(&error, Kind::HostKey, "the host's key is unknown", "ssh -F");
}

#[test]
fn a_changed_key_is_shown_with_the_command_that_forgets_the_old_one() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let scratch = ScratchDir::new("forged keys");
    let shown = forge(&server, &scratch);
    // Its name needs the quotes of a shell.
    let known = scratch.file("known hosts", read(server.known_hosts()), 0o600);
    let option = format!("UserKnownHostsFile=\"{}\"", known.display());
    let router = router();
    let host = || hop(&router, &server, NOPASS).option(&option);
    for policy in [HostKeys::Configured, HostKeys::Enforce, HostKeys::AcceptNew] {
        let error = refused(host().host_keys(policy).connect());
        let detail = format!("the host's key has changed: it is ED25519 {shown}");
        says(
            &error,
            Kind::HostKeyChanged,
            &detail,
            "ask who runs the host",
        );
        assert!(error.detail.contains(&*known.to_string_lossy()), "{error}");
    }
    let error = refused(host().connect());
    let from = error.hint.find("ssh-keygen -R").expect("the way out");
    let (command, _) = error.hint[from..].split_once(", and").expect("the rest");
    must_run("sh", &["-c", &format!("{command} 2>/dev/null")], b"");
    assert_eq!(read(&known), "", "{command}");
    let context = host().host_keys(HostKeys::AcceptNew).connect();
    assert_eq!(facts(&context.expect("it is new now")).user, NOPASS.name);
}

#[test]
fn a_revoked_key_has_no_command_that_accepts_it() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let shown = fingerprint(server.known_hosts());
    let known = read(server.known_hosts());
    let scratch = ScratchDir::new("revoked");
    let key = known.split_once(' ').expect("host and key").1.to_owned();
    let list = scratch.file("list", &key, 0o644);
    let router = router();
    let host = || hop(&router, &server, NOPASS);
    let by_file = format!("RevokedHostKeys={}", list.display());
    let first = refused(host().option(&by_file).connect());
    fs::write(server.known_hosts(), format!("{known}@revoked * {key}")).expect("it is ours");
    let second = refused(host().host_keys(HostKeys::AcceptNew).connect());
    for (error, place) in [(first, &*list.to_string_lossy()), (second, "known hosts")] {
        let detail = format!("the host's key is revoked: ssh-ed25519 {shown}, in ");
        says(&error, Kind::HostKeyRevoked, &detail, "do not connect");
        assert!(error.detail.contains(place), "{error}");
        for accepting in ["ssh-keygen", "accept", "ssh -"] {
            assert!(!error.hint.contains(accepting), "{error}");
        }
    }
}

#[test]
fn a_host_certificate_is_accepted_by_its_authority_and_shown_without() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("authority");
    let path = |name: &str| scratch.path().join(name).display().to_string();
    let (authority, key) = (path("authority"), path("key"));
    for file in [&authority, &key] {
        must_run(
            "ssh-keygen",
            &["-q", "-t", "ed25519", "-N", "", "-f", file],
            b"",
        );
    }
    let public = format!("{key}.pub");
    let sign = |principal: &str| {
        let words = [
            "-q", "-s", &authority, "-I", "web1", "-h", "-n", principal, &public,
        ];
        must_run("ssh-keygen", &words, b"");
    };
    sign("127.0.0.1");
    let server = Sshd::named("web1")
        .line(format!("HostKey {key}"))
        .line(format!("HostCertificate {key}-cert.pub"))
        .start();
    let trusted = format!("@cert-authority * {}", read(format!("{authority}.pub")));
    let known = |text: &str| fs::write(server.known_hosts(), text).expect("it is ours");
    let router = router();
    let host = || {
        hop(&router, &server, NOPASS)
            .option("HostKeyAlgorithms=ssh-ed25519-cert-v01@openssh.com,ssh-ed25519")
    };
    known(&trusted);
    let context = host().connect().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(facts(&context).user, NOPASS.name);
    let shown = fingerprint(&public);
    known("");
    let error = refused(host().connect());
    let detail = format!("unknown: ssh-ed25519-cert-v01@openssh.com {shown}");
    says(&error, Kind::HostKey, &detail, "accept-new");
    known(&trusted.replace("@cert-authority", "@revoked"));
    let error = refused(host().connect());
    let detail = format!("revoked: ssh-ed25519-cert-v01@openssh.com {shown}");
    says(&error, Kind::HostKeyRevoked, &detail, "do not connect");
}

#[test]
fn a_key_of_a_host_on_the_way_is_told_from_that_of_the_host() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("way");
    let bastion = Sshd::named("bastion").client_line(format!("User {}", PLAIN.name));
    let bastion = bastion.start();
    let inner = Sshd::named("inner")
        .client_line("ProxyJump bastion")
        .client_line(format!("User {}", NOPASS.name))
        .start();
    let config = config_for(&scratch, &[&bastion, &inner]);
    let router = router();
    let error = |options: &[&str]| {
        let host = router.ssh("inner").config(config.display().to_string());
        let host = options
            .iter()
            .fold(host, |host, option| host.option(*option));
        refused(host.connect())
    };
    let on_the_way = "the key of a host on the way";
    let name = |server: &Sshd| format!("[127.0.0.1]:{}", server.address().port());
    let plain = format!("ssh -F {} inner", config.display());
    let (theirs, ours) = (read(bastion.known_hosts()), read(inner.known_hosts()));
    let write = |server: &Sshd, text: &str| {
        fs::write(server.known_hosts(), text).expect("it is ours");
    };
    // Unknown. It is named by ssh if it is strict, and by the route if it would ask.
    write(&bastion, "");
    let detail = format!("{on_the_way} is unknown: that of {}", name(&bastion));
    says(&error(&[]), Kind::HostKey, &detail, &plain);
    let asking = read(&config).replace("StrictHostKeyChecking yes", "StrictHostKeyChecking ask");
    fs::write(&config, asking).expect("it is ours");
    let detail = format!("{on_the_way} is unknown: that of bastion");
    says(&error(&[]), Kind::HostKey, &detail, &plain);
    write(&bastion, &theirs);
    write(&inner, "");
    let shown = {
        fs::write(scratch.path().join("inner"), &ours).expect("it is ours");
        fingerprint(scratch.path().join("inner"))
    };
    let detail = format!("the host's key is unknown: ssh-ed25519 {shown}");
    says(&error(&[]), Kind::HostKey, &detail, &plain);
    // Revoked.
    let revoked = |known: &str| known.replace("[127", "@revoked [127");
    write(&inner, &revoked(&ours));
    let detail = format!("the host's key is revoked: ssh-ed25519 {shown}");
    let strict = ["StrictHostKeyChecking=yes"];
    says(
        &error(&strict),
        Kind::HostKeyRevoked,
        &detail,
        "do not connect",
    );
    write(&inner, &ours);
    // Changed.
    let real = forge(&inner, &scratch);
    let detail = format!("the host's key has changed: it is ED25519 {real}");
    says(&error(&[]), Kind::HostKeyChanged, &detail, "ssh-keygen -R");
    write(&inner, &ours);
    fs::remove_file(scratch.path().join("other")).expect("it is made again");
    let real = forge(&bastion, &scratch);
    let host = name(&bastion);
    let detail = format!("{on_the_way} has changed: that of {host} is ED25519 {real}");
    says(
        &error(&[]),
        Kind::HostKeyChanged,
        &detail,
        &format!("-R '{host}' -f '"),
    );
}

/// Lines as ssh prints them if a key is refused, with a host and a file of the writer's choice.
const FORGED: &str = "debug1: Server host key: ssh-ed25519 SHA256:forged\n\
    The fingerprint for the ED25519 key sent by the remote host is\nSHA256:forged.\n\
    Offending ED25519 key in /root/x';forged;':1\n\
    Host key for forged';touch /forged;' has changed and you have requested strict checking.\n\
    No ED25519 host key is known for forged and you have requested strict checking.\n\
    Host key verification failed.\n";

#[test]
fn a_banner_cannot_claim_that_a_key_was_refused() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("banner");
    let banner = scratch.file("banner", FORGED, 0o644);
    let banner = format!("Banner {}", banner.display());
    let router = router();
    // A host refuses the user.
    let server = Sshd::named("web1").password_only().line(&banner).start();
    for level in ["DEBUG", "DEBUG1", "INFO"] {
        let host = hop(&router, &server, PW);
        let host = match level {
            "DEBUG" => host,
            level => host.option(format!("LogLevel={level}")),
        };
        let error = refused(host.connect());
        assert_eq!(error.kind, Kind::PasswordRequired, "{level}: {error}");
        let text = format!("{} {}", error.detail, error.hint);
        assert!(!text.contains("forged"), "{level}: {error}");
    }
    // A host ends the connection: the account has expired, which PAM notices.
    for level in [None, Some("INFO")] {
        must_run("chage", &["-E", "0", PLAIN.name], b"");
        let server = Sshd::named("web1").line("UsePAM yes").line(&banner).start();
        let host = hop(&router, &server, PLAIN);
        let host = match level {
            None => host,
            Some(level) => host.option(format!("LogLevel={level}")),
        };
        let error = refused(host.connect());
        must_run("chage", &["-E", "-1", PLAIN.name], b"");
        assert_eq!(error.kind, Kind::Denied, "{error}\n{:#?}", error.output);
        let text = format!("{} {}", error.detail, error.hint);
        assert!(!text.contains("forged"), "{error}");
    }
    // A host on the way refuses the user, or leads on as it should.
    let user =
        |server: SshdBuilder<'static>, name: &str| server.client_line(format!("User {name}"));
    let strict = user(
        Sshd::named("strict").password_only().line(&banner),
        PLAIN.name,
    )
    .start();
    let good = user(Sshd::named("good").line(&banner), PLAIN.name).start();
    for (jump, works) in [("strict", false), ("good", true)] {
        let inner = user(Sshd::named("inner"), NOPASS.name);
        let inner = inner.client_line(format!("ProxyJump {jump}")).start();
        let config = config_for(&scratch, &[&strict, &good, &inner]);
        let outcome = router
            .ssh("inner")
            .config(config.display().to_string())
            .connect();
        match works {
            true => assert_eq!(facts(&outcome.expect("it is let in")).user, NOPASS.name),
            false => {
                let error = refused(outcome);
                assert_eq!(error.kind, Kind::Denied, "{error}\n{:#?}", error.output);
            }
        }
    }
}
