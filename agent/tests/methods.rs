//! The arguments that methods give to their programs, and the reaction to the output: all but ssh,
//! and those of `tools.rs`.

use offshoot_agent::method::Local;
use offshoot_agent::method::Method;
use offshoot_agent::method::Sudo;
use offshoot_agent::method::{Doas, Pkexec, Run0, Runuser, Su};
use offshoot_agent::{ConnectErrorKind, Secret};
use offshoot_proto::connect::dialogue::{Act, Dialogue};
use offshoot_proto::connect::recipe::{Attach, Recipe};

/// Sets fields of a method, which cannot be created by its fields outside its crate.
macro_rules! with {
    ($method:expr, $($field:ident: $value:expr),* $(,)?) => {{
        let mut method = $method;
        $(method.$field = $value;)*
        method
    }};
}

/// Returns the kind of failure after this line.
fn verdict(recipe: &Recipe, line: &str) -> Option<ConnectErrorKind> {
    let mut dialogue = Dialogue::new(recipe.rules.clone());
    dialogue.line(line.as_bytes());
    dialogue.explanation().map(|why| why.kind)
}

#[test]
fn sudo_asks_with_a_prompt_of_our_own_and_short_flags() {
    let recipe = with!(Sudo::default(), user: "postgres".into(),
    login: true,
    set_home: true,
    preserve_env: true,
    role: Some("r".into()),
    selinux_type: Some("t".into()),
    )
    .recipe("5f2a");
    assert_eq!(
        recipe.argv,
        [
            "sudo",
            "-p",
            "[offshoot 5f2a] password: ",
            "-u",
            "postgres",
            "-i",
            "-H",
            "-E",
            "-r",
            "r",
            "-t",
            "t",
            "--"
        ]
    );
    assert_eq!(
        (recipe.attach, recipe.hop.as_str()),
        (Attach::GuardedWords, "sudo:postgres"),
        "a login expands dollars"
    );
    assert_eq!(Sudo::default().recipe("").attach, Attach::Words);
    assert_eq!(Sudo::default().recipe("").argv[3..], ["-u", "root", "--"]);
}

#[test]
fn sudo_error_lines_are_recognised() {
    use ConnectErrorKind::{Denied, NoSuchUser, PasswordRequired};
    let recipe = Sudo::default().recipe("5f");
    for (line, kind) in [
        (
            "plain is not in the sudoers file.  This incident will be reported.",
            Denied,
        ),
        (
            "Sorry, user plain is not allowed to execute '/bin/sh' as root on web1.",
            Denied,
        ),
        ("sudo: you must have a tty to run sudo", Denied),
        ("sudo: unknown user nobody-here", NoSuchUser),
        ("sudo: a password is required", PasswordRequired),
        (
            "sudo: The \"no new privileges\" flag is set, which prevents sudo from running as root.",
            Denied,
        ),
        (
            "sudo: effective uid is not 0, is /usr/bin/sudo on a file system with the 'nosuid' option set?",
            Denied,
        ),
        (
            "sudo: /usr/bin/sudo must be owned by uid 0 and have the setuid bit set",
            Denied,
        ),
    ] {
        assert_eq!(verdict(&recipe, line), Some(kind), "{line}");
    }
}

#[test]
fn local_executes_directly_unless_a_shell_is_given() {
    assert_eq!(Local::default().recipe("").attach, Attach::Direct);
    let shell = with!(Local::default(), shell: vec!["env".into(), "-i".into(), "/bin/dash".into()],
    );
    let recipe = shell.recipe("");
    assert_eq!(
        (recipe.attach, recipe.argv.len(), recipe.shell.join(" ")),
        (Attach::Words, 0, "env -i /bin/dash -c".into())
    );
    assert_eq!(
        with!(shell, login: true,
        )
        .recipe("")
        .attach,
        Attach::Line
    );
}

#[test]
fn su_and_runuser_name_the_user_and_a_login_shell() {
    let su = Su::default().recipe("");
    assert_eq!(su.argv, ["su", "root", "-c"]);
    assert_eq!((su.attach, su.hop.as_str()), (Attach::Line, "su"));
    assert!(
        su.asks_on_pipes && !su.terminal,
        "su reads the password from its stdin"
    );
    let login = with!(Su::default(), user: "postgres".into(), login: true,).recipe("");
    assert_eq!(login.argv, ["su", "-l", "postgres", "-c"]);
    let runuser = with!(Runuser::default(), user: "postgres".into(),).recipe("");
    assert!(runuser.argv[2].contains(":/usr/sbin:"), "{runuser:?}");
    assert_eq!(runuser.argv[4..], ["runuser", "-u", "postgres", "--"]);
    assert_eq!(
        (runuser.attach, runuser.hop.as_str()),
        (Attach::Words, "runuser:postgres")
    );
    let login = with!(Runuser::default(), user: "postgres".into(), login: true,).recipe("");
    assert_eq!(login.argv[4..], ["runuser", "-l", "postgres", "-c"]);
    assert_eq!(login.attach, Attach::Line);
}

#[test]
fn doas_pkexec_and_run0_take_words_and_a_password_on_a_terminal() {
    let doas = Doas::default().recipe("");
    assert_eq!(doas.argv, ["doas", "-u", "root", "--"]);
    assert!(doas.terminal && !doas.asks_on_pipes);
    let pkexec = with!(Pkexec::default(), user: "postgres".into(),).recipe("");
    assert_eq!(pkexec.argv, ["pkexec", "--user", "postgres"]);
    assert!(pkexec.terminal && pkexec.attach == Attach::Words);
    let run0 = Run0::default().recipe("");
    assert_eq!(
        run0.argv,
        ["run0", "--no-ask-password", "--user=root", "--"]
    );
    assert_eq!((run0.terminal, run0.attach), (false, Attach::GuardedWords));
}

#[test]
fn a_user_that_a_program_would_take_for_an_option_is_refused() {
    for user in ["", "-x", "--shell=/bin/x"] {
        assert!(
            with!(Su::default(), user: user.into(),).check().is_err(),
            "{user}"
        );
        assert!(
            with!(Doas::default(), user: user.into(),).check().is_err(),
            "{user}"
        );
        assert!(
            with!(Runuser::default(), user: user.into(),)
                .check()
                .is_err(),
            "{user}"
        );
        assert!(
            with!(Pkexec::default(), user: user.into(),)
                .check()
                .is_err(),
            "{user}"
        );
        assert!(
            with!(Run0::default(), user: user.into(),).check().is_err(),
            "{user}"
        );
    }
}

/// Returns the kind of failure after a question that was answered or not, and these lines.
fn after(recipe: &Recipe, answered: bool, lines: &[&str]) -> Option<ConnectErrorKind> {
    let mut dialogue = Dialogue::new(recipe.rules.clone());
    if answered {
        let act = dialogue.terminal(b"Password: ");
        assert!(matches!(act, Some(Act::Type(_))), "{act:?}");
        dialogue.terminal(b"\r\n");
    }
    for line in lines {
        dialogue.line(line.as_bytes());
    }
    dialogue.explanation().map(|why| why.kind)
}

#[test]
fn su_error_lines_of_other_systems_are_recognised() {
    use ConnectErrorKind::{Denied, NoSuchUser, PasswordIncorrect};
    let mut su = Su::default();
    su.user = "ghost".into();
    su.set_password(Secret::from("hunter2"));
    let su = su.recipe("5f");
    for (answered, line, kind) in [
        // shadow, which takes a password on a terminal only.
        (false, "su: must be run from a terminal", Some(Denied)),
        (false, "No passwd entry for user 'ghost'", Some(NoSuchUser)),
        (true, "su: Authentication failure", Some(PasswordIncorrect)),
        // busybox.
        (false, "su: unknown user ghost", Some(NoSuchUser)),
        (true, "su: incorrect password", Some(PasswordIncorrect)),
        (false, "su: must be suid to work properly", Some(Denied)),
        // util-linux 2.40.
        (false, "su: user ghost does not exist", Some(NoSuchUser)),
        (true, "su: Permission denied", Some(Denied)),
        (
            true,
            "su: warning: cannot change directory to /home/x: No such file or directory",
            None,
        ),
        (true, "sh: 1: x: not found", None),
    ] {
        assert_eq!(after(&su, answered, &[line]), kind, "{line}");
    }
}

/// There is no polkit to run here: the lines are those of the sources of polkit 0.105 to 126.
#[test]
fn pkexec_lines_are_recognised() {
    use ConnectErrorKind::{Denied, NoSuchUser, PasswordIncorrect, Question, Unreachable};
    let mut pkexec = Pkexec::default();
    pkexec.set_password(Secret::from("hunter2"));
    let recipe = pkexec.recipe("5f");
    let refused = [
        "Error executing command as another user: Not authorized",
        "This incident has been reported.",
    ];
    for (answered, lines, kind) in [
        (false, &["User `ghost' does not exist."][..], NoSuchUser),
        (false, &refused, Denied),
        (
            true,
            &["==== AUTHENTICATION FAILED ====", refused[0], refused[1]],
            PasswordIncorrect,
        ),
        (
            false,
            &["Error executing command as another user: Request dismissed"],
            Denied,
        ),
        (
            false,
            &["Error executing command as another user: No authentication agent found."],
            Denied,
        ),
        (
            false,
            &[
                "Error creating textual authentication agent: Error opening current controlling terminal for the process \
               (`/dev/tty'): No such device or address",
            ],
            Denied,
        ),
        (
            false,
            &[
                "Error getting authority: Error initializing authority: Could not connect: No such file or directory",
            ],
            Unreachable,
        ),
        (false, &["pkexec must be setuid root"], Denied),
    ] {
        assert_eq!(after(&recipe, answered, lines), Some(kind), "{lines:?}");
    }
    let asks = |text: &[u8]| Dialogue::new(recipe.rules.clone()).terminal(text);
    let asked = asks(
        b"\x1b[1;31m==== AUTHENTICATING FOR org.freedesktop.policykit.exec ====\r\n\x1b[0mAuthentication is needed \
          to run `/usr/bin/sh' as the super user\r\nAuthenticating as: Ann (ann)\r\nPassword: ",
    );
    assert_eq!(asked, Some(Act::Type("hunter2".into())));
    let several = asks(
        b"Multiple identities can be used for authentication:\r\n 1.  ann\r\n 2.  bob\r\n\
          Choose identity to authenticate as (1-2): ",
    );
    assert!(matches!(several, Some(Act::Fail(why)) if why.kind == Question));
}

/// There is no systemd to run here: the lines are those of the sources of systemd 256 to 258.
#[test]
fn run0_lines_are_recognised() {
    use ConnectErrorKind::{Denied, Unreachable};
    let recipe = Run0::default().recipe("5f");
    for (line, kind) in [
        (
            "Failed to start transient service unit: Interactive authentication required.",
            Denied,
        ),
        (
            "Failed to start transient service unit: Access denied",
            Denied,
        ),
        (
            "Failed to start transient service unit: Unit run-u7.service was already loaded.",
            Denied,
        ),
        (
            "Failed to connect to bus: No such file or directory",
            Unreachable,
        ),
        (
            "Failed to connect to system scope bus via local transport: No such file or directory",
            Unreachable,
        ),
    ] {
        assert_eq!(after(&recipe, false, &[line]), Some(kind), "{line}");
    }
}

#[test]
fn doas_lines_of_other_versions_are_recognised() {
    use ConnectErrorKind::{Denied, NoSuchUser, PasswordIncorrect, PasswordRequired};
    let mut doas = Doas::default();
    doas.set_password(Secret::from("hunter2"));
    let recipe = doas.recipe("5f");
    for (answered, line, kind) in [
        (false, "doas: a tty is required", Denied),
        (false, "doas: not installed setuid", Denied),
        (false, "doas: Operation not permitted", Denied),
        (true, "doas: Operation not permitted", PasswordIncorrect),
        (true, "doas: Authentication failed", PasswordIncorrect),
        (false, "doas: Authentication required", PasswordRequired),
        (false, "doas: no passwd entry for target", NoSuchUser),
    ] {
        assert_eq!(after(&recipe, answered, &[line]), Some(kind), "{line}");
    }
    let asked = Dialogue::new(recipe.rules).terminal(b"\rdoas (pw@web1) password: ");
    assert_eq!(asked, Some(Act::Type("hunter2".into())));
}

#[test]
fn a_command_without_words_is_refused() {
    let blank = offshoot_agent::method::Command::new(Vec::<String>::new());
    assert!(blank.check().is_err(), "a command has words");
}
