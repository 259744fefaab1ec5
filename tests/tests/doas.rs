//! Hops through a real doas for users under every kind of rule.

use std::fs;
use std::path::Path;

use offshoot::methods::Doas;
use offshoot::{ConnectErrorKind as Kind, Context, Hop, Router};
use offshoot_tests::scratch::{ScratchDir, write_file};
use offshoot_tests::tree::{facts, hop, refused, router};
use offshoot_tests::users::{NOPASS, PASSWORD, PLAIN, PW, User};
use offshoot_tests::{Leaks, Run, Sshd};

/// A context on a host as one of the fixtures' users.
struct Login {
    context: Context,
    _router: Router,
    server: Sshd,
}

impl Login {
    fn of(user: User) -> Self {
        let server = Sshd::start("web1");
        let router = router();
        let context = hop(&router, &server, user).connect();
        Self {
            context: context.unwrap_or_else(|error| panic!("{error}")),
            _router: router,
            server,
        }
    }

    fn doas(&self) -> Hop<Doas> {
        self.context.doas()
    }
}

#[track_caller]
fn is(outcome: offshoot::Result<Context>, user: &str) -> Context {
    let context = outcome.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(facts(&context).user, user, "{context}");
    context
}

#[test]
fn doas_works_with_and_without_a_password() {
    let _leaks = Leaks::begin();
    let free = Login::of(NOPASS);
    let root = is(free.doas().connect(), "root");
    assert_eq!(root.name(), "ssh.web1.doas.root");
    is(free.doas().user(PLAIN.name).connect(), "plain");
    // An unneeded password does no harm.
    is(free.doas().password("unused").connect(), "root");
    drop(free);
    is(Login::of(PW).doas().password(PASSWORD).connect(), "root");
}

#[test]
fn a_login_and_other_options_apply_behind_doas() {
    let _leaks = Leaks::begin();
    let profile = Path::new("/home/plain/.profile");
    write_file(
        profile,
        "echo welcome\nFROM_PROFILE=read; export FROM_PROFILE\n",
        0o644,
    );
    let login = Login::of(NOPASS);
    let hop = login.doas().user(PLAIN.name).env("MARK", "1").umask(0o77);
    let context = is(hop.login(true).connect(), "plain");
    let script = "printf '%s %s ' \"$FROM_PROFILE\" \"$MARK\"; umask";
    let output = context.command("sh").args(["-c", script]).output();
    let output = output.unwrap_or_else(|error| panic!("{error}"));
    fs::remove_file(profile).expect("it was there");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "read 1 0077\n");
}

#[test]
fn doas_errors_are_distinguished() {
    let _leaks = Leaks::begin();
    let (asks, free, plain) = (Login::of(PW), Login::of(NOPASS), Login::of(PLAIN));
    for (hop, kind, detail, hint) in [
        (
            asks.doas().password("wrong"),
            Kind::PasswordIncorrect,
            "the password was not accepted",
            "doas asks for the password of the user who calls it",
        ),
        (
            asks.doas(),
            Kind::PasswordRequired,
            "it asks for a password and none was given",
            "password-file=PATH",
        ),
        (
            plain.doas().password(PASSWORD),
            Kind::Denied,
            "no rule of doas allows this",
            "/etc/doas.conf",
        ),
        (
            free.doas().user("ghost"),
            Kind::NoSuchUser,
            "the user to become does not exist there",
            "check the name",
        ),
        (
            free.doas().program("no-such-doas"),
            Kind::Start,
            "no-such-doas cannot be started",
            "is no-such-doas installed there?",
        ),
    ] {
        let error = refused(hop.connect());
        let text = error.to_string();
        assert!(text.contains(detail) && error.hint.contains(hint), "{text}");
        assert_eq!(error.kind, kind, "{text}");
        assert!(error.context.starts_with("ssh.web1.doas."), "{text}");
    }
}

#[test]
fn rules_of_doas_that_are_missing_or_open_to_others_are_reported() {
    let _leaks = Leaks::begin();
    let login = Login::of(NOPASS);
    let rules = Path::new("/etc/doas.conf");
    let text = fs::read_to_string(rules).expect("the fixtures have written it");
    write_file(rules, &text, 0o666);
    let open = login.doas().connect();
    write_file(rules, "permit nopass\n", 0o600);
    let broken = login.doas().connect();
    fs::remove_file(rules).expect("it was there");
    let missing = login.doas().connect();
    write_file(rules, &text, 0o600);
    for (outcome, part) in [
        (
            open,
            "does not trust its rules there: others may change them",
        ),
        (broken, "the rules of doas have an error there"),
        (missing, "doas has no rules there"),
    ] {
        let error = refused(outcome);
        assert_eq!(error.kind, Kind::Denied, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    is(login.doas().connect(), "root");
}

#[test]
fn a_password_of_doas_is_in_no_log() {
    let _leaks = Leaks::begin();
    let login = Login::of(PW);
    let scratch = ScratchDir::new("password");
    let file = scratch.file("password", format!("{PASSWORD}\n"), 0o600);
    let target = format!("ssh:pw@web1/doas,password-file=[{}]", file.display());
    let run = Run::offshoot(["run", "-vvv", "-F"])
        .arg(login.server.config())
        .arg(target);
    let seen = run.args(["--", "id", "-un"]).finish().expect_code(0);
    assert_eq!(seen.out(), "root\n");
    assert!(
        seen.err().contains("doas") && !seen.err().contains(PASSWORD),
        "{}",
        seen.err()
    );
}
