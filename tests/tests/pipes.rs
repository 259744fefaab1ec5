//! Byte streams between contexts. All bytes arrive wherever the ends are, and end, failure and loss
//! are distinguished.

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::Duration;

use nix::sys::signal::Signal;
use offshoot::{CallError, Context, Reader, Writer};
use offshoot_test_agent::{self as own, channel_ends, long_running};
use offshoot_tests::process::{eventually, signal};
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::tree::{Tree, facts, hop, resident};
use offshoot_tests::users::NOPASS;
use offshoot_tests::{Leaks, Sshd, run::LIMIT};

/// Returns the value of a call that must succeed.
#[track_caller]
fn value<T, E: std::fmt::Debug>(outcome: Result<T, CallError<E>>) -> T {
    outcome.unwrap_or_else(|error| panic!("{error:?}"))
}

fn pipe(context: &Context) -> (Writer, Reader) {
    context.pipe().expect("the tree lives")
}

/// Returns varied bytes.
fn bytes(count: usize) -> Vec<u8> {
    (0..count as u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

#[test]
fn fifty_mebibytes_pass_unchanged_through_a_function_behind_ssh_and_sudo() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let tree = Tree::new();
    let host = hop(&tree.router, &server, NOPASS)
        .connect()
        .unwrap_or_else(|error| panic!("{error}"));
    let root = host
        .sudo()
        .connect()
        .unwrap_or_else(|error| panic!("{error}"));
    let (mut into, from) = pipe(&tree.router);
    let (to, mut out) = pipe(&tree.router);
    let reply = root.start(channel_ends::increment_all { from, to });
    let given = bytes(50 << 20);
    let expected: Vec<u8> = given.iter().map(|byte| byte.wrapping_add(1)).collect();
    let writing = std::thread::spawn(move || into.write_all(&given).and_then(|()| into.finish()));
    let mut back = Vec::new();
    out.read_to_end(&mut back).expect("the stream has an end");
    writing
        .join()
        .expect("it does not panic")
        .expect("it is read");
    assert!(
        back == expected,
        "{} bytes came back, which are not those that were sent",
        back.len()
    );
    assert_eq!(value(reply.wait()), 50 << 20);
}

#[test]
fn both_ends_of_a_pipe_can_be_passed_to_other_contexts() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let (one, other) = (tree.child(), tree.child());
    let (to, from) = pipe(&tree.router);
    let length = other.start(channel_ends::length_of { from });
    value(one.call(channel_ends::write_and {
        to,
        bytes: 20 << 20,
        fail: None,
    }));
    assert_eq!(value(length.wait()), 20 << 20);
    // In one context other than the creator's, through a function that copies.
    let (to, from) = pipe(&tree.router);
    let (last, mut out) = pipe(&tree.router);
    let copying = one.start(long_running::copy { from, to: last });
    // More than is buffered on the way while nobody reads.
    let writing = one.start(channel_ends::write_and {
        to,
        bytes: 4 << 20,
        fail: None,
    });
    let mut back = Vec::new();
    out.read_to_end(&mut back).expect("the stream has an end");
    value(writing.wait());
    assert_eq!((back.len(), value(copying.wait())), (4 << 20, 4 << 20));
    // A used end cannot be passed on.
    let (mut to, _from) = pipe(&tree.router);
    to.write_all(b"used").expect("somebody may read");
    let Err(CallError::Failed(error)) = one.call(channel_ends::write_and {
        to,
        bytes: 1,
        fail: None,
    }) else {
        panic!("it travels")
    };
    assert!(
        error.to_string().contains("cannot be sent again"),
        "{error}"
    );
}

#[test]
fn end_failure_and_loss_of_a_pipe_are_distinguished() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("loss");
    let tree = Tree::new();
    let (child, other) = (tree.child(), tree.child());
    // The end of a stream, also of an empty one.
    for end in 0..2 {
        let (to, from) = pipe(&tree.router);
        if end == 0 {
            to.finish().expect("the tree lives");
        } else {
            value(child.call(channel_ends::write_and {
                to,
                bytes: 0,
                fail: None,
            }))
        }
        assert_eq!(value(other.call(channel_ends::length_of { from })), 0);
    }
    // A failure with the writer's text.
    let (to, from) = pipe(&tree.router);
    value(child.call(channel_ends::write_and {
        to,
        bytes: 1000,
        fail: Some("the disk is full".into()),
    }));
    let why = other
        .call(channel_ends::length_of { from })
        .expect_err("it broke off")
        .to_string();
    assert!(why.contains("the disk is full"), "{why}");
    // A lost writer.
    let (to, mut from) = pipe(&tree.router);
    let writing = child.start(channel_ends::write_for_ever {
        to,
        dir: scratch.path().into(),
    });
    from.read_exact(&mut [0; 100]).expect("it writes");
    assert!(signal(facts(&child).process, Signal::SIGKILL));
    let error = from.read_to_end(&mut Vec::new()).expect_err("it broke off");
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted, "{error}");
    assert!(writing.wait().is_err());
}

#[test]
fn dropping_an_unfinished_writer_is_an_error_for_the_reader() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let (child, other) = (tree.child(), tree.child());
    // Dropped when a function returns, fails or panics; read remotely and locally.
    for how in 0..3 {
        for reader in [&tree.router as &Context, &other] {
            let (to, from) = pipe(&tree.router);
            let length = reader.start(channel_ends::length_of { from });
            let outcome = child.call(channel_ends::write_and_forget {
                to,
                bytes: 1 << 20,
                how,
            });
            assert_eq!(outcome.is_ok(), how == 0);
            let why = length.wait().expect_err("it was not finished").to_string();
            assert!(why.contains("dropped before it was finished"), "{why}");
        }
    }
    // An unused writer; and bytes that arrived before the drop.
    let (to, mut from) = pipe(&tree.router);
    drop(to);
    assert_eq!(
        from.read(&mut [0]).expect_err("nobody wrote").kind(),
        ErrorKind::ConnectionAborted
    );
    let (mut to, mut from) = pipe(&tree.router);
    to.write_all(&bytes(1000)).expect("somebody may read");
    drop(to);
    let mut back = Vec::new();
    assert!(from.read_to_end(&mut back).is_err());
    assert!(back == bytes(1000));
    // `finish` fails if nobody reads.
    let (mut to, from) = pipe(&tree.router);
    to.write_all(b"some").expect("somebody may read");
    drop(from);
    assert!(eventually(LIMIT, || to.write_all(&[0; 100]).is_err()));
    assert_eq!(
        to.finish().expect_err("nobody reads").kind(),
        ErrorKind::BrokenPipe
    );
}

#[test]
fn a_writer_blocks_on_an_idle_reader_and_fails_once_it_is_dropped() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("reader");
    let tree = Tree::new();
    let child = tree.child();
    let agent = facts(&child).process;
    let (to, mut from) = pipe(&tree.router);
    let before = (resident(agent), resident(std::process::id()));
    let writing = child.start(channel_ends::write_for_ever {
        to,
        dir: scratch.path().into(),
    });
    from.read_exact(&mut [0; 100]).expect("it writes");
    let grown = || {
        resident(agent) > before.0 + (32 << 20)
            || resident(std::process::id()) > before.1 + (32 << 20)
    };
    assert!(!eventually(Duration::from_secs(1), grown), "it wrote on");
    assert!(!writing.is_ready());
    drop(from);
    let error = writing
        .wait()
        .expect_err("nobody reads")
        .function()
        .expect("it ran");
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    assert!(eventually(LIMIT, || scratch
        .path()
        .join("writer-ended")
        .exists()));
    // An unused reader, dropped here and with a call that failed.
    let (mut to, from) = pipe(&tree.router);
    drop(from);
    assert!(eventually(LIMIT, || to.write_all(&[0; 100]).is_err()));
    let stock = offshoot_tests::tree::router();
    let stock_child = stock
        .local()
        .connect()
        .unwrap_or_else(|error| panic!("{error}"));
    let (mut to, from) = pipe(&stock);
    assert!(stock_child.call(channel_ends::length_of { from }).is_err());
    assert!(eventually(LIMIT, || to.write_all(&[0; 100]).is_err()));
    let (to, mut from) = pipe(&stock);
    assert!(
        stock_child
            .call(channel_ends::write_and {
                to,
                bytes: 1,
                fail: None
            })
            .is_err()
    );
    let error = from
        .read_to_end(&mut Vec::new())
        .expect_err("nobody wrote")
        .to_string();
    assert!(error.contains("did not use it"), "{error}");
    value(child.call(own::nothing {}));
}
