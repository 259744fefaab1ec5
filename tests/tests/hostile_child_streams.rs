//! A child that misuses channels, pipes, chains and handles given to it. Others that share them are
//! unaffected, memory is bounded, and no state is left once the child is gone.

use std::io::Read as _;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use offshoot::{Blob, Context, Handle, Policy, RecvError, stock};
use offshoot_test_agent::channel_ends;
use offshoot_tests::Leaks;
use offshoot_tests::hostile::{Attack, Outlook, Place};
use offshoot_tests::process::eventually;
use offshoot_tests::run::LIMIT;
use offshoot_tests::scratch::ScratchDir;

/// The number and size of the blobs that honest senders send: more than fits the initial credit.
const COUNT: usize = 10;
const BYTES: usize = 300_000;

/// Runs each attack at both places; after `play` the hostile child is shut down and no state of it
/// may be left.
#[track_caller]
fn under_attack<Rest>(
    acts: &[&str],
    play: impl Fn(&str, &mut Attack) -> Rest,
    after: impl Fn(&str, Rest),
) {
    for place in [Place::Below, Place::Behind] {
        for how in acts {
            let _leaks = Leaks::begin();
            let mut attack = Attack::with_functions(env!("CARGO_BIN_EXE_hostile"), how, place);
            let before = attack.router.held();
            let rest = play(how, &mut attack);
            attack.expect(Outlook::Stays);
            attack
                .hostile
                .shutdown()
                .unwrap_or_else(|error| panic!("{how}: {error}"));
            after(how, rest);
            let left = || attack.router.held();
            let no_more = || {
                left()
                    .iter()
                    .zip(&before)
                    .all(|((_, now), (_, then))| now <= then)
            };
            assert!(
                eventually(LIMIT, no_more),
                "{how} {place:?}: of {before:?} there is {:?}",
                left()
            );
            attack.end();
        }
    }
}

/// Asserts that chains and pipes of an honest context work normally.
#[track_caller]
fn others_go_on(how: &str, honest: &Context, attack: &Attack) {
    let (writer, mut reader) = attack.router.pipe().expect("the tree lives");
    let mut written = honest.start(channel_ends::write_and {
        to: writer,
        bytes: 1 << 20,
        fail: None,
    });
    let mut read = Vec::new();
    reader
        .read_to_end(&mut read)
        .unwrap_or_else(|error| panic!("{how}: {error}"));
    assert_eq!(read.len(), 1 << 20, "{how}");
    written
        .wait_timeout(LIMIT)
        .unwrap_or_else(|error| panic!("{how}: {error}"));
    let chain = honest.chain().expect("the tree lives");
    let replies: Vec<_> = (0..20)
        .map(|number| {
            chain.start(stock::echo {
                text: format!("{number}"),
            })
        })
        .collect();
    for (number, mut reply) in replies.into_iter().enumerate() {
        let text = reply
            .wait_timeout(LIMIT)
            .unwrap_or_else(|error| panic!("{how}: {error}"));
        assert_eq!(text, number.to_string(), "{how}");
    }
}

/// Gives a sender to the hostile child and to an honest one: honest messages arrive, and the
/// channel closes once both senders are gone.
#[track_caller]
fn with_a_sender(acts: &[&str], first_received: bool) {
    let play = |how: &str, attack: &mut Attack| {
        let (to, from) = attack.router.channel::<Blob>().expect("the tree lives");
        if first_received {
            assert_eq!(
                from.recv_timeout(Duration::from_millis(1)),
                Err(RecvError::TimedOut),
                "{how}"
            );
        }
        let bait = attack.hostile.start(channel_ends::send_blobs {
            count: 0,
            bytes: 0,
            to: to.clone(),
        });
        attack.hold_out();
        attack.expect_bounds();
        let honest = attack.honest.last().expect("there is one").clone();
        let mut reply = honest.start(channel_ends::send_blobs {
            count: COUNT,
            bytes: BYTES,
            to,
        });
        let mut received = 0;
        while received < COUNT {
            match from.recv_timeout(LIMIT) {
                Ok(blob) if blob.len() == BYTES => {
                    assert!(
                        blob.iter().all(|byte| *byte == received as u8),
                        "{how}: {received}"
                    );
                    received += 1;
                }
                Err(error @ (RecvError::TimedOut | RecvError::Closed)) => {
                    panic!("{how}: after {received} messages: {error}");
                }
                _ => {}
            }
        }
        reply
            .wait_timeout(LIMIT)
            .unwrap_or_else(|error| panic!("{how}: {error}"));
        others_go_on(how, &honest, attack);
        (from, bait)
    };
    under_attack(acts, play, |how, (from, _bait)| {
        loop {
            match from.recv_timeout(LIMIT) {
                Err(RecvError::Closed) => break,
                Err(RecvError::TimedOut) => panic!("{how}: the channel does not end"),
                _ => {}
            }
        }
    });
}

#[test]
fn invalid_greetings_and_excess_senders_are_refused() {
    with_a_sender(&["hub-greetings", "hub-writers"], true);
}

#[test]
fn oversized_incomplete_or_empty_messages_delay_no_other_sender() {
    with_a_sender(&["hub-lengths", "hub-parts", "hub-empty"], true);
}

#[test]
fn a_sender_cannot_be_used_to_receive() {
    with_a_sender(&["hub-readers"], false);
}

#[test]
fn announced_senders_that_never_arrive_delay_neither_others_nor_the_end() {
    with_a_sender(&["hub-copies"], true);
}

#[test]
fn a_reader_that_never_reads_blocks_only_its_writer() {
    let play = |how: &str, attack: &mut Attack| {
        let scratch = ScratchDir::new("miser");
        let (writer, reader) = attack.router.pipe().expect("the tree lives");
        let bait = attack
            .hostile
            .start(channel_ends::length_of { from: reader });
        let honest = attack.honest.last().expect("there is one").clone();
        let dir = scratch.path().to_owned();
        let reply = honest.start(channel_ends::write_for_ever { to: writer, dir });
        attack.hold_out();
        attack.expect_bounds();
        others_go_on(how, &honest, attack);
        assert!(!scratch.path().join("writer-ended").exists(), "{how}");
        (scratch, bait, reply)
    };
    under_attack(&["hub-miser"], play, |how, (scratch, _bait, _reply)| {
        let ended = eventually(LIMIT, || scratch.path().join("writer-ended").exists());
        assert!(ended, "{how}: its writer waits for one that is gone");
    });
}

#[test]
fn invalid_replies_end_only_their_own_chain() {
    let play = |how: &str, attack: &mut Attack| {
        let chain = attack.hostile.chain().expect("the tree lives");
        let start = || chain.start(stock::echo { text: "?".into() });
        if how == "chain-early" {
            attack.hold_out();
        }
        let replies: Vec<_> = (0..3).map(|_| start()).collect();
        attack.hold_out();
        let late = |error: &String| error.contains("no answer");
        for mut reply in replies.into_iter().chain([start()]) {
            let error = reply
                .wait_timeout(LIMIT)
                .err()
                .map(|error| error.to_string());
            assert!(
                error.filter(late).is_none(),
                "{how}: the call never returns"
            );
        }
        attack.expect_bounds();
        let honest = attack.honest.last().expect("there is one").clone();
        others_go_on(how, &honest, attack);
    };
    under_attack(
        &["chain-early", "chain-twice", "chain-long", "chain-kinds"],
        play,
        |_, ()| {},
    );
}

#[test]
fn withdrawn_requests_to_a_handle_leave_the_queue() {
    let play = |how: &str, attack: &mut Attack| {
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let theirs = Arc::clone(&gate);
        let act = move |_: &Context, _, message: Vec<u8>| {
            let open = theirs.0.lock().expect("nobody panics");
            drop(
                theirs
                    .1
                    .wait_while(open, |open| !*open)
                    .expect("nobody panics"),
            );
            message.len()
        };
        let handle = attack
            .router
            .add_handler_at(Handle(300), Policy::Anyone, act)
            .expect("it is free");
        attack.hold_out();
        attack.expect_bounds();
        *gate.0.lock().expect("nobody panics") = true;
        gate.1.notify_all();
        let length: usize = attack
            .router
            .request(handle.handle(), &vec![1u8; 500_000])
            .unwrap_or_else(|error| panic!("{how}: {error}"));
        assert_eq!(length, 500_000, "{how}");
        handle
    };
    under_attack(&["requests-withdrawn"], play, |_, handle| drop(handle));
}
