//! Many concurrent hops to one server or jump host. They stay below its `MaxStartups`, and dropped
//! connections are retried.

use std::fs;
use std::path::PathBuf;

use offshoot::{ConnectErrorKind as Kind, Context};
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::sshd::config_for;
use offshoot_tests::tree::{facts, refused, router};
use offshoot_tests::users::{NOPASS, PLAIN};
use offshoot_tests::{Leaks, Run, Sshd};

/// The number of names of the server.
const NAMES: usize = 30;

/// Writes a configuration with thirty names for the last of these servers, each with these lines.
fn names(scratch: &ScratchDir, servers: &[&Sshd], lines: &str) -> PathBuf {
    let known = fs::read_to_string(config_for(scratch, servers)).expect("it was just made");
    let own = known
        .rsplit("Host ")
        .next()
        .and_then(|host| host.split_once('\n'))
        .expect("it has lines")
        .1;
    let text = format!("Host h*\n{lines}{own}\n{known}");
    scratch.file("names", text, 0o644)
}

fn all_are_reached(server: &Sshd, config: &str) {
    let hosts: Vec<String> = (0..NAMES).map(|number| format!("h{number}")).collect();
    let seen = Run::offshoot(["run", "-n", "-F", config])
        .args(&hosts)
        .args(["--", "echo", "here"])
        .finish();
    let seen = seen.expect_code(0);
    assert_eq!(
        seen.out()
            .lines()
            .filter(|line| line.ends_with("here"))
            .count(),
        NAMES,
        "{}",
        seen.out()
    );
    assert!(!server.log().contains("MaxStartups"), "{}", server.log());
}

#[test]
fn concurrent_logins_to_one_address_stay_below_max_startups() {
    let _leaks = Leaks::begin();
    let user = format!("User {}", NOPASS.name);
    let server = Sshd::named("web1")
        .line("MaxStartups 11:100:11")
        .client_line(user)
        .start();
    let scratch = ScratchDir::new("names");
    all_are_reached(
        &server,
        &names(&scratch, &[&server], "").display().to_string(),
    );
}

#[test]
fn concurrent_logins_through_one_jump_host_stay_below_its_max_startups() {
    let _leaks = Leaks::begin();
    let user = format!("User {}", PLAIN.name);
    let bastion = Sshd::named("bastion")
        .line("MaxStartups 11:100:11")
        .client_line(user)
        .start();
    let server = Sshd::named("web1")
        .client_line(format!("User {}", NOPASS.name))
        .start();
    let scratch = ScratchDir::new("names");
    let config = names(&scratch, &[&bastion, &server], "  ProxyJump bastion\n");
    all_are_reached(&bastion, &config.display().to_string());
}

#[test]
fn concurrent_logins_through_one_command_stay_below_the_max_startups_behind_it() {
    let _leaks = Leaks::begin();
    let bastion = Sshd::named("bastion")
        .line("MaxStartups 11:100:11")
        .client_line(format!("User {}", PLAIN.name))
        .start();
    let server = Sshd::named("web1")
        .client_line(format!("User {}", NOPASS.name))
        .start();
    let scratch = ScratchDir::new("names");
    // Without tokens, so that it is the same command for each name.
    let command = format!(
        "  ProxyCommand ssh -F {} -W {} bastion\n",
        bastion.config().display(),
        server.address()
    );
    let config = names(&scratch, &[&bastion, &server], &command);
    all_are_reached(&bastion, &config.display().to_string());
}

#[test]
fn a_connection_dropped_before_login_is_retried() {
    let _leaks = Leaks::begin();
    let server = Sshd::named("web1").line("MaxStartups 2:100:2").start();
    let router = router();
    let config = server.config().display().to_string();
    let hops: Vec<_> = (0..8)
        .map(|_| {
            router
                .ssh("web1")
                .config(config.as_str())
                .user(NOPASS.name)
                .handshakes(8)
                .start()
                .expect("it is sent")
        })
        .collect();
    let contexts: Vec<Context> = hops
        .into_iter()
        .map(|hop| hop.wait().unwrap_or_else(|error| panic!("{error}")))
        .collect();
    assert!(
        contexts
            .iter()
            .all(|context| facts(context).user == "nopass")
    );
    assert!(
        server.log().contains("MaxStartups"),
        "no connection was dropped: {}",
        server.log()
    );
}

#[test]
fn connections_dropped_until_the_timeout_explain_why() {
    let _leaks = Leaks::begin();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("lo is up");
    let port = closed.local_addr().expect("it is bound").port();
    // A server that accepts connections and closes them, as one over MaxStartups does.
    let closing = std::thread::spawn(move || closed.incoming().take(2).for_each(drop));
    let router = router();
    let host = router.ssh("127.0.0.1").config("/dev/null").port(port);
    let error = refused(host.timeout(std::time::Duration::from_secs(1)).connect());
    assert_eq!(error.kind, Kind::Dropped, "{error}");
    assert!(
        error.detail.contains("dropped before anybody logged in"),
        "{error}"
    );
    assert!(error.hint.contains("MaxStartups"), "{error}");
    drop(std::net::TcpStream::connect(("127.0.0.1", port)));
    drop(std::net::TcpStream::connect(("127.0.0.1", port)));
    closing.join().expect("it does not panic");
}
