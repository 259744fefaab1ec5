//! Hops through a real sudo for users under every kind of rule, and through stubs for other
//! implementations.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use offshoot::methods::Sudo;
use offshoot::{ConnectErrorKind as Kind, Context, Hop, Router, stock};
use offshoot_tests::process::all;
use offshoot_tests::scratch::{ScratchDir, write_file};
use offshoot_tests::tree::{facts, hop, refused, router};
use offshoot_tests::users::{NOEXEC, NOPASS, PASSWORD, PLAIN, PW, SHELLS, TTY, TTYPW, User};
use offshoot_tests::{Leaks, Run, Sshd};

/// A context on a host as one of the fixtures' users.
struct Login {
    context: Context,
    _router: Router,
    _server: Sshd,
}

impl Login {
    fn of(user: User) -> Self {
        let server = Sshd::start("web1");
        let router = router();
        let context = hop(&router, &server, user)
            .connect()
            .unwrap_or_else(|error| panic!("{error}"));
        Self {
            context,
            _router: router,
            _server: server,
        }
    }

    fn sudo(&self) -> Hop<Sudo> {
        self.context.sudo()
    }
}

#[track_caller]
fn is_root(outcome: offshoot::Result<Context>) -> Context {
    let context = outcome.unwrap_or_else(|error| panic!("{error}"));
    let facts = facts(&context);
    assert_eq!((facts.uid, facts.user.as_str()), (0, "root"));
    context
}

fn environment(context: &Context) -> BTreeMap<String, String> {
    context
        .call(stock::environment {})
        .unwrap_or_else(|error| panic!("{error}"))
        .into_iter()
        .collect()
}

#[test]
fn a_rule_without_password_needs_none() {
    let _leaks = Leaks::begin();
    let login = Login::of(NOPASS);
    let root = is_root(login.sudo().connect());
    assert_eq!(root.name(), "ssh.web1.sudo.root");
    // An unneeded password does no harm.
    is_root(login.sudo().password("unused").connect());
}

#[test]
fn a_noexec_sudo_rule_fails_and_leaves_no_files() {
    // The leak check compares the files.
    let _leaks = Leaks::begin();
    let error = refused(Login::of(NOEXEC).sudo().connect());
    assert_eq!(error.kind, Kind::Exited, "{error}");
    assert!(error.to_string().contains("may not be executed"), "{error}");
}

#[test]
fn a_password_is_given_when_sudo_asks() {
    let _leaks = Leaks::begin();
    is_root(Login::of(PW).sudo().password(PASSWORD).connect());
}

#[test]
fn a_wrong_password_is_reported() {
    let _leaks = Leaks::begin();
    let error = refused(Login::of(PW).sudo().password("wrong").connect());
    assert_eq!(error.kind, Kind::PasswordIncorrect, "{error}");
    let message = error.to_string();
    assert!(
        message.starts_with("ssh.web1.sudo.root (sudo): the password was not accepted"),
        "{message}"
    );
    assert!(message.contains("check the password"), "{message}");
}

#[test]
fn a_missing_password_is_distinguished_from_a_wrong_one() {
    let _leaks = Leaks::begin();
    let error = refused(Login::of(PW).sudo().connect());
    assert_eq!(error.kind, Kind::PasswordRequired, "{error}");
    let message = error.to_string();
    assert!(
        message.starts_with("ssh.web1.sudo.root (sudo): it asks for a password and none was given"),
        "{message}"
    );
    // The hint covers the library and the command line.
    assert!(
        message.contains(
            "password() in a program, password-file=PATH or a terminal on the command line"
        ),
        "{message}"
    );
}

#[test]
fn a_user_not_in_sudoers_is_denied_even_with_the_right_password() {
    let _leaks = Leaks::begin();
    let error = refused(Login::of(PLAIN).sudo().password(PASSWORD).connect());
    assert_eq!(error.kind, Kind::Denied, "{error}");
    assert!(error.detail.contains("may not use sudo"), "{error}");
    assert!(
        error
            .output
            .iter()
            .any(|line| line.contains("not in the sudoers file")),
        "{:?}",
        error.output
    );
}

#[test]
fn a_nonexistent_target_user_is_reported() {
    let _leaks = Leaks::begin();
    let error = refused(Login::of(NOPASS).sudo().user("ghost").connect());
    let message = error.to_string();
    assert!(
        message.starts_with("ssh.web1.sudo.ghost (sudo:ghost): the user to become does not exist"),
        "{message}"
    );
    assert!(
        error
            .output
            .iter()
            .any(|line| line.contains("unknown user")),
        "{:?}",
        error.output
    );
}

#[test]
fn a_missing_sudo_is_reported() {
    let _leaks = Leaks::begin();
    let error = refused(Login::of(PLAIN).sudo().program("no-such-sudo").connect());
    assert_eq!(error.kind, Kind::Start, "{error}");
    assert!(
        error
            .to_string()
            .contains("is no-such-sudo installed there?"),
        "{error}"
    );
}

#[test]
fn a_requiretty_rule_gets_a_terminal() {
    let _leaks = Leaks::begin();
    is_root(Login::of(TTY).sudo().connect());
    is_root(Login::of(TTYPW).sudo().password(PASSWORD).connect());
}

#[test]
fn sudo_can_switch_to_a_user_other_than_root() {
    let _leaks = Leaks::begin();
    let login = Login::of(NOPASS);
    let context = login
        .sudo()
        .user(PLAIN.name)
        .connect()
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        (facts(&context).user.as_str(), context.name()),
        ("plain", "ssh.web1.sudo.plain")
    );
}

#[test]
fn login_runs_the_startup_files_of_the_user() {
    let _leaks = Leaks::begin();
    let profile = Path::new("/home/plain/.profile");
    write_file(
        profile,
        "echo welcome\nexport FROM_PROFILE='read it'\n",
        0o644,
    );
    let login = Login::of(NOPASS);
    let without = login
        .sudo()
        .user(PLAIN.name)
        .connect()
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(environment(&without).get("FROM_PROFILE"), None);
    let with = login
        .sudo()
        .user(PLAIN.name)
        .login(true)
        .connect()
        .unwrap_or_else(|error| panic!("{error}"));
    let seen = environment(&with);
    fs::remove_file(profile).expect("it was there");
    assert_eq!(
        seen.get("FROM_PROFILE").map(String::as_str),
        Some("read it")
    );
    assert_eq!(seen.get("HOME").map(String::as_str), Some("/home/plain"));
}

#[test]
fn login_works_with_every_login_shell_but_rc() {
    let _leaks = Leaks::begin();
    let login = Login::of(NOPASS);
    // sudo escapes with backslashes, which rc does not understand, so `sudo -i CMD` never works
    // there.
    for user in SHELLS.iter().filter(|user| user.name != "rc") {
        let hop = login.sudo().user(user.name).login(true);
        let context = hop
            .connect()
            .unwrap_or_else(|error| panic!("{}: {error}", user.name));
        assert_eq!(facts(&context).user, user.name);
    }
}

#[test]
fn preserve_env_and_set_home_take_effect() {
    let _leaks = Leaks::begin();
    let server = Sshd::named("web1").line("AcceptEnv MARK").start();
    let router = router();
    let login = hop(&router, &server, NOPASS)
        .option("SetEnv=MARK=kept")
        .connect();
    let login = login.unwrap_or_else(|error| panic!("{error}"));
    let seen = |hop: Hop<Sudo>| {
        let mut seen = environment(&hop.connect().unwrap_or_else(|error| panic!("{error}")));
        (
            seen.remove("MARK").unwrap_or_default(),
            seen.remove("HOME").unwrap_or_default(),
        )
    };
    let pair = |mark: &str, home: &str| (mark.to_owned(), home.to_owned());
    assert_eq!(seen(login.sudo()), pair("", "/root"));
    assert_eq!(
        seen(login.sudo().preserve_env(true)),
        pair("kept", "/home/nopass")
    );
    assert_eq!(
        seen(login.sudo().preserve_env(true).set_home(true)),
        pair("kept", "/root")
    );
}

#[test]
fn pwfeedback_stars_are_not_mistaken_for_a_prompt() {
    let _leaks = Leaks::begin();
    let rule = Path::new("/etc/sudoers.d/zz-stars");
    write_file(rule, "Defaults:pw pwfeedback\n", 0o440);
    let login = Login::of(PW);
    let (right, wrong) = (
        login.sudo().password(PASSWORD).connect(),
        login.sudo().password("wrong").connect(),
    );
    fs::remove_file(rule).expect("it was there");
    is_root(right);
    assert_eq!(refused(wrong).kind, Kind::PasswordIncorrect);
}

/// Writes a stand-in for sudo that prompts on its terminal up to three times and then executes its
/// arguments.
fn stub(scratch: &ScratchDir, ask: &str) -> String {
    let script = format!(
        "#!/bin/sh\nprompt=$2\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nstty -echo </dev/tty\n\
         for time in 1 2 3; do\n{ask} >/dev/tty\nread -r answer </dev/tty\necho >/dev/tty\n\
         [ \"$answer\" = '{PASSWORD}' ] && exec \"$@\"\necho 'sudo: Authentication failed, try again.' >/dev/tty\ndone\n\
         echo 'sudo: Maximum 3 incorrect authentication attempts' >&2\nexit 1\n"
    );
    scratch
        .file("sudo", script, 0o755)
        .to_str()
        .expect("our own path")
        .to_owned()
}

#[test]
fn a_sudo_rs_prompt_that_wraps_ours_is_answered() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("stub");
    // With the prompts of sudo-rs 0.2 in English and in a language with a non-breaking space.
    for words in [
        "[sudo: %s] Password: ",
        "[sudo: %s] Mot de passe\\302\\240: ",
        "[sudo: authenticate] %s",
    ] {
        let program = stub(&scratch, &format!("printf '{words}' \"$prompt\""));
        let router = router();
        let context = router
            .sudo()
            .program(program.as_str())
            .password(PASSWORD)
            .connect();
        is_root(context);
        let wrong = refused(
            router
                .sudo()
                .program(program.as_str())
                .password("wrong")
                .connect(),
        );
        assert_eq!(wrong.kind, Kind::PasswordIncorrect, "{words}: {wrong}");
        let none = refused(router.sudo().program(program.as_str()).connect());
        assert_eq!(none.kind, Kind::PasswordRequired, "{words}: {none}");
    }
}

#[test]
fn a_password_is_in_no_command_line_or_environment() {
    let _leaks = Leaks::begin();
    let login = Login::of(PW);
    let root = is_root(login.sudo().password(PASSWORD).connect());
    let mut program = root
        .command("cat")
        .spawn()
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(facts(&root).uid, 0);
    let mut looked_at = 0;
    for pid in all().into_keys() {
        for file in ["cmdline", "environ", "comm"] {
            let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).replace('\0', " ");
            assert!(!text.contains(PASSWORD), "{file} of {pid}: {text}");
            looked_at += usize::from(!text.is_empty());
        }
    }
    assert!(looked_at > 10, "nothing was looked at");
    drop(program.stdin.take());
    program.wait().unwrap_or_else(|error| panic!("{error}"));
    let mut method = Sudo::default();
    method.password = Some(PASSWORD.into());
    let shown = format!("{method:?}");
    assert!(
        shown.contains("***") && !shown.contains(PASSWORD),
        "{shown}"
    );
}

#[test]
fn a_wrong_password_is_in_no_error() {
    let _leaks = Leaks::begin();
    let secret = "much too secret";
    let login = Login::of(PW);
    let outcome = login.sudo().password(secret).connect();
    let shown = format!("{outcome:?} {:?}", refused(outcome.clone()));
    assert!(
        shown.contains("PasswordIncorrect") && !shown.contains(secret),
        "{shown}"
    );
    let server = Sshd::named("closed").password_only().start();
    let router = router();
    let outcome = hop(&router, &server, PW).password(secret).connect();
    let shown = format!("{outcome:?} {:?}", refused(outcome.clone()));
    assert!(
        shown.contains("PasswordIncorrect") && !shown.contains(secret),
        "{shown}"
    );
}

#[test]
fn a_password_is_in_no_log() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let scratch = ScratchDir::new("password");
    let file = scratch.file("password", format!("{PASSWORD}\n"), 0o600);
    let target = format!("ssh:pw@web1/sudo:root,password-file=[{}]", file.display());
    let run = Run::offshoot(["run", "-vvv", "-F"])
        .arg(server.config())
        .arg(target)
        .args(["--", "id", "-u"]);
    let seen = run.finish().expect_code(0);
    assert_eq!(seen.out(), "0\n");
    assert!(
        seen.err().contains("ssh.web1"),
        "the log is empty: {}",
        seen.err()
    );
    assert!(!seen.err().contains(PASSWORD), "{}", seen.err());
}
