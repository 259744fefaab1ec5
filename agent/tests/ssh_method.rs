//! The arguments of ssh, and the reaction to its output.

use offshoot_agent::PromptKind;
use offshoot_agent::method::Method;
use offshoot_agent::method::{HostKeys, Ssh, Sudo};
use offshoot_agent::{ConnectErrorKind, Secret};
use offshoot_proto::connect::dialogue::{Act, Dialogue};
use offshoot_proto::connect::recipe::{Attach, Recipe};
use std::time::Duration;

/// Sets fields of a method, which cannot be created by its fields outside its crate.
macro_rules! with {
    ($method:expr, $($field:ident: $value:expr),* $(,)?) => {{
        let mut method = $method;
        $(method.$field = $value;)*
        method
    }};
}

fn has(recipe: &Recipe, words: &[&str]) -> bool {
    recipe
        .argv
        .windows(words.len())
        .any(|window| window == words)
}

fn option(recipe: &Recipe, text: &str) -> bool {
    has(recipe, &["-o", text])
}

/// Returns a dialogue that has seen the lines before ssh, which tell whether the host is reached
/// directly or by which other route.
fn dialogue(recipe: &Recipe, way: &str) -> Dialogue {
    let mut dialogue = Dialogue::new(recipe.rules.clone());
    for told in [
        "name deploy@web1",
        "name web1",
        "name deploy@farm",
        way,
        "way anything",
    ] {
        dialogue.line(format!("[offshoot 5f] {told}").as_bytes());
    }
    dialogue
}

/// Returns the kind of failure and the reason after these last lines of ssh.
fn reason(recipe: &Recipe, way: &str, lines: &[&str]) -> Option<(ConnectErrorKind, String)> {
    let mut dialogue = dialogue(recipe, way);
    for line in lines {
        dialogue.line(line.as_bytes());
    }
    dialogue
        .explanation()
        .map(|why| (why.kind, why.detail.clone()))
}

fn verdict(recipe: &Recipe, line: &str) -> Option<ConnectErrorKind> {
    reason(recipe, DIRECT, &[line]).map(|(kind, _)| kind)
}

#[test]
fn ssh_leaves_unset_options_to_the_configuration() {
    let recipe = Ssh::new("web1").recipe("");
    assert_eq!(
        (recipe.argv[0].as_str(), recipe.argv[4].as_str()),
        ("sh", "ssh")
    );
    assert!(recipe.argv.ends_with(&["--".into(), "web1".into()]));
    for flag in ["-l", "-p", "-i", "-F", "-J"] {
        assert!(!recipe.argv.iter().any(|word| word == flag), "{flag}");
    }
    for setting in [
        "Compression=",
        "ServerAliveInterval=",
        "StrictHostKeyChecking=",
        "ProxyJump=",
        "User=",
    ] {
        assert!(
            !recipe.argv.iter().any(|word| word.starts_with(setting)),
            "{setting}"
        );
    }
    assert_eq!(
        recipe.attach,
        Attach::Line,
        "the login shell there may be any"
    );
    assert!(
        !recipe.terminal,
        "terminals are scarce: only who may be asked gets one"
    );
}

#[test]
fn ssh_overrides_settings_that_would_disturb_the_link() {
    let recipe = Ssh::new("web1").recipe("");
    assert!(has(&recipe, &["-T"]) && has(&recipe, &["-e", "none"]));
    for fixed in [
        "ControlMaster=no",
        "ControlPath=none",
        "RemoteCommand=none",
        "BatchMode=yes",
        "ClearAllForwardings=yes",
    ] {
        assert!(option(&recipe, fixed), "{fixed}");
    }
}

#[test]
fn only_a_fast_ssh_tells_when_its_connection_holds_something_back() {
    let lines = [
        "debug1: Connection established.",
        "debug1: client_input_global_request: rtype hostkeys-00@openssh.com want_reply 0",
    ];
    for fast in [true, false] {
        let mut ssh = Ssh::new("web1");
        ssh.fast = fast;
        let mut dialogue = dialogue(&ssh.recipe("5f"), DIRECT);
        for line in lines {
            dialogue.line(line.as_bytes());
            assert_eq!(dialogue.take_held_back(), fast, "{line}");
            assert!(!dialogue.take_held_back(), "once for each line");
        }
        dialogue.line(b"debug1: Authentication succeeded (publickey).");
        assert!(!dialogue.take_held_back());
    }
}

#[test]
fn a_master_of_the_user_is_looked_for_only_on_request() {
    for (control, path) in [(false, true), (true, false)] {
        let recipe = with!(Ssh::new("web1"), control: control).recipe("");
        assert!(option(&recipe, "ControlMaster=no"));
        assert_eq!(option(&recipe, "ControlPath=none"), path);
    }
}

#[test]
fn every_ssh_setting_is_passed_on_the_command_line() {
    let recipe = with!(Ssh::new("web1"), user: Some("deploy".into()),
    port: Some(2222),
    identity: Some("/k".into()),
    config: Some("/c".into()),
    options: vec!["ProxyJump=bastion".into(), "LogLevel=QUIET".into()],
    timeout: Duration::from_secs(7),
    keepalive: Some(3),
    compression: Some(true),
    )
    .recipe("");
    for pair in [["-l", "deploy"], ["-p", "2222"], ["-i", "/k"], ["-F", "/c"]] {
        assert!(has(&recipe, &pair), "{pair:?}");
    }
    for set in [
        "ProxyJump=bastion",
        "ServerAliveInterval=3",
        "ServerAliveCountMax=3",
        "Compression=yes",
        "ConnectTimeout=7",
    ] {
        assert!(option(&recipe, set), "{set}");
    }
    let place = |text: &str| {
        recipe
            .argv
            .iter()
            .position(|word| word == text)
            .expect("it is there")
    };
    for unasked in [
        "ForwardAgent=no",
        "ForwardX11=no",
        "Tunnel=no",
        "PermitLocalCommand=no",
        "VisualHostKey=no",
    ] {
        assert!(place("ProxyJump=bastion") < place(unasked), "{unasked}");
    }
    assert!(
        recipe
            .argv
            .iter()
            .rposition(|word| word == "LogLevel=DEBUG")
            > Some(place("LogLevel=QUIET")),
        "the first value of an option wins in ssh"
    );
    assert!(
        place("ControlMaster=no") < place("ProxyJump=bastion"),
        "and what must hold comes before what is given"
    );
    assert_eq!(
        (recipe.hop.as_str(), recipe.timeout_ms),
        ("ssh:deploy@web1:2222", 7000)
    );
}

#[test]
fn host_key_policies_map_to_openssh_options() {
    let with = |host_keys| {
        with!(Ssh::new("web1"), host_keys: host_keys,
        )
        .recipe("")
    };
    assert!(
        !with(HostKeys::Configured)
            .argv
            .iter()
            .any(|word| word.starts_with("StrictHostKeyChecking"))
    );
    assert!(option(
        &with(HostKeys::Enforce),
        "StrictHostKeyChecking=yes"
    ));
    assert!(option(
        &with(HostKeys::AcceptNew),
        "StrictHostKeyChecking=accept-new"
    ));
    let ignore = with(HostKeys::Ignore);
    for set in [
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "GlobalKnownHostsFile=/dev/null",
    ] {
        assert!(option(&ignore, set), "{set}");
    }
}

#[test]
fn a_password_needs_a_terminal_and_is_never_an_argument() {
    let mut ssh = Ssh::new("web1");
    ssh.set_password(Secret::from("hunter2"));
    let mut sudo = Sudo::default();
    sudo.set_password(Secret::from("hunter2"));
    for recipe in [ssh.recipe("5f"), sudo.recipe("5f")] {
        assert!(recipe.terminal);
        assert!(
            !format!("{recipe:?}").contains("hunter2"),
            "masked wherever it is printed"
        );
        assert!(!recipe.argv.iter().any(|word| word.contains("hunter2")));
    }
    assert!(ssh.recipe("").argv[2].contains("SSH_ASKPASS_REQUIRE=never"));
    assert!(
        option(&ssh.recipe(""), "BatchMode=no")
            && option(&ssh.recipe(""), "NumberOfPasswordPrompts=1")
    );
}

#[test]
fn ssh_error_lines_are_recognised() {
    use ConnectErrorKind::{Denied, HostKey, PasswordRequired, Unreachable};
    let recipe = Ssh::new("web1").recipe("5f");
    for (line, kind) in [
        ("deploy@web1: Permission denied (publickey).", Denied),
        (
            "deploy@web1: Permission denied (publickey,password).",
            PasswordRequired,
        ),
        (
            "deploy@web1: Permission denied (publickey,keyboard-interactive).",
            PasswordRequired,
        ),
        ("Host key verification failed.", HostKey),
        (
            "ssh: connect to host web1 port 22: Connection refused",
            Unreachable,
        ),
        (
            "ssh: connect to host web1 port 22: Connection timed out",
            Unreachable,
        ),
        (
            "ssh: connect to host web1 port 22: No route to host",
            Unreachable,
        ),
        (
            "ssh: Could not resolve hostname web1: Name or service not known",
            Unreachable,
        ),
    ] {
        assert_eq!(verdict(&recipe, line), Some(kind), "{line}");
    }
    assert_eq!(
        verdict(&recipe, "cat: /root/x: Permission denied"),
        None,
        "a program's own words are not ssh's"
    );
}

#[test]
fn a_host_key_prompt_fails_the_hop_at_once() {
    let mut dialogue = dialogue(&Ssh::new("web1").recipe("5f"), DIRECT);
    let asked =
        dialogue.terminal(b"Are you sure you want to continue connecting (yes/no/[fingerprint])? ");
    assert!(
        matches!(&asked, Some(Act::Fail(why)) if why.kind == ConnectErrorKind::HostKey),
        "{asked:?}"
    );
}

const BEGUN: &str = "debug1: Authentications that can continue: publickey,password";
const DIRECT: &str = "direct";
const JUMP: &str = "";
const COMMAND: &str = "command";

/// Returns the reaction to a question of ssh, after these lines.
fn asked(way: &str, lines: &[&str], question: &str) -> &'static str {
    let mut ssh = Ssh::new("web1");
    ssh.set_password(Secret::from("hunter2"));
    let mut dialogue = dialogue(&ssh.recipe("5f"), way);
    for line in lines {
        dialogue.line(line.as_bytes());
    }
    match dialogue.terminal(question.as_bytes()) {
        Some(Act::Type(secret)) if secret.expose().is_empty() => "skipped",
        Some(Act::Type(_)) => "answered",
        Some(Act::Fail(_)) => "refused",
        Some(Act::Ask(..)) => "asked",
        None if dialogue.question().is_some() => "told",
        None => "unseen",
    }
}

#[test]
fn the_questions_of_an_interactive_ssh_are_told_apart() {
    let known = "debug1: Server accepts key: /k ED25519-SK SHA256:x authenticator";
    for (way, question, kind) in [
        (
            DIRECT,
            "(deploy@web1) One-time password (OATH) for `x': ",
            PromptKind::Code,
        ),
        (
            DIRECT,
            "(deploy@web1) Verification code: ",
            PromptKind::Code,
        ),
        // A host in between may have asked.
        (JUMP, "deploy@web1's password: ", PromptKind::Other),
        (DIRECT, "deploy@bastion's password: ", PromptKind::Other),
        (DIRECT, "(deploy@web1) Code: ", PromptKind::Other),
        (
            JUMP,
            "Enter passphrase for key '/k': ",
            PromptKind::Passphrase,
        ),
        (DIRECT, "Enter PIN for ED25519-SK key /k: ", PromptKind::Pin),
        (
            JUMP,
            "Are you sure you want to continue connecting (yes/no/[fingerprint])? ",
            PromptKind::HostKey,
        ),
        (
            DIRECT,
            "Please type 'yes', 'no' or the fingerprint: ",
            PromptKind::HostKey,
        ),
    ] {
        let mut ssh = Ssh::new("web1");
        ssh.set_interactive();
        let mut dialogue = dialogue(&ssh.recipe("5f"), way);
        let asked = dialogue
            .terminal(question.as_bytes())
            .or_else(|| dialogue.ask());
        let asked = asked.map(|act| match act {
            Act::Ask(kind, text) => (kind, text),
            act => panic!("{question:?}: {act:?}"),
        });
        assert_eq!(asked, Some((kind, question.to_owned())), "{way}");
        // A touch is only told.
        assert!(dialogue.line(known.as_bytes()));
        assert_eq!(
            dialogue.take_notice(),
            Some((PromptKind::Touch, known.to_owned()))
        );
    }
}

#[test]
fn a_password_is_given_only_to_the_password_prompt_of_its_own_host() {
    let long = format!("Enter passphrase for key '/{}': ", "long/".repeat(100));
    for (way, lines, question, done) in [
        (DIRECT, &[][..], "deploy@web1's password: ", "answered"),
        (DIRECT, &[], "DEPLOY@WEB1's password: ", "answered"),
        (DIRECT, &[], "(deploy@web1) Password: ", "answered"),
        (
            DIRECT,
            &[],
            "(deploy@web1) Password for deploy@web1.example: ",
            "answered",
        ),
        (DIRECT, &[], "Password: ", "answered"),
        (DIRECT, &[], "(deploy@web1) Verification code: ", "refused"),
        (
            DIRECT,
            &[],
            "(deploy@web1) Password & verification code: ",
            "refused",
        ),
        (DIRECT, &[], "(deploy@web1) Password or token: ", "refused"),
        (
            DIRECT,
            &[],
            "(deploy@web1) One-time password (OATH) for `deploy': ",
            "refused",
        ),
        (DIRECT, &[], "(deploy@web1) New password: ", "refused"),
        (
            DIRECT,
            &[],
            "(deploy@web1) (current) UNIX password: ",
            "refused",
        ),
        (DIRECT, &[], "Enter deploy@web1's new password: ", "refused"),
        (DIRECT, &[], "root@web1's password: ", "told"),
        (DIRECT, &[], "(root@web1) Password: ", "told"),
        (
            DIRECT,
            &[],
            "Enter passphrase for key '/home/me/.ssh/id': ",
            "skipped",
        ),
        (DIRECT, &[], &long, "skipped"),
        (
            DIRECT,
            &[],
            "Enter PIN for ED25519-SK key /home/me/.ssh/id: ",
            "skipped",
        ),
        (JUMP, &[], "me@bastion's password: ", "told"),
        (JUMP, &[], "(me@bastion) deploy@web1's password: ", "told"),
        (JUMP, &[], "Password: ", "told"),
        (JUMP, &[BEGUN], "Password: ", "told"),
        (JUMP, &[], "deploy@web1's password: ", "told"),
        (JUMP, &[BEGUN], "deploy@web1's password: ", "answered"),
        (JUMP, &[BEGUN], "(deploy@web1) Password: ", "answered"),
        (COMMAND, &[BEGUN], "deploy@web10's password: ", "told"),
        (DIRECT, &[], "(deploy@farm) Password: ", "answered"),
    ] {
        assert_eq!(
            asked(way, lines, question),
            done,
            "{way:?} {lines:?} {question:?}"
        );
    }
    // A program that has printed no name could be any host.
    let mut ssh = Ssh::new("web1");
    ssh.set_password(Secret::from("hunter2"));
    let mut dialogue = Dialogue::new(ssh.recipe("5f").rules);
    dialogue.line(BEGUN.as_bytes());
    assert_eq!(dialogue.terminal(b"deploy@web1's password: "), None);
}

#[test]
fn the_reason_comes_from_ssh_itself_and_names_the_failing_host() {
    use ConnectErrorKind::{Denied, Dropped, HostKey, PasswordRequired, Unreachable};
    let recipe = Ssh::new("web1").recipe("5f");
    let accepts = "debug1: Server accepts key: /home/me/.ssh/id ED25519 SHA256:abc explicit";
    let denied = "deploy@web1: Permission denied (publickey,password).";
    let closed = "Connection closed by UNKNOWN port 65535";
    let inside = "Authenticated to web1 ([10.0.0.1]:22) using \"publickey\".";
    let partial = "Authenticated using \"publickey\" with partial success.";
    for (way, lines, kind, part) in [
        (
            DIRECT,
            &[accepts, denied][..],
            Denied,
            "is locked: /home/me/.ssh/id ED25519",
        ),
        (
            "",
            &[
                accepts,
                partial,
                "deploy@web1: Permission denied (keyboard-interactive).",
            ],
            PasswordRequired,
            "the key was accepted; the host asks for more (keyboard-interactive)",
        ),
        (
            "",
            &[
                "Warning: Identity file /no/key not accessible: No such file or directory.",
                denied,
            ],
            Denied,
            "/no/key",
        ),
        (
            DIRECT,
            &["Permissions 0644 for '/my key' are too open.", denied],
            Denied,
            "/my key",
        ),
        (
            "",
            &[
                "kex_exchange_identification: Connection closed by remote host",
                "Connection closed by 10.0.0.1 port 22",
            ],
            Dropped,
            "before anybody logged in",
        ),
        (
            DIRECT,
            &[BEGUN, "Connection closed by 10.0.0.1 port 22"],
            Denied,
            "while we logged in",
        ),
        (
            JUMP,
            &["me@bastion: Permission denied (publickey).", closed],
            Denied,
            "me@bastion",
        ),
        (
            JUMP,
            &[
                "ssh: connect to host bastion port 22: Connection refused",
                closed,
            ],
            Unreachable,
            "bastion port 22",
        ),
        (
            JUMP,
            &[
                "ssh: Could not resolve hostname bastion: Name or service not known",
                closed,
            ],
            Unreachable,
            "bastion",
        ),
        (
            JUMP,
            &[
                "channel 0: open failed: connect failed: Connection refused",
                "stdio forwarding failed",
                closed,
            ],
            Unreachable,
            "the last host on the way cannot reach it: connect failed: Connection refused",
        ),
        (
            JUMP,
            &[
                "No ED25519 host key is known for bastion and you have requested strict checking.",
                "Host key verification failed.",
                closed,
            ],
            HostKey,
            "a host on the way is unknown: that of bastion",
        ),
        (
            JUMP,
            &["Connection closed by 10.0.0.1 port 22", closed],
            Dropped,
            "dropped",
        ),
        (JUMP, &[closed], Dropped, "dropped"),
        (COMMAND, &[closed], Unreachable, "ProxyCommand"),
    ] {
        let found = reason(&recipe, way, lines);
        let (seen, detail) = found.unwrap_or_else(|| panic!("nothing is understood of {lines:?}"));
        assert!(
            seen == kind && detail.contains(part),
            "{lines:?}: {seen:?} {detail}"
        );
    }
    // Output after the login explains no failure of the connection, nor does text that only
    // resembles a message of ssh.
    for line in [
        "curl: (7) Failed to connect to x port 80: Connection refused",
        "ssh: connect to host db port 22: Connection refused",
        "deploy@web1: Permission denied (publickey).",
        "Host key verification failed.",
        "Connection closed by 10.0.0.2 port 22",
        "Permissions 0644 for '/key' are too open.",
    ] {
        assert_eq!(
            reason(&recipe, DIRECT, &[accepts, inside, line]),
            None,
            "{line}"
        );
    }
    assert_eq!(
        reason(
            &recipe,
            DIRECT,
            &["curl: (7) Failed to connect to x port 80: Connection refused"]
        ),
        None
    );
}

/// Returns the place that the script before ssh names, if `ssh -G` prints these settings.
#[expect(
    clippy::disallowed_methods,
    reason = "this process is a test and no agent"
)]
fn place(ssh: &Ssh, host: &str, port: &str) -> String {
    let argv = &ssh.recipe("5f").argv;
    // A function stands for ssh.
    let text = format!(
        "fake(){{ printf '%s\\n' 'user me' 'hostname {host}' 'port {port}';}}\n{}",
        argv[2]
    );
    let program = [
        &argv[0], "-c", &text, &argv[3], "fake", "-T", "--", &ssh.host,
    ];
    let mut command = std::process::Command::new(program[0]);
    let output = command.args(&program[1..]).output().expect("sh is there");
    let mut dialogue = Dialogue::new(ssh.recipe("5f").rules);
    for line in output.stderr.split(|byte| *byte == b'\n') {
        dialogue.line(line);
    }
    dialogue.with_place("hop")
}

#[test]
fn the_script_before_ssh_names_the_place_where_the_hop_does_not() {
    let web1 = Ssh::new("Web1");
    let at = |port| with!(Ssh::new("web1"), port: Some(port),);
    for (ssh, host, port, expected) in [
        (&web1, "web1", "22", "hop"),
        (&web1, "web1", "2222", "hop, me@web1:2222"),
        (&web1, "10.0.0.7", "22", "hop, me@10.0.0.7:22"),
        (&web1, "fe80::1%eth0", "22", "hop, me@[fe80::1%eth0]:22"),
        (&web1, "", "", "hop"),
        (&at(2222), "web1", "2222", "hop"),
        (&at(2222), "web2", "2222", "hop, me@web2:2222"),
        (&Ssh::new("::1"), "::1", "22", "hop"),
        (&Ssh::new("a'$(exit)"), "b", "22", "hop, me@b:22"),
    ] {
        assert_eq!(place(ssh, host, port), expected, "{host} {port}");
    }
}

#[test]
fn disturbing_settings_are_reset_unless_requested() {
    let script = |options: &[&str]| {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        with!(Ssh::new("web1"), options: options,
        )
        .recipe("")
        .argv[2]
            .clone()
    };
    for option in [
        "SessionType=default",
        "StdinNull=no",
        "GSSAPIDelegateCredentials=no",
    ] {
        assert!(
            script(&[]).contains(&format!("set -- -o {option} ")),
            "{option}"
        );
    }
    let asked = script(&["gssapidelegatecredentials yes"]);
    assert!(
        asked.contains("StdinNull=no") && !asked.contains("GSSAPIDelegateCredentials=no"),
        "{asked}"
    );
}

#[test]
fn requested_options_that_leave_no_link_are_refused() {
    let check = |option: &str| with!(Ssh::new("web1"), options: vec![option.to_owned()],).check();
    for option in [
        "SessionType=none",
        "sessiontype subsystem",
        " StdinNull = yes",
        "stdinnull \"yes\"",
        "ForkAfterAuthentication=yes",
        "RemoteCommand=top",
    ] {
        let bad = check(option).expect_err(option);
        assert!(bad.key == "option" && !bad.advice.is_empty(), "{bad}");
    }
    for option in [
        "SessionType=default",
        "StdinNull=no",
        "RemoteCommand none",
        "Compression=yes",
        "SessionType",
        "",
    ] {
        assert_eq!(check(option), Ok(()), "{option}");
    }
}
