//! Tests of the fixtures themselves: servers, users, network paths and the leak check.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use offshoot_tests::delay::DelayedPath;
use offshoot_tests::netns::NetNs;
use offshoot_tests::process::{descendants, eventually, look_at, must_run};
use offshoot_tests::pty::Terminal;
use offshoot_tests::run::LIMIT;
use offshoot_tests::shells::{INTERPRETERS, Sh, Tools};
use offshoot_tests::users::{NOLOGIN, NOPASS, PASSWORD, PLAIN, PW, SHELLS, SWALLOW, TTY, User};
use offshoot_tests::{Leaks, Run, Sshd};

/// The time limit for states that do not change.
const AT_ONCE: Duration = Duration::ZERO;

fn logged_in(server: &Sshd, user: User, script: &str) -> Run {
    Run::command(server.ssh(user.name)).arg(script)
}

#[test]
fn every_login_shell_runs_a_command_over_ssh() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    for user in SHELLS {
        let seen = logged_in(&server, user, "exec sh -c 'echo $0; cat'")
            .stdin("payload")
            .finish()
            .expect_code(0);
        assert_eq!(seen.out(), "sh\npayload", "login shell {}", user.name);
    }
}

#[test]
fn a_noisy_startup_file_prints_before_the_command() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let seen = logged_in(&server, offshoot_tests::users::NOISY, "echo done")
        .finish()
        .expect_code(0);
    assert_eq!(seen.out(), "Welcome to noisy!\nno newline here: done\n");
    assert_eq!(seen.err(), "quota: 93 %\n");
}

#[test]
fn a_startup_file_that_reads_stdin_takes_the_first_lines() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let seen = logged_in(&server, SWALLOW, "cat")
        .stdin("first\nsecond\nthird\n")
        .finish()
        .expect_code(0);
    assert_eq!(seen.out(), "third\n");
}

#[test]
fn a_nologin_account_is_refused_by_its_shell() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let seen = logged_in(&server, NOLOGIN, "true").finish().expect_code(1);
    assert!(seen.out().contains("not available"), "{}", seen.out());
}

#[test]
fn sudo_follows_each_users_rule_without_a_terminal() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let free = logged_in(&server, NOPASS, "sudo -n id -u")
        .finish()
        .expect_code(0);
    assert_eq!(free.out(), "0\n");
    let asked = logged_in(&server, PW, "sudo -S -p PROMPT: id -u")
        .stdin(format!("{PASSWORD}\n"))
        .finish();
    assert_eq!(
        (asked.code, asked.out().as_str()),
        (0, "0\n"),
        "{}",
        asked.err()
    );
    let refused = logged_in(&server, PW, "sudo -n id -u")
        .finish()
        .expect_code(1);
    assert!(
        refused.err().contains("a password is required"),
        "{}",
        refused.err()
    );
    let unknown = logged_in(&server, PLAIN, "sudo -S -p PROMPT: id -u")
        .stdin(format!("{PASSWORD}\n"))
        .finish();
    assert!(
        unknown.err().contains("not in the sudoers file"),
        "{}",
        unknown.err()
    );
    let bare = logged_in(&server, TTY, "sudo -n id -u")
        .finish()
        .expect_code(1);
    assert!(bare.err().contains("must have a tty"), "{}", bare.err());
}

#[test]
fn a_prompt_is_answered_on_a_terminal() {
    let _leaks = Leaks::begin();
    let server = Sshd::named("web1").password_only().start();
    let mut command = Command::new("ssh");
    command
        .arg("-F")
        .arg(server.config())
        .args(["-l", PW.name, server.alias(), "id -un"]);
    let mut terminal = Terminal::start(command, false);
    terminal.expect("password: ");
    terminal.type_line(PASSWORD);
    let (code, transcript) = terminal.finish();
    assert_eq!(code, 0, "{transcript}");
    assert!(transcript.contains("pw"), "{transcript}");
}

#[test]
fn a_user_on_one_host_reaches_another_by_alias() {
    let _leaks = Leaks::begin();
    let (bastion, inner) = (Sshd::start("bastion"), Sshd::start("inner"));
    let script = format!(
        "ssh -o BatchMode=yes {} 'echo $SSH_CONNECTION'",
        inner.alias()
    );
    let seen = logged_in(&bastion, NOPASS, &script).finish().expect_code(0);
    assert!(
        seen.out()
            .trim()
            .ends_with(&inner.address().port().to_string()),
        "{}",
        seen.out()
    );
}

#[test]
fn a_delayed_path_takes_at_least_its_round_trip() {
    let _leaks = Leaks::begin();
    let path = delayed_path();
    let listener = path
        .far
        .within(|| TcpListener::bind((DelayedPath::FAR, 7)).expect("the far side is up"));
    let far = std::net::SocketAddr::new(DelayedPath::FAR.into(), 7);
    // A handshake cannot be faster than the path, however busy the machine is.
    let hasty = path
        .near
        .within(|| TcpStream::connect_timeout(&far, Duration::from_millis(100)));
    assert!(
        hasty.is_err(),
        "it answered within less than its round trip"
    );
    let near = path
        .near
        .within(|| TcpStream::connect(far).expect("the path carries"));
    drop((near, listener));
}

#[test]
fn sshd_answers_behind_a_delayed_path() {
    let _leaks = Leaks::begin();
    let path = delayed_path();
    let server = Sshd::named("far")
        .inside(&path.far, DelayedPath::FAR)
        .start();
    let mut command = server.ssh(NOPASS.name);
    path.near.enter_on_exec(&mut command);
    let seen = Run::command(command)
        .arg("cat")
        .stdin(vec![b'x'; 300_000])
        .finish()
        .expect_code(0);
    assert_eq!(seen.stdout.len(), 300_000);
}

fn delayed_path() -> DelayedPath {
    DelayedPath::new(
        Path::new(env!("CARGO_BIN_EXE_delay-link")),
        Duration::from_millis(250),
    )
}

#[test]
fn a_new_network_namespace_reaches_no_server() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let alone = NetNs::new();
    let refused = alone.within(|| TcpStream::connect(server.address()));
    assert_eq!(
        refused.err().map(|error| error.kind()),
        Some(std::io::ErrorKind::ConnectionRefused)
    );
}

#[test]
fn tool_directories_hold_the_chosen_shell_and_no_interpreter() {
    let _leaks = Leaks::begin();
    let hidden = "type perl; type python3; type head >/dev/null && echo head";
    for sh in Sh::ALL {
        for tools in [
            Tools::of_system(sh, &INTERPRETERS),
            Tools::of_busybox(sh, &INTERPRETERS),
        ] {
            let shell = format!("{}/sh", tools.path());
            let seen = Run::program(shell)
                .args(["-c", hidden])
                .env("PATH", tools.path())
                .finish()
                .expect_code(0);
            assert!(
                seen.out().ends_with("head\n") && !seen.out().contains("/perl\n"),
                "{sh:?}: {}",
                seen.out()
            );
        }
    }
}

#[test]
fn a_leaked_process_is_found() {
    let leaks = Leaks::begin();
    let mut child = Command::new("sleep")
        .arg("1000")
        .spawn()
        .expect("coreutils");
    let seen = || look_at(child.id()).is_some_and(|seen| seen.arguments.contains("sleep"));
    assert!(eventually(LIMIT, seen), "the kernel shows its arguments");
    let list = leaks.check_within(AT_ONCE).expect_err("the child is alive");
    assert!(
        list.contains("process") && list.contains("sleep 1000"),
        "{list}"
    );
    child.kill().expect("it is ours");
    child.wait().expect("it is ours");
}

#[test]
fn a_leaked_zombie_is_found() {
    let leaks = Leaks::begin();
    let mut child = Command::new("true").spawn().expect("coreutils");
    let ended = || look_at(child.id()).is_some_and(|seen| seen.zombie);
    assert!(eventually(LIMIT, ended), "it ends by itself");
    let list = leaks
        .check_within(AT_ONCE)
        .expect_err("nobody has waited for the child");
    assert!(list.contains("zombie"), "{list}");
    child.wait().expect("it is ours");
}

#[test]
fn a_leaked_thread_is_found() {
    let leaks = Leaks::begin();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::Builder::new()
        .name("left".into())
        .spawn(move || ended.recv())
        .expect("room");
    let list = leaks.check_within(AT_ONCE).expect_err("the thread waits");
    assert!(list.contains("thread") && list.contains("(left)"), "{list}");
    drop(end);
    let _ = thread.join();
}

#[test]
fn a_leaked_descriptor_is_found() {
    let leaks = Leaks::begin();
    let open = File::open("/dev/null").expect("everybody may");
    let list = leaks.check_within(AT_ONCE).expect_err("the file is open");
    assert!(
        list.contains("descriptor") && list.contains("/dev/null"),
        "{list}"
    );
    drop(open);
}

#[test]
fn a_leaked_mount_is_found() {
    let leaks = Leaks::begin();
    mount(
        Some("tmpfs"),
        "/mnt",
        Some("tmpfs"),
        MsFlags::empty(),
        None::<&str>,
    )
    .expect("root may mount here");
    let list = leaks.check_within(AT_ONCE).expect_err("it is mounted");
    umount2("/mnt", MntFlags::empty()).expect("nobody uses it");
    assert!(list.contains("mount") && list.contains("/mnt"), "{list}");
}

#[test]
fn a_leaked_file_is_found_in_every_watched_directory() {
    for directory in [
        "/tmp",
        "/dev/shm",
        "/run",
        "/var/tmp",
        "/home/plain",
        "/root",
        "/dev",
    ] {
        let leaks = Leaks::begin();
        let file = Path::new(directory).join("left-behind");
        fs::write(&file, "").expect("the sandbox is ours");
        let list = leaks.check_within(AT_ONCE).expect_err("the file is there");
        fs::remove_file(&file).expect("it was there");
        assert!(list.contains(&format!("file {}", file.display())), "{list}");
    }
}

#[test]
fn a_dropped_server_takes_its_sessions_with_it() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let mut client = server
        .ssh(NOPASS.name)
        .arg("cat")
        .stdin(Stdio::piped())
        .spawn()
        .expect("ssh");
    let there = eventually(LIMIT, || {
        descendants(server.pid())
            .iter()
            .any(|seen| seen.arguments == "cat")
    });
    assert!(there, "{}", server.log());
    drop(server);
    assert_eq!(client.wait().expect("it is ours").code(), Some(255));
}

#[test]
fn the_sandbox_hides_the_machine() {
    let _leaks = Leaks::begin();
    assert_eq!(must_run("hostname", &[], b"").trim(), "sandbox");
    assert!(
        fs::read_dir("/root").expect("root may").next().is_none(),
        "/root starts empty"
    );
}
