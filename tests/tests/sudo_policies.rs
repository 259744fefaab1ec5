//! Hops through a real sudo under policies that administrators set: terminals, logs of input and
//! output, other passwords, prompts and environments.

use std::fs;
use std::path::Path;

use offshoot::methods::Sudo;
use offshoot::stock::echo;
use offshoot::{ConnectErrorKind as Kind, Context, Hop, Router};
use offshoot_tests::boxes::said;
use offshoot_tests::process::must_run;
use offshoot_tests::scratch::{ScratchDir, write_file};
use offshoot_tests::tree::{facts, hop, refused, router};
use offshoot_tests::users::{NOPASS, PASSWORD, PLAIN, PW};
use offshoot_tests::{Leaks, Sshd, skip};

/// The password of root, for policies that ask for it.
const OF_ROOT: &str = "root's own";

/// A policy in force; gone when dropped.
struct Policy {
    rule: &'static Path,
}

impl Policy {
    fn of(lines: &str) -> Self {
        let rule = Path::new("/etc/sudoers.d/zz-policy");
        write_file(rule, format!("{lines}\n"), 0o440);
        must_run(
            "visudo",
            &["-c", "-q", "-f", "/etc/sudoers.d/zz-policy"],
            b"",
        );
        Self { rule }
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.rule);
    }
}

/// Users on a host.
struct Host {
    pw: Context,
    nopass: Context,
    _router: Router,
    _server: Sshd,
}

impl Host {
    fn start() -> Self {
        let server = Sshd::start("web1");
        let router = router();
        let [pw, nopass] = [PW, NOPASS].map(|user| {
            let context = hop(&router, &server, user).connect();
            context.unwrap_or_else(|error| panic!("{error}"))
        });
        Self {
            pw,
            nopass,
            _router: router,
            _server: server,
        }
    }
}

/// Uses an agent behind sudo: messages of several frames, programs with much output and with input.
#[track_caller]
fn works(policy: &str, hop: Hop<Sudo>) -> Context {
    let context = hop.connect();
    let context = context.unwrap_or_else(|error| panic!("{policy}: {error}"));
    assert_eq!(facts(&context).uid, 0, "{policy}");
    let text = "more than a frame, \r\n\u{3}\u{4}\u{11}\u{13} ".repeat(20_000);
    let back = context.call(echo { text: text.clone() });
    assert!(
        back.unwrap_or_else(|error| panic!("{policy}: {error}")) == text,
        "{policy}"
    );
    let zeros = said(&context, &["sh", "-c", "head -c 3000000 /dev/zero"]);
    assert_eq!(zeros.len(), 3_000_000, "{policy}");
    context
}

#[test]
fn terminals_logs_and_environments_of_a_policy_change_nothing() {
    let _leaks = Leaks::begin();
    let host = Host::start();
    let logs = ScratchDir::new("sudo-io");
    let recorded = format!("log_input, log_output, iolog_dir={}", logs.path().display());
    for policy in [
        "use_pty",
        "!use_pty",
        &format!("use_pty, {recorded}"),
        &format!("!use_pty, {recorded}"),
        &format!("requiretty, use_pty, {recorded}, compress_io"),
        "env_reset, secure_path=/usr/bin:/bin",
        "!env_reset",
        "env_reset, env_delete+=HOME, always_set_home",
        "closefrom=3, umask=0077, umask_override",
        "exec_background, use_pty",
        "log_subcmds",
        "pam_session, !pam_setcred, timestamp_type=global",
        "lecture=always, insults, pwfeedback",
    ] {
        for user in [PW, NOPASS] {
            let _policy = Policy::of(&format!("Defaults:{} {policy}", user.name));
            let login = if user.name == PW.name {
                &host.pw
            } else {
                &host.nopass
            };
            let hop = login.sudo();
            let hop = if user.name == PW.name {
                hop.password(PASSWORD)
            } else {
                hop
            };
            let context = works(policy, hop);
            context
                .shutdown()
                .unwrap_or_else(|error| panic!("{policy}: {error}"));
        }
    }
}

#[test]
fn a_secure_path_without_a_shell_is_named() {
    let _leaks = Leaks::begin();
    let host = Host::start();
    let _policy = Policy::of("Defaults:nopass secure_path=/nonexistent");
    let error = refused(host.nopass.sudo().connect());
    let text = error.to_string();
    assert!(text.contains("ssh.web1.sudo.root"), "{text}");
    assert!(text.contains("sh: command not found"), "{text}");
}

#[test]
fn the_password_that_a_policy_wants_is_the_one_that_works() {
    let _leaks = Leaks::begin();
    let host = Host::start();
    must_run(
        "chpasswd",
        &["--crypt-method", "SHA512"],
        format!("root:{OF_ROOT}\n").as_bytes(),
    );
    for policy in ["rootpw", "targetpw", "runaspw, runas_default=root"] {
        let _policy = Policy::of(&format!("Defaults:pw {policy}"));
        works(policy, host.pw.sudo().password(OF_ROOT));
        let error = refused(host.pw.sudo().connect());
        assert_eq!(error.kind, Kind::PasswordRequired, "{policy}: {error}");
    }
    let _policy = Policy::of("Defaults:pw rootpw, insults");
    let error = refused(host.pw.sudo().password(PASSWORD).connect());
    assert_eq!(error.kind, Kind::PasswordIncorrect, "{error}");
    must_run("passwd", &["-q", "-l", "root"], b"");
}

#[test]
fn prompts_of_a_policy_are_answered_and_told_apart() {
    let _leaks = Leaks::begin();
    let host = Host::start();
    for policy in [
        "passprompt=\"Give me the secret of %p, please: \", passprompt_override",
        "passprompt=\"Passwort f\u{fc}r %p: \", passprompt_override, lecture=always",
        "lecture=always, passwd_tries=1",
        "insults, badpass_message=\"Password: \"",
    ] {
        let _policy = Policy::of(&format!("Defaults:pw {policy}"));
        works(policy, host.pw.sudo().password(PASSWORD));
        let error = refused(host.pw.sudo().connect());
        assert_eq!(error.kind, Kind::PasswordRequired, "{policy}: {error}");
        let error = refused(host.pw.sudo().password("wrong").connect());
        assert_eq!(error.kind, Kind::PasswordIncorrect, "{policy}: {error}");
    }
}

#[test]
fn a_time_limit_of_a_policy_is_named_when_it_ends_an_agent() {
    let _leaks = Leaks::begin();
    let host = Host::start();
    let _policy = Policy::of("Defaults:nopass command_timeout=2");
    let context = works("command_timeout", host.nopass.sudo());
    let sleeps = context.command("sleep").arg("100000").output();
    let error = sleeps.expect_err("sudo ends it").to_string();
    assert!(error.starts_with("ssh.web1.sudo.root: "), "{error}");
}

#[test]
fn a_translated_sudo_is_understood_by_its_prompt_or_quoted() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    let german = |user| {
        let login = hop(&router, &server, user);
        let login = login
            .env("LC_ALL", "C.UTF-8")
            .env("LANGUAGE", "de")
            .connect();
        login.unwrap_or_else(|error| panic!("{error}"))
    };
    let pw = german(PW);
    let said = pw.command("sudo").args(["-n", "true"]).output();
    let said = said.expect("it is installed").stderr;
    if !String::from_utf8_lossy(&said).contains("Passwort") {
        return skip("a translated sudo: its translations are not installed");
    }
    works("German", pw.sudo().password(PASSWORD));
    let error = refused(pw.sudo().connect());
    assert_eq!(error.kind, Kind::PasswordRequired, "{error}");
    let error = refused(pw.sudo().password("wrong").connect());
    assert_eq!(error.kind, Kind::PasswordIncorrect, "{error}");
    let error = refused(german(PLAIN).sudo().password(PASSWORD).connect());
    let text = error.to_string();
    assert!(
        text.contains("sudoers") && text.contains("last output"),
        "{text}"
    );
}
