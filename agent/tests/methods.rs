//! The words that each method gives to its program, and what it makes of what the program says.

use offshoot_agent::connect::dialogue::Dialogue;
use offshoot_agent::connect::methods::{HostKeys, Local, Method, Ssh, Sudo};
use offshoot_agent::connect::{Attach, Recipe};
use offshoot_agent::{ConnectErrorKind, Secret};
use std::time::Duration;

fn has(recipe: &Recipe, words: &[&str]) -> bool {
    recipe.argv.windows(words.len()).any(|window| window == words)
}

fn option(recipe: &Recipe, text: &str) -> bool {
    has(recipe, &["-o", text])
}

/// What ssh or sudo has said when it ends, as a kind of failure.
fn verdict(recipe: &Recipe, line: &str) -> Option<ConnectErrorKind> {
    let mut dialogue = Dialogue::new(recipe.rules.clone());
    dialogue.line(line.as_bytes());
    dialogue.explanation().map(|(kind, ..)| *kind)
}

#[test]
fn ssh_leaves_to_the_configuration_what_is_not_set() {
    let recipe = Ssh::new("web1").recipe("");
    assert_eq!(recipe.argv[0], "ssh");
    assert!(recipe.argv.ends_with(&["--".into(), "web1".into()]));
    for flag in ["-l", "-p", "-i", "-F", "-J"] {
        assert!(!recipe.argv.iter().any(|word| word == flag), "{flag}");
    }
    for setting in ["Compression=", "ServerAliveInterval=", "StrictHostKeyChecking=", "ProxyJump=", "User="] {
        assert!(!recipe.argv.iter().any(|word| word.starts_with(setting)), "{setting}");
    }
    assert_eq!(recipe.attach, Attach::Line, "the login shell there may be any");
    assert!(!recipe.terminal, "terminals are scarce: only who may be asked gets one");
}

#[test]
fn ssh_keeps_the_users_other_settings_out_of_the_link() {
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
fn every_setting_of_ssh_has_its_words() {
    let recipe = Ssh {
        user: Some("deploy".into()),
        port: Some(2222),
        identity: Some("/k".into()),
        config: Some("/c".into()),
        options: vec!["ProxyJump=bastion".into(), "LogLevel=DEBUG".into()],
        timeout: Duration::from_secs(7),
        keepalive: Some(3),
        compression: Some(true),
        ..Ssh::new("web1")
    }
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
    let place = |text: &str| recipe.argv.iter().position(|word| word == text).expect("it is there");
    for unasked in
        ["ForwardAgent=no", "ForwardX11=no", "Tunnel=no", "PermitLocalCommand=no", "VisualHostKey=no"]
    {
        assert!(place("ProxyJump=bastion") < place(unasked), "{unasked}");
    }
    assert!(place("LogLevel=DEBUG") < place("LogLevel=ERROR"), "the first value of an option wins in ssh");
    assert!(
        place("ControlMaster=no") < place("ProxyJump=bastion"),
        "and what must hold comes before what is given"
    );
    assert_eq!((recipe.hop.as_str(), recipe.timeout_ms), ("ssh:deploy@web1:2222", 7000));
}

#[test]
fn host_key_policies_are_words_of_openssh() {
    let with = |host_keys| Ssh { host_keys, ..Ssh::new("web1") }.recipe("");
    assert!(!with(HostKeys::Configured).argv.iter().any(|word| word.starts_with("StrictHostKeyChecking")));
    assert!(option(&with(HostKeys::Enforce), "StrictHostKeyChecking=yes"));
    assert!(option(&with(HostKeys::AcceptNew), "StrictHostKeyChecking=accept-new"));
    let ignore = with(HostKeys::Ignore);
    for set in ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "GlobalKnownHostsFile=/dev/null"]
    {
        assert!(option(&ignore, set), "{set}");
    }
}

#[test]
fn a_password_brings_a_terminal_and_never_a_word() {
    let mut ssh = Ssh::new("web1");
    ssh.set_password(Secret::from("hunter2"));
    let mut sudo = Sudo::default();
    sudo.set_password(Secret::from("hunter2"));
    for recipe in [ssh.recipe("5f"), sudo.recipe("5f")] {
        assert!(recipe.terminal);
        assert!(!format!("{recipe:?}").contains("hunter2"), "masked wherever it is printed");
        assert!(!recipe.argv.iter().any(|word| word.contains("hunter2")));
    }
    assert!(ssh.recipe("").env == [(b"SSH_ASKPASS_REQUIRE".to_vec(), b"never".to_vec())]);
    assert!(option(&ssh.recipe(""), "BatchMode=no") && option(&ssh.recipe(""), "NumberOfPasswordPrompts=1"));
}

#[test]
fn what_ssh_says_is_understood() {
    use ConnectErrorKind::{Denied, HostKey, PasswordRequired, Unreachable};
    let recipe = Ssh::new("web1").recipe("");
    for (line, kind) in [
        ("deploy@web1: Permission denied (publickey).", Denied),
        ("deploy@web1: Permission denied (publickey,password).", PasswordRequired),
        ("deploy@web1: Permission denied (publickey,keyboard-interactive).", PasswordRequired),
        ("Host key verification failed.", HostKey),
        ("ssh: connect to host web1 port 22: Connection refused", Unreachable),
        ("ssh: connect to host web1 port 22: Connection timed out", Unreachable),
        ("ssh: connect to host web1 port 22: No route to host", Unreachable),
        ("ssh: Could not resolve hostname web1: Name or service not known", Unreachable),
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
fn a_question_about_a_host_key_ends_the_hop_and_is_not_waited_out() {
    use offshoot_agent::connect::dialogue::Act;
    let mut dialogue = Dialogue::new(Ssh::new("web1").recipe("").rules);
    let asked = dialogue.terminal(b"Are you sure you want to continue connecting (yes/no/[fingerprint])? ");
    assert!(matches!(asked, Some(Act::Fail(ConnectErrorKind::HostKey, ..))), "{asked:?}");
}

#[test]
fn sudo_asks_with_a_prompt_of_our_own_and_short_flags() {
    let recipe = Sudo {
        user: "postgres".into(),
        login: true,
        set_home: true,
        preserve_env: true,
        role: Some("r".into()),
        selinux_type: Some("t".into()),
        ..Sudo::default()
    }
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
fn what_sudo_says_is_understood() {
    use ConnectErrorKind::{Denied, NoSuchUser, PasswordRequired};
    let recipe = Sudo::default().recipe("5f");
    for (line, kind) in [
        ("plain is not in the sudoers file.  This incident will be reported.", Denied),
        ("Sorry, user plain is not allowed to execute '/bin/sh' as root on web1.", Denied),
        ("sudo: you must have a tty to run sudo", Denied),
        ("sudo: unknown user nobody-here", NoSuchUser),
        ("sudo: a password is required", PasswordRequired),
    ] {
        assert_eq!(verdict(&recipe, line), Some(kind), "{line}");
    }
}

#[test]
fn local_is_direct_unless_a_shell_is_named() {
    assert_eq!(Local::default().recipe("").attach, Attach::Direct);
    let shell = Local { shell: vec!["env".into(), "-i".into(), "/bin/dash".into()], ..Local::default() };
    let recipe = shell.recipe("");
    assert_eq!((recipe.attach, recipe.argv.last().map(String::as_str)), (Attach::Script, Some("-c")));
    assert_eq!(Local { login: true, ..shell }.recipe("").attach, Attach::Line);
}
