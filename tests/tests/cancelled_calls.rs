//! Calls cancelled by the caller while the callee does not respond. Senders, receivers and pipes
//! passed with the call fail at once, with the reason.

use std::io::{ErrorKind, Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use offshoot::{Context, Error, Receiver, RecvError, Sender};
use offshoot_test_agent::{channel_ends, long_running};
use offshoot_tests::process::{eventually, signal};
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::tree::{Tree, facts};
use offshoot_tests::{Leaks, run::LIMIT};

/// Longer than a call on this machine takes to start, and much shorter than the heartbeat timeout.
const ALLOWED: Duration = Duration::from_secs(5);
const ALLOWED_MS: u64 = 5000;

/// A child process that is stopped until this value is dropped.
struct Stopped(u32);

impl Stopped {
    fn stop(context: &Context) -> Self {
        let pid = facts(context).process;
        assert!(signal(pid, Signal::SIGSTOP));
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal(self.0, Signal::SIGCONT);
    }
}

fn late(context: &str) -> Error {
    Error::TimedOut {
        context: context.into(),
        after_ms: ALLOWED_MS,
    }
}

fn cancelled(context: &str) -> Error {
    Error::Cancelled {
        context: context.into(),
    }
}

/// Receives everything up to the end of a channel.
#[track_caller]
fn rest(from: &Receiver<u64>) -> Vec<Result<u64, RecvError>> {
    let mut all = Vec::new();
    loop {
        match from.recv_timeout(LIMIT) {
            Err(RecvError::Closed) => return all,
            Err(RecvError::TimedOut) => panic!("it does not end: {all:?}"),
            received => all.push(received),
        }
    }
}

/// Starts a call that holds a sender and has sent 7, stops its process, runs `give_up` on the
/// reply, and returns what is then received.
#[track_caller]
fn held<T>(
    begin: impl FnOnce(&Context, &Path, Sender<u64>) -> T,
    give_up: impl FnOnce(T),
) -> Vec<Result<u64, RecvError>> {
    let scratch = ScratchDir::new("held");
    let tree = Tree::new();
    let child = tree.child();
    let (to, from) = tree.router.channel().expect("the tree lives");
    let reply = begin(&child, scratch.path(), to);
    assert_eq!(from.recv_timeout(LIMIT), Ok(7));
    let _stopped = Stopped::stop(&child);
    give_up(reply);
    rest(&from)
}

#[test]
fn the_deadline_of_a_call_fails_the_channel_whose_sender_it_carries() {
    let _leaks = Leaks::begin();
    let received = held(
        |child, dir, to| {
            child.within(ALLOWED).start(channel_ends::hold {
                dir: dir.into(),
                to,
            })
        },
        |reply| {
            assert_eq!(
                reply.wait().expect_err("nobody answers").to_string(),
                late("local").to_string()
            )
        },
    );
    assert_eq!(received, [Err(RecvError::Lost(late("local")))]);
    // The same in a chain, where nobody needs to wait for the reply.
    let received = held(
        |child, dir, to| {
            let chain = child.within(ALLOWED).chain().expect("the tree lives");
            chain.start(channel_ends::hold {
                dir: dir.into(),
                to,
            })
        },
        drop,
    );
    assert_eq!(received, [Err(RecvError::Lost(late("local")))]);
}

#[test]
fn cancelling_a_call_fails_the_channel_whose_sender_it_carries() {
    let _leaks = Leaks::begin();
    let lost = || [Err(RecvError::Lost(cancelled("local")))];
    let start = |child: &Context, dir: &Path, to| {
        child.start(channel_ends::hold {
            dir: dir.into(),
            to,
        })
    };
    assert_eq!(held(start, offshoot::Reply::cancel), lost());
    assert_eq!(held(start, drop), lost());
    let chained = |child: &Context, dir: &Path, to| {
        child
            .chain()
            .expect("the tree lives")
            .start(channel_ends::hold {
                dir: dir.into(),
                to,
            })
    };
    assert_eq!(held(chained, offshoot::Reply::cancel), lost());
}

#[test]
fn cancelling_a_call_fails_the_senders_it_passed_to_nested_calls_only() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("others");
    let tree = Tree::new();
    let (child, other) = (tree.child(), tree.child());
    let below = child
        .local()
        .connect()
        .unwrap_or_else(|error| panic!("{error}"));
    let (to, from) = tree.router.channel::<u64>().expect("the tree lives");
    let count = u64::MAX;
    let reply = child.start(channel_ends::forward {
        other: below.clone(),
        count,
        to: to.clone(),
    });
    let held = other.start(channel_ends::hold {
        dir: scratch.path().into(),
        to: to.clone(),
    });
    drop(to);
    let mut seen = [false; 2];
    while seen != [true; 2] {
        match from.recv_timeout(LIMIT) {
            Ok(number) => seen[usize::from(number == 7)] = true,
            error => panic!("{error:?}"),
        }
    }
    let _stopped = Stopped::stop(&child);
    reply.cancel();
    // The callee's own sender was closed when it was passed on.
    let lost = loop {
        match from.recv_timeout(LIMIT) {
            Ok(_) => {}
            lost => break lost,
        }
    };
    assert_eq!(lost, Err(RecvError::Lost(cancelled("local.local"))));
    // The other call and the channel continue.
    std::fs::write(scratch.path().join("gate"), "").expect("the directory is ours");
    held.wait().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(rest(&from), []);
}

#[test]
fn cancelling_a_call_fails_a_channel_created_by_another_context() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("elsewhere");
    let sum = scratch.path().join("sum");
    let tree = Tree::new();
    let (child, other) = (tree.child(), tree.child());
    tree.router.open_path(&child, &other);
    let to = other
        .call(channel_ends::collect { sum: sum.clone() })
        .unwrap_or_else(|error| panic!("{error}"));
    let reply = child.start(channel_ends::hold {
        dir: scratch.path().into(),
        to,
    });
    assert!(eventually(LIMIT, || scratch.path().join("holds").exists()));
    let _stopped = Stopped::stop(&child);
    reply.cancel();
    let said = || std::fs::read_to_string(&sum).unwrap_or_default();
    // The reason of the loss, then the sum.
    assert!(eventually(LIMIT, || said().ends_with("7\n")), "{}", said());
    assert!(
        said().contains("a sender was lost") && said().contains("cancelled"),
        "{}",
        said()
    );
}

#[test]
fn cancelling_a_call_fails_the_pipes_and_receivers_it_carries() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("pipes");
    let tree = Tree::new();
    let child = tree.child();
    let dir = || scratch.path().to_owned();
    let (to, mut read) = tree.router.pipe().expect("the tree lives");
    let writes = child
        .within(ALLOWED)
        .start(long_running::write_and_wait { dir: dir(), to });
    let (mut written, from) = tree.router.pipe().expect("the tree lives");
    let reads = child.start(channel_ends::length_of { from });
    let (to, from) = tree.router.channel::<u64>().expect("the tree lives");
    let neglects = child.start(channel_ends::neglect {
        dir: dir(),
        jobs: from,
    });
    written.write_all(b"some").expect("it is read");
    let mut first = [0; 4];
    read.read_exact(&mut first).expect("it is written");
    assert!(eventually(LIMIT, || scratch.path().join("holds").exists()));
    let _stopped = Stopped::stop(&child);
    reads.cancel();
    drop(neglects);
    let refused = loop {
        if let Err(error) = written.write_all(&[0; 64 << 10]) {
            break error;
        }
    };
    assert_eq!(refused.kind(), ErrorKind::BrokenPipe, "{refused}");
    assert!(eventually(LIMIT, || to.is_closed()), "its receiver is gone");
    let error = read
        .read_to_end(&mut Vec::new())
        .expect_err("it is not whole")
        .to_string();
    assert!(
        error.contains("the call that its writer was sent with: local: no answer within 5000 ms"),
        "{error}"
    );
    assert!(writes.wait().is_err());
}
