//! Paths to a host that are slow or lose packets, and paths that die at each step of the bootstrap:
//! before the shell, in the command for it, in the image, before and after the first answer. A dead
//! path fails the hop within its timeout, by name, and nothing is left on either side.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use offshoot::methods::Ssh;
use offshoot::stock::echo;
use offshoot::{ConnectErrorKind as Kind, Error, Hop, Router};
use offshoot_tests::boxes::no_agent_stays;
use offshoot_tests::delay::DelayedPath;
use offshoot_tests::hop::router;
use offshoot_tests::relay::{Death, Direction, Fault, Relay};
use offshoot_tests::run::offshoot_binary;
use offshoot_tests::tree::hop;
use offshoot_tests::users::{NOPASS, PLAIN};
use offshoot_tests::{Leaks, Run, Sshd};

/// The timeout of hops over a path that dies.
const SHORT: Duration = Duration::from_secs(2);

/// Returns a hop to a server through a relay.
fn through(router: &Router, server: &Sshd, relay: &Relay) -> Hop<Ssh> {
    let alias = format!("HostKeyAlias=[127.0.0.1]:{}", server.address().port());
    hop(router, server, PLAIN)
        .port(relay.address().port())
        .option(alias)
}

/// Takes a hop over a path with this fault, and uses it if it is up, as it must be if `later`.
#[track_caller]
fn dies(server: &Sshd, fault: Fault, later: bool) {
    let relay = Relay::new(server.address(), Some(fault));
    let router = router();
    let hop = through(&router, server, &relay).timeout(SHORT).heartbeat(1);
    match hop.connect() {
        Err(Error::Connect(error)) => {
            let text = error.to_string();
            assert!(text.starts_with("ssh.web1"), "{fault:?}: {text}");
            assert!(!error.hint.is_empty(), "{fault:?}: no way out: {text}");
            assert!(!later, "{fault:?}: {text}");
            if fault.death == Death::Silence {
                assert_eq!(error.kind, Kind::TimedOut, "{fault:?}: {text}");
            }
        }
        Err(other) => panic!("{fault:?}: {other}"),
        Ok(context) => {
            assert!(later, "{fault:?}: {context} is up");
            let text = "more than a frame ".repeat(20_000);
            let error = context.call(echo { text }).expect_err("the path is dead");
            let error = error.to_string();
            assert!(error.starts_with("ssh.web1"), "{fault:?}: {error}");
        }
    }
    drop(router);
    // A host learns of a silent path when the network gives it up.
    drop(relay);
    no_agent_stays(&format!("{fault:?}"));
}

/// Returns the numbers of bytes there and back of a whole bootstrap.
fn length_of_a_bootstrap(server: &Sshd) -> [u64; 2] {
    let relay = Relay::new(server.address(), None);
    let router = router();
    let context = through(&router, server, &relay).connect();
    let context = context.unwrap_or_else(|error| panic!("{error}"));
    let passed = [Direction::There, Direction::Back].map(|direction| relay.passed(direction));
    drop((context, router));
    passed
}

/// Breaks a path at bytes of each direction: some up to the login, then at even distances, just
/// before the end of the bootstrap, and behind it.
#[track_caller]
fn breaks(death: Death, early: u64, late: u64) {
    let server = Sshd::start("web1");
    let [there, back] = length_of_a_bootstrap(&server);
    for (direction, total, login) in [
        (Direction::There, there, 3_000),
        (Direction::Back, back, 2_500),
    ] {
        // ssh pads its packets by some random bytes.
        let end = total - 100;
        let mut positions: Vec<u64> = (0..early).map(|at| at * login / early).collect();
        positions.extend((0..late).map(|at| login + at * (end - login) / late));
        positions.extend([end, total + 2_000]);
        for after in positions {
            let fault = Fault {
                direction,
                after,
                death,
            };
            dies(&server, fault, after > total);
        }
    }
}

#[test]
fn a_path_that_is_cut_at_any_byte_fails_by_name_and_leaves_nothing() {
    let _leaks = Leaks::begin();
    breaks(Death::Cut, 3, 9);
}

#[test]
fn a_path_that_falls_silent_at_any_byte_fails_within_the_timeout_of_the_hop() {
    let _leaks = Leaks::begin();
    breaks(Death::Silence, 1, 3);
}

#[test]
fn a_slow_path_that_loses_packets_needs_only_time() {
    let _leaks = Leaks::begin();
    let program = Path::new(env!("CARGO_BIN_EXE_delay-link"));
    let path = DelayedPath::with_losses(program, Duration::from_millis(150), Some(4), 25);
    let server = Sshd::named("far")
        .inside(&path.far, DelayedPath::FAR)
        .start();
    for (target, context) in [
        ("far", "plain"),
        ("far/local,shell=sh", "plain"),
        ("far/sudo", "root"),
    ] {
        let user = if target.ends_with("sudo") {
            NOPASS
        } else {
            PLAIN
        };
        let mut command = Command::new(offshoot_binary());
        path.near.enter_on_exec(&mut command);
        let target = format!("{}@{target}", user.name);
        let seen = Run::command(command)
            .args(["run", "-F"])
            .arg(server.config())
            .args([
                &target,
                "--",
                "sh",
                "-c",
                "id -un; head -c 100000 /dev/zero",
            ])
            .finish()
            .expect_code(0);
        let (name, zeros) = seen.stdout.split_at(context.len() + 1);
        assert_eq!(String::from_utf8_lossy(name), format!("{context}\n"));
        assert_eq!(zeros, vec![0; 100_000], "{target}");
    }
}
