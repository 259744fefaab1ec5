//! What ssh asks and is told: whose question it is, who answers it, and what is in force only where it was asked for.

use std::process::{Command, Stdio};
use std::time::Duration;

use offshoot_tests::process::eventually;
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::users::{NOPASS, PASSWORD, PW};
use offshoot_tests::{Leaks, Run, Sshd};

#[test]
fn the_ssh_agent_is_forwarded_where_that_was_asked_for_and_nowhere_else() {
    let _leaks = Leaks::begin();
    let server = Sshd::named("web1").client_line("ForwardAgent yes").start();
    let config = server.config().display().to_string();
    let target = format!("{}@web1", NOPASS.name);
    let scratch = ScratchDir::new("agent");
    let path = scratch.path().join("socket");
    let mut agent = Command::new("ssh-agent").arg("-D").arg("-a").arg(&path).stdout(Stdio::null()).spawn();
    let agent = agent.as_mut().expect("it comes with ssh");
    assert!(eventually(Duration::from_secs(10), || path.exists()), "the ssh agent does not listen");
    let socket = |options: &[&str]| {
        let run = Run::offshoot(["run", "-n", "-F", &config]).env("SSH_AUTH_SOCK", &path).args(options);
        run.args([&target, "--", "sh", "-c", "echo ${SSH_AUTH_SOCK:-none}"]).finish().expect_code(0).out()
    };
    assert_eq!(socket(&[]), "none\n");
    for asked in [&["-A"][..], &["-o", "ForwardAgent yes"]] {
        assert_ne!(socket(asked), "none\n", "{asked:?}");
    }
    agent.kill().expect("it lives");
    agent.wait().expect("it was killed");
}

#[test]
fn a_password_that_is_given_is_asked_for_in_no_window() {
    let _leaks = Leaks::begin();
    let server = Sshd::named("web1").password_only().start();
    let scratch = ScratchDir::new("askpass");
    let asked = scratch.path().join("asked");
    let window = scratch.file("askpass", format!("#!/bin/sh\necho \"$1\" >>{}\n", asked.display()), 0o755);
    let password = scratch.file("password", format!("{PASSWORD}\n"), 0o600);
    let target = format!("{}@web1,password-file=[{}]", PW.name, password.display());
    for required in ["prefer", "force"] {
        let run = Run::offshoot(["run", "-n", "-F", &server.config().display().to_string(), &target]);
        let run = run.env("SSH_ASKPASS", window.as_os_str()).env("SSH_ASKPASS_REQUIRE", required);
        assert_eq!(run.env("DISPLAY", ":0").args(["--", "id", "-un"]).finish().expect_code(0).out(), "pw\n");
    }
    assert!(!asked.exists(), "{:?}", std::fs::read_to_string(&asked));
}
