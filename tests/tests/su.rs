//! Hops through a real su and a real runuser, for users with every kind of login shell, and through
//! stand-ins for su in other languages. Every hop of su carries frames through the pipes that carry
//! its password.

use std::fs;
use std::path::Path;

use offshoot::methods::Su;
use offshoot::{ConnectErrorKind as Kind, Context, Hop, Router, stock};
use offshoot_tests::hop::Traps;
use offshoot_tests::process::all;
use offshoot_tests::scratch::{ScratchDir, write_file};
use offshoot_tests::tree::{facts, hop, refused, router};
use offshoot_tests::users::{DEPLOY, NOLOGIN, PASSWORD, PLAIN, PW, SHELLS, User};
use offshoot_tests::{Leaks, Run, Sshd};

/// A context on a host as one of the fixtures' users.
struct Login {
    context: Context,
    router: Router,
    server: Sshd,
}

impl Login {
    fn of(user: User) -> Self {
        let server = Sshd::start("web1");
        let router = router();
        let context = connected(hop(&router, &server, user).connect());
        Self {
            context,
            router,
            server,
        }
    }

    fn su(&self, user: User) -> Hop<Su> {
        self.context.su().user(user.name)
    }
}

#[track_caller]
fn connected(outcome: offshoot::Result<Context>) -> Context {
    outcome.unwrap_or_else(|error| {
        let output = error.as_connect().map(|error| error.output.join("\n"));
        panic!("{error}\n{}", output.unwrap_or_default())
    })
}

#[track_caller]
fn is(outcome: offshoot::Result<Context>, user: &str) -> Context {
    let context = connected(outcome);
    assert_eq!(facts(&context).user, user, "{context}");
    context
}

fn printed(context: &Context, script: &str) -> String {
    let output = context.command("sh").args(["-c", script]).output();
    let output = output.unwrap_or_else(|error| panic!("{error}"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn su_takes_the_password_of_the_user_to_become() {
    let _leaks = Leaks::begin();
    let login = Login::of(PLAIN);
    let context = is(login.su(PW).password(PASSWORD).connect(), "pw");
    assert_eq!(context.name(), "ssh.web1.su.pw");
    // Bytes of any kind pass where the password passed.
    let text: String = ('\0'..='\u{3000}').cycle().take(1 << 20).collect();
    let echoed = context.call(stock::echo { text: text.clone() });
    assert!(echoed.is_ok_and(|echoed| echoed == text));
}

#[test]
fn su_as_root_needs_no_password_and_gets_none() {
    let _leaks = Leaks::begin();
    let router = router();
    for hop in [router.su(), router.su().password("unused")] {
        is(hop.user(PLAIN.name).connect(), "plain");
    }
    is(router.su().password("unused").connect(), "root");
}

#[test]
fn su_starts_every_login_shell_with_and_without_a_login() {
    let _leaks = Leaks::begin();
    let login = Login::of(PLAIN);
    for user in SHELLS {
        let hop = || login.su(user).password(PASSWORD);
        is(hop().connect(), user.name);
        let context = is(hop().login(true).connect(), user.name);
        assert_eq!(printed(&context, "pwd"), format!("/home/{}\n", user.name));
    }
}

#[test]
fn a_login_by_su_or_runuser_runs_the_startup_files() {
    let _leaks = Leaks::begin();
    let profile = Path::new("/home/deploy/.profile");
    write_file(
        profile,
        "echo welcome\nFROM_PROFILE=read; export FROM_PROFILE\n",
        0o644,
    );
    let login = Login::of(PLAIN);
    let root = &login.router;
    let su = |login_shell| {
        login
            .su(DEPLOY)
            .password(PASSWORD)
            .login(login_shell)
            .connect()
    };
    let runuser = |login_shell| {
        root.runuser()
            .user(DEPLOY.name)
            .login(login_shell)
            .connect()
    };
    for (outcome, seen) in [
        (su(false), ""),
        (su(true), "read"),
        (runuser(false), ""),
        (runuser(true), "read"),
    ] {
        let context = is(outcome, "deploy");
        assert_eq!(printed(&context, "printf %s \"$FROM_PROFILE\""), seen);
        assert_eq!(printed(&context, "printf %s \"$HOME\""), "/home/deploy");
    }
    fs::remove_file(profile).expect("it was there");
}

#[test]
fn su_errors_are_distinguished() {
    let _leaks = Leaks::begin();
    let login = Login::of(PLAIN);
    for (hop, kind, detail, hint) in [
        (
            login.su(PW).password("wrong"),
            Kind::PasswordIncorrect,
            "the password was not accepted",
            "su asks for the password of the user to become",
        ),
        (
            login.su(PW),
            Kind::PasswordRequired,
            "it asks for a password and none was given",
            "password-file=PATH",
        ),
        (
            login.context.su().user("ghost").password(PASSWORD),
            Kind::NoSuchUser,
            "the user to become does not exist there",
            "check the name",
        ),
        (
            login.su(NOLOGIN).password(PASSWORD),
            Kind::Denied,
            "the login shell of the user lets nobody in",
            "runuser",
        ),
        (
            login.su(PW).program("no-such-su"),
            Kind::Start,
            "no-such-su cannot be started",
            "is no-such-su installed there?",
        ),
        (
            login.context.su().user("-x"),
            Kind::Start,
            "user cannot be \"-x\"",
            "",
        ),
    ] {
        let error = refused(hop.connect());
        let text = error.to_string();
        assert!(text.contains(detail) && error.hint.contains(hint), "{text}");
        assert_eq!(error.kind, kind, "{text}");
        assert!(
            text.starts_with(&format!("{} ({})", error.context, error.hop)),
            "{text}"
        );
        assert!(error.context.starts_with("ssh.web1.su."), "{text}");
    }
}

#[test]
fn a_rule_of_pam_that_forbids_su_is_reported() {
    let _leaks = Leaks::begin();
    let rules = Path::new("/etc/pam.d/su");
    let before = fs::read_to_string(rules).expect("su is installed");
    write_file(
        rules,
        format!("auth requisite pam_wheel.so\n{before}"),
        0o644,
    );
    let login = Login::of(PLAIN);
    let outcome = login.su(PW).password(PASSWORD).connect();
    write_file(rules, before, 0o644);
    let error = refused(outcome);
    assert_eq!(error.kind, Kind::Denied, "{error}");
    assert!(
        error.detail.contains("su's rules do not allow this"),
        "{error}"
    );
    let quoted = error
        .output
        .iter()
        .any(|line| line.contains("Permission denied"));
    assert!(quoted, "{:?}", error.output);
}

/// Writes a stand-in for su that asks with these words, and complains with those.
fn stub(scratch: &ScratchDir, asks: &str, complains: &str) -> String {
    let script = format!(
        "#!/bin/sh\n{asks}\nread -r answer\n[ \"$answer\" = '{PASSWORD}' ]||{{ printf 'su: '>&2;sleep 0.2;\
         echo '{complains}'>&2;exit 1; }}\nshift\nexec sh \"$@\"\n"
    );
    let path = scratch.file("su", script, 0o755);
    path.to_str().expect("our own path").to_owned()
}

#[test]
fn prompts_and_refusals_of_su_in_any_language_are_understood() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("stub");
    for (asks, complains) in [
        (
            "printf 'Mot de passe\\302\\240: '>&2",
            "Échec d’authentification",
        ),
        ("printf '密码：'>&2", "鉴定故障"),
        (
            "printf 'パス'>&2;sleep 0.2;printf 'ワード: '>&2",
            "認証失敗",
        ),
        // busybox asks on stdout.
        ("printf 'Password: '", "incorrect password"),
    ] {
        let program = stub(&scratch, asks, complains);
        let router = router();
        let su = || router.su().program(&*program);
        is(su().password(PASSWORD).connect(), "root");
        let wrong = refused(su().password("wrong").connect());
        assert_eq!(wrong.kind, Kind::PasswordIncorrect, "{asks}: {wrong}");
        let none = refused(su().connect());
        assert_eq!(none.kind, Kind::PasswordRequired, "{asks}: {none}");
    }
    let program = stub(
        &scratch,
        "echo 'su: Benutzer ghost existiert nicht'>&2;exit 1",
        "",
    );
    let error = refused(router().su().program(&*program).user("ghost").connect());
    assert_eq!(error.kind, Kind::NoSuchUser, "{error}");
    let program = stub(&scratch, "echo 'su: Keine Berechtigung'>&2;exit 1", "");
    let error = refused(router().su().program(&*program).user("g").connect());
    assert_eq!(error.kind, Kind::Denied, "{error}");
    assert!(
        error
            .detail
            .ends_with("without a question: Keine Berechtigung"),
        "{error}"
    );
}

#[test]
fn the_su_of_busybox_asks_on_stdout_and_works() {
    let _leaks = Leaks::begin();
    let login = Login::of(PLAIN);
    let program = "/var/lib/offshoot-fixtures/shells/su";
    let su = |user: &str| login.context.su().user(user).program(program);
    is(su("pw").password(PASSWORD).connect(), "pw");
    is(su("fish").password(PASSWORD).login(true).connect(), "fish");
    for (hop, kind) in [
        (su("pw").password("wrong"), Kind::PasswordIncorrect),
        (su("pw"), Kind::PasswordRequired),
        (su("ghost"), Kind::NoSuchUser),
    ] {
        assert_eq!(refused(hop.connect()).kind, kind);
    }
}

#[test]
fn a_password_is_not_given_to_a_question_of_another_kind() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("stub");
    let heard = scratch.file("heard", "", 0o644);
    let keep = format!("read -r code;echo \"$code\" >>{}", heard.display());
    for (asks, part) in [
        (
            format!("printf 'Verification code: '>&2;{keep}"),
            "it asks for a code",
        ),
        (
            format!("printf 'New password: '>&2;{keep}"),
            "has to be changed",
        ),
        (
            format!("printf 'Password: '>&2;read -r answer;printf 'Token: '>&2;{keep}"),
            "it asks for a code",
        ),
        (
            format!("printf 'Who are you'>&2;{keep}"),
            "no answer was given for: Who are you",
        ),
    ] {
        let program = stub(&scratch, &asks, "");
        let error = refused(
            router()
                .su()
                .program(&*program)
                .password(PASSWORD)
                .connect(),
        );
        assert!(error.to_string().contains(part), "{asks}: {error}");
    }
    let heard = fs::read_to_string(heard).expect("it is ours");
    assert!(!heard.contains(PASSWORD), "{heard:?}");
}

#[test]
fn a_password_of_su_is_in_no_command_line_environment_or_log() {
    let _leaks = Leaks::begin();
    let login = Login::of(PLAIN);
    let _context = is(login.su(PW).password(PASSWORD).connect(), "pw");
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
    let scratch = ScratchDir::new("password");
    let file = scratch.file("password", format!("{PASSWORD}\n"), 0o600);
    let target = format!("ssh:plain@web1/su:pw,password-file=[{}]", file.display());
    let run = Run::offshoot(["run", "-vvv", "-F"])
        .arg(login.server.config())
        .arg(target);
    let seen = run.args(["--", "id", "-un"]).finish().expect_code(0);
    assert_eq!(seen.out(), "pw\n");
    assert!(
        seen.err().contains("su.pw") && !seen.err().contains(PASSWORD),
        "{}",
        seen.err()
    );
}

#[test]
fn runuser_becomes_any_user_from_root_alone() {
    let _leaks = Leaks::begin();
    let login = Login::of(PLAIN);
    let root = &login.router;
    is(root.runuser().user(PLAIN.name).connect(), "plain");
    is(root.runuser().connect(), "root");
    for user in SHELLS {
        is(root.runuser().user(user.name).connect(), user.name);
        is(
            root.runuser().user(user.name).login(true).connect(),
            user.name,
        );
    }
    // It starts no login shell, unless told to.
    is(root.runuser().user(NOLOGIN.name).connect(), "nologin");
    let runuser = || login.context.runuser();
    for (hop, kind, detail, hint) in [
        (
            // It is not in the PATH of users.
            runuser().user(PW.name).program("/usr/sbin/runuser"),
            Kind::Denied,
            "only root may use runuser",
            "sudo/runuser:USER",
        ),
        (
            root.runuser().user("ghost"),
            Kind::NoSuchUser,
            "the user to become does not exist there",
            "check the name",
        ),
        (
            root.runuser().user("ghost").login(true),
            Kind::NoSuchUser,
            "the user to become does not exist there",
            "check the name",
        ),
        (
            root.runuser().user(NOLOGIN.name).login(true),
            Kind::Exited,
            "ended with status 1",
            "This account is currently not available",
        ),
        (
            root.runuser().program("no-such-runuser"),
            Kind::Start,
            "no such program there: no-such-runuser",
            "part of util-linux",
        ),
    ] {
        let error = refused(hop.connect());
        let text = error.to_string();
        assert!(text.contains(detail) && text.contains(hint), "{text}");
        assert_eq!(error.kind, kind, "{text}");
    }
}

#[test]
fn su_runuser_sudo_doas_and_ssh_nest_in_any_order() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let scratch = ScratchDir::new("password");
    let file = scratch.file("password", format!("{PASSWORD}\n"), 0o600);
    let password = format!("password-file=[{}]", file.display());
    for (target, user) in [
        (
            format!("nopass@web1/su:plain,{password}/su:pw,{password}"),
            "pw",
        ),
        (
            format!("nopass@web1/sudo/su:plain/su:pw,{password}/sudo,{password}"),
            "root",
        ),
        (
            format!("nopass@web1/doas/runuser:nopass/sudo/su:pw/doas,{password}"),
            "root",
        ),
        (
            "local/su:nopass,login/nopass@web1/doas/runuser:dash,login/local".into(),
            "dash",
        ),
        (
            format!("su:nopass/doas:pw/doas,{password}/su:fish,login/su:tcsh,{password}"),
            "tcsh",
        ),
        (
            format!("runuser:plain/nopass@web1/sudo:rc/su:ksh93,{password},dir=[/tmp]"),
            "ksh93",
        ),
    ] {
        // Users have a key and the alias, and root has this configuration.
        let config = server.config().display().to_string();
        let first = target.starts_with("nopass@").then_some(["-F", &*config]);
        let run = Run::offshoot(["run"]).args(first.into_iter().flatten());
        let run = run.arg(&target).args(["--", "id", "-un"]);
        assert_eq!(
            run.finish().expect_code(0).out(),
            format!("{user}\n"),
            "{target}"
        );
    }
}

#[test]
fn a_su_that_is_found_first_in_path_is_the_one_that_runs() {
    let _leaks = Leaks::begin();
    let traps = Traps::named(&["su"]);
    let router = router();
    let path = format!("{}:/usr/bin:/bin", traps.path().display());
    let above = connected(router.local().env("PATH", path).connect());
    let error = refused(above.su().connect());
    assert_eq!(error.kind, Kind::Exited, "{error}");
    assert!(traps.caught().contains("/su"), "{}", traps.caught());
}
