//! Master connections of the user's own: used where a hop says so, untouched otherwise, and never
//! made.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use offshoot::methods::Ssh;
use offshoot::{ConnectErrorKind as Kind, Hop, Router, stock};
use offshoot_tests::process::{die_with_parent, eventually};
use offshoot_tests::run::LIMIT;
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::tree::{facts, hop, refused, router};
use offshoot_tests::users::{NOLOGIN, NOPASS, PW, User};
use offshoot_tests::{Leaks, Run, Sshd};

/// A master connection, which ends with this value.
struct Master(Child);

impl Master {
    fn start(server: &Sshd, user: User, socket: &Path) -> Self {
        let mut command = server.ssh(user.name);
        command
            .args(["-M", "-N", "-o", "ControlPersist=no"])
            .stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let master = Self(die_with_parent(&mut command).spawn().expect("ssh exists"));
        assert!(eventually(LIMIT, || socket.exists()), "no socket appears");
        master
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a server whose clients are told to use masters, with these lines of its own.
fn server(scratch: &ScratchDir, lines: &[&str]) -> (Sshd, PathBuf) {
    let socket = scratch.path().join("socket");
    let server = Sshd::named("web1")
        .client_line("ControlMaster auto")
        .client_line("ControlPersist yes")
        .client_line(format!("ControlPath {}", socket.display()));
    let server = lines.iter().fold(server, |server, line| server.line(*line));
    (server.start(), socket)
}

fn logins(server: &Sshd) -> usize {
    server.log().matches("User child is on pid").count()
}

fn controlled(router: &Router, server: &Sshd, user: User) -> Hop<Ssh> {
    hop(router, server, user).control(true)
}

#[test]
fn a_running_master_is_used_where_the_hop_says_so() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("master");
    let (server, socket) = server(&scratch, &[]);
    let _master = Master::start(&server, NOPASS, &socket);
    let router = router();
    let context = controlled(&router, &server, NOPASS).connect();
    let context = context.unwrap_or_else(|error| panic!("{error}"));
    let text = "Z\r~.\nZ.\0".repeat(20_000);
    let echoed = context.call(stock::echo { text: text.clone() });
    assert!(echoed.expect("it answers") == text, "bytes have changed");
    let config = server.config().display().to_string();
    let target = format!("{}@web1,control=yes", NOPASS.name);
    let run = Run::offshoot(["run", "-n", "-F", &config, &target, "--", "id", "-un"]);
    assert_eq!(run.finish().expect_code(0).out(), "nopass\n");
    assert_eq!(logins(&server), 1, "{}", server.log());
    hop(&router, &server, NOPASS).connect().expect("it is up");
    assert_eq!(logins(&server), 2, "the master was used without a word");
}

#[test]
fn a_hop_makes_no_master_of_its_own() {
    let _leaks = Leaks::begin();
    let router = router();
    for mode in ["auto", "autoask", "yes", "ask"] {
        let scratch = ScratchDir::new("master");
        let (server, socket) = server(&scratch, &[]);
        let config = fs::read_to_string(server.config()).expect("the fixture wrote it");
        let config = config.replace("ControlMaster auto", &format!("ControlMaster {mode}"));
        fs::write(server.config(), config).expect("it is ours");
        let context = controlled(&router, &server, NOPASS).connect();
        let context = context.unwrap_or_else(|error| panic!("{mode}: {error}"));
        assert_eq!(facts(&context).user, NOPASS.name);
        assert!(!socket.exists(), "{mode}");
    }
}

#[test]
fn without_a_living_master_ssh_connects_by_itself() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("master");
    let (server, socket) = server(&scratch, &["AuthenticationMethods password"]);
    // Nobody listens any more.
    drop(UnixListener::bind(&socket).expect("the directory is ours"));
    let router = router();
    let host = || controlled(&router, &server, PW);
    let context = host().password(offshoot_tests::users::PASSWORD).connect();
    let context = context.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(facts(&context).user, PW.name);
    for (password, kind) in [
        (Some("wrong"), Kind::PasswordIncorrect),
        (None, Kind::PasswordRequired),
    ] {
        let host = match password {
            Some(password) => host().password(password),
            None => host(),
        };
        let error = refused(host.connect());
        assert_eq!(error.kind, kind, "{error}\n{:#?}", error.output);
    }
    assert!(socket.exists(), "the socket is not ours to remove");
}

#[test]
fn a_master_that_refuses_a_session_is_passed_by() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("master");
    let (server, socket) = server(&scratch, &["MaxSessions 1"]);
    let _master = Master::start(&server, NOPASS, &socket);
    let router = router();
    let contexts: Vec<_> = (0..2)
        .map(|_| {
            let context = controlled(&router, &server, NOPASS).connect();
            context.unwrap_or_else(|error| panic!("{error}"))
        })
        .collect();
    let up = contexts
        .iter()
        .all(|context| facts(context).user == NOPASS.name);
    assert!(up && logins(&server) == 2, "{}", server.log());
    // No session at all, by the master or without it.
    fs::remove_file(&socket).expect("it is there");
    drop((contexts, router));
    let (none, _) = self::server(&scratch, &["MaxSessions 0"]);
    let _master = Master::start(&none, NOPASS, &socket);
    let router = self::router();
    let error = refused(controlled(&router, &none, NOPASS).connect());
    assert_eq!(error.kind, Kind::Denied, "{error}\n{:#?}", error.output);
    assert!(error.detail.contains("opens no session"), "{error}");
}

#[test]
fn failures_behind_a_master_have_their_reasons() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("master");
    let (server, socket) = server(&scratch, &[]);
    let master = Master::start(&server, NOLOGIN, &socket);
    let router = router();
    let error = refused(controlled(&router, &server, NOLOGIN).connect());
    assert_eq!(error.kind, Kind::Restricted, "{error}\n{:#?}", error.output);
    assert_eq!(logins(&server), 1, "{}", server.log());
    drop(master);
    // What a program there writes is no reason of ssh, though ssh does not say that it is in.
    let text = "ForceCommand echo 'Host key verification failed.' >&2; exit 7";
    let (forced, _) = self::server(&scratch, &[text]);
    let _ = fs::remove_file(&socket);
    let _master = Master::start(&forced, NOPASS, &socket);
    let error = refused(controlled(&router, &forced, NOPASS).connect());
    assert_eq!(error.kind, Kind::Exited, "{error}\n{:#?}", error.output);
    assert!(error.detail.contains("status 7"), "{error}");
}

#[test]
fn the_end_of_a_master_ends_the_contexts_behind_it() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("master");
    let (server, socket) = server(&scratch, &[]);
    let master = Master::start(&server, NOPASS, &socket);
    let router = router();
    let context = controlled(&router, &server, NOPASS).connect();
    let context = context.unwrap_or_else(|error| panic!("{error}"));
    let process = context.command("sleep").arg("1000").spawn();
    let process = process.expect("the order is sent");
    context.call(stock::ping {}).expect("it answers");
    drop(master);
    let error = process.wait().expect_err("the master has ended");
    assert!(error.to_string().contains("ssh.web1"), "{error}");
    let _ = fs::remove_file(&socket);
}

#[test]
fn an_ended_context_leaves_the_master_as_it_was() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("master");
    let (server, socket) = server(&scratch, &[]);
    let _master = Master::start(&server, NOPASS, &socket);
    for _ in 0..3 {
        let router = router();
        let context = controlled(&router, &server, NOPASS).connect();
        assert_eq!(facts(&context.expect("it is up")).user, NOPASS.name);
    }
    let mut check = Command::new("ssh");
    check.arg("-F").arg(server.config()).args(["-O", "check"]);
    check.args(["-l", NOPASS.name, "web1"]);
    check.stdin(Stdio::null()).stderr(Stdio::null());
    assert!(check.status().expect("ssh exists").success());
    assert_eq!(logins(&server), 1, "{}", server.log());
}
