//! Chains: calls that run one after the other and are sent without waiting. Calls after a failure
//! do not run.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use offshoot::{CallError, Context, Error, Reason, Secret};
use offshoot_test_agent::{self as own, attributes, long_running};
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

/// Returns the error of a call that must fail without an error of the function itself.
#[track_caller]
fn failure<T: std::fmt::Debug, E: std::fmt::Debug>(outcome: Result<T, CallError<E>>) -> Error {
    match outcome {
        Err(CallError::Failed(error)) => error,
        other => panic!("it came back as {other:?}"),
    }
}

/// Returns the name of the failed function that stopped a chain, and its error text.
#[track_caller]
fn not_run<T: std::fmt::Debug, E: std::fmt::Debug>(
    outcome: Result<T, CallError<E>>,
) -> (String, String) {
    match failure(outcome) {
        Error::Chain {
            function, detail, ..
        } => (
            function
                .trim_start_matches("offshoot_test_agent::")
                .to_owned(),
            detail,
        ),
        error => panic!("{error}"),
    }
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path)
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[track_caller]
fn becomes(what: &str, done: impl FnMut() -> bool) {
    assert!(eventually(LIMIT, done), "not in time: {what}");
}

fn step(dir: &Path, number: u32) -> long_running::step {
    long_running::step {
        dir: dir.into(),
        number,
        fails: false,
    }
}

#[test]
fn chained_calls_run_in_order_without_waiting_in_between() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("chain");
    let tree = Tree::new();
    let dir = scratch.path();
    for context in [tree.child(), tree.router.by_id(tree.router.id())] {
        let _ = fs::remove_file(dir.join("order"));
        let chain = context.chain().expect("the tree lives");
        assert_eq!(chain.context(), &context);
        let replies: Vec<_> = (0..200)
            .map(|number| chain.start(step(dir, number)))
            .collect();
        // The last reply first: all have arrived.
        for (number, reply) in (0..200).zip(replies).rev() {
            assert_eq!(value(reply.wait()), number);
        }
        assert_eq!(lines(&dir.join("order")), numbers(0..200));
    }
}

#[test]
fn dependent_chained_calls_are_sent_without_a_round_trip() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let scratch = ScratchDir::new("chain");
    let tree = Tree::new();
    let host = hop(&tree.router, &server, NOPASS)
        .connect()
        .unwrap_or_else(|error| panic!("{error}"));
    let child = host
        .sudo()
        .connect()
        .unwrap_or_else(|error| panic!("{error}"));
    let pid = facts(&host).process;
    let dir = scratch.path();
    fs::write(dir.join("sum"), "0").expect("the directory is ours");
    let chain = child.chain().expect("the tree lives");
    let add = |number| long_running::accumulate {
        dir: dir.into(),
        number,
    };
    // While the host in between is stopped, no reply can arrive.
    assert!(signal(pid, Signal::SIGSTOP));
    let replies: Vec<_> = [1, 10, 100, 1000]
        .map(|number| chain.start(add(number)))
        .into();
    drop(chain);
    assert!(signal(pid, Signal::SIGCONT));
    let sums: Vec<u64> = replies
        .into_iter()
        .map(|reply| reply.wait().unwrap_or_else(|error| panic!("{error}")))
        .collect();
    assert_eq!(sums, [1, 11, 111, 1111]);
}

#[test]
fn a_failure_stops_the_chain_until_reset() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("chain");
    let tree = Tree::new();
    let child = tree.child();
    let dir = scratch.path();
    let chain = child.chain().expect("the tree lives");
    let first = chain.start(step(dir, 1));
    let second = chain.start(long_running::step {
        dir: dir.into(),
        number: 2,
        fails: true,
    });
    let third = chain.start(long_running::step {
        dir: dir.into(),
        number: 3,
        fails: true,
    });
    let fourth = chain.start(attributes::add { one: 1, other: 2 });
    assert_eq!(value(first.wait()), 1);
    assert_eq!(
        second.wait().map_err(CallError::function),
        Err(Some("step 2 fails".into()))
    );
    let expected = ("long_running::step".to_owned(), "step 2 fails".to_owned());
    assert_eq!(not_run(third.wait()), expected);
    assert_eq!(not_run(fourth.wait()), expected);
    assert_eq!(not_run(chain.call(own::nothing {})), expected);
    // Calls sent after the reset run; calls sent before it do not.
    let before = chain.start(step(dir, 4));
    chain.reset();
    let after = chain.start(step(dir, 5));
    assert_eq!(not_run(before.wait()), expected);
    assert_eq!(value(after.wait()), 5);
    assert_eq!(lines(&dir.join("order")), ["1", "2", "5"]);
    // Every kind of failure stops the chain: a panic, a quick function, a value that does not
    // serialise.
    let here = tree.router.chain().expect("the tree lives");
    assert!(matches!(
        failure(here.call(own::panic_with { text: "out".into() })),
        Error::Panicked { .. }
    ));
    assert_eq!(not_run(here.call(own::nothing {})).0, "panic_with");
    chain.reset();
    assert!(
        chain
            .call(attributes::add {
                one: u64::MAX,
                other: 1
            })
            .is_err()
    );
    assert_eq!(
        not_run(chain.call(own::nothing {})),
        ("attributes::add".into(), "too large".into())
    );
    chain.reset();
    failure(chain.call(attributes::give_stubborn {}));
    assert_eq!(
        not_run(chain.call(own::nothing {})).0,
        "attributes::give_stubborn"
    );
    // A call that cannot be sent stops nothing.
    chain.reset();
    failure(chain.call(attributes::take_stubborn {
        value: attributes::Stubborn,
    }));
    failure(chain.call(own::weigh {
        bytes: vec![0; 129 << 20].into(),
    }));
    value(chain.call(own::nothing {}));
}

#[test]
fn a_blocked_chain_delays_no_other_chain_or_call() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("chain");
    let tree = Tree::new();
    let child = tree.child();
    let dir = scratch.path();
    let held = child.chain().expect("the tree lives");
    let waits = held.start(long_running::begin_and_wait {
        dir: dir.into(),
        name: "held".into(),
    });
    let behind = held.start(step(dir, 1000));
    becomes("the first chain runs", || dir.join("begun-held").exists());
    let chains: Vec<_> = (0..20)
        .map(|_| child.chain().expect("the tree lives"))
        .collect();
    let replies: Vec<_> = (0..400_u64)
        .map(|number| {
            chains[number as usize % 20].start(attributes::add {
                one: number,
                other: 1,
            })
        })
        .collect();
    for (number, reply) in (0..).zip(replies) {
        assert_eq!(value(reply.wait()), number + 1);
    }
    value(child.call(own::nothing {}));
    assert!(!waits.is_ready() && !behind.is_ready() && !dir.join("order").exists());
    fs::write(dir.join("gate"), "").expect("the directory is ours");
    assert_eq!(
        (value(waits.wait()), value(behind.wait())),
        ("held".into(), 1000)
    );
}

#[test]
fn large_and_small_chained_calls_keep_their_order() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let tree = Tree::new();
    let host = hop(&tree.router, &server, NOPASS)
        .connect()
        .unwrap_or_else(|error| panic!("{error}"));
    let chain = host.chain().expect("the tree lives");
    let sizes = [5 << 20, 1, 0, 300_000, 20 << 20, 7, 70_000, 3 << 20];
    let bytes = |size: usize| (0..size).map(|at| (at % 251) as u8).collect::<Vec<u8>>();
    let replies: Vec<_> = sizes
        .iter()
        .map(|size| {
            (
                chain.start(own::increment {
                    bytes: bytes(*size),
                }),
                chain.start(own::place {}),
            )
        })
        .collect();
    for (size, (large, small)) in sizes.iter().zip(replies) {
        let back = value(large.wait());
        assert!(
            back.len() == *size
                && back
                    .iter()
                    .zip(bytes(*size))
                    .all(|(one, other)| *one == other + 1)
        );
        assert_eq!(value(small.wait()), "ssh.web1");
    }
}

#[test]
fn a_chained_call_can_be_cancelled_while_queued_or_running() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("chain");
    let tree = Tree::new();
    let child = tree.child();
    let dir = scratch.path();
    let wait = |name: &str| long_running::begin_and_wait {
        dir: dir.into(),
        name: name.into(),
    };
    let chain = child.chain().expect("the tree lives");
    // Running: the function sees the cancellation, and later calls do not run.
    let running = chain.start(wait("one"));
    let next = chain.start(own::nothing {});
    becomes("it runs", || dir.join("begun-one").exists());
    running.cancel();
    let (function, detail) = not_run(next.wait());
    assert_eq!(function, "long_running::begin_and_wait");
    assert!(detail.contains("cancelled"), "{detail}");
    becomes("it has ended", || {
        lines(&dir.join("ended-one")) == ["cancelled"]
    });
    // Queued: the call does not start.
    chain.reset();
    let (first, second, third) = (
        chain.start(wait("two")),
        chain.start(wait("three")),
        chain.start(step(dir, 1)),
    );
    becomes("it runs", || dir.join("begun-two").exists());
    second.cancel();
    fs::write(dir.join("gate"), "").expect("the directory is ours");
    assert_eq!(value(first.wait()), "two");
    let (function, detail) = not_run(third.wait());
    assert_eq!(function, "long_running::begin_and_wait");
    assert!(detail.contains("cancelled"), "{detail}");
    assert!(!dir.join("begun-three").exists() && !dir.join("order").exists());
    chain.reset();
    assert_eq!(value(chain.call(wait("four"))), "four");
}

#[test]
fn a_timed_out_call_fails_the_chain_and_its_late_reply_is_discarded() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("chain");
    let tree = Tree::new();
    let child = tree.child();
    let dir = scratch.path();
    let chain = child
        .within(Duration::from_millis(400))
        .chain()
        .expect("the tree lives");
    // The function ignores its deadline and keeps running.
    let late = chain.start(long_running::insist {
        dir: dir.into(),
        name: "late".into(),
    });
    let next = chain.start(own::place {});
    let error = failure(late.wait());
    assert!(
        matches!(&error, Error::TimedOut { context, .. } if context == "local"),
        "{error}"
    );
    let error = failure(next.wait());
    assert!(
        matches!(error, Error::TimedOut { .. } | Error::Chain { .. }),
        "{error}"
    );
    // Without a deadline, the next call waits until the function returns, and gets its own reply.
    let chain = child.chain().expect("the tree lives");
    let insist = |name: &str| long_running::insist {
        dir: dir.into(),
        name: name.into(),
    };
    let first = chain.start(insist("first"));
    becomes("it runs", || dir.join("begun-first").exists());
    first.cancel();
    chain.reset();
    let (second, third) = (chain.start(insist("second")), chain.start(own::place {}));
    value(child.call(own::nothing {}));
    assert!(
        !dir.join("begun-second").exists(),
        "one call of a chain runs at a time"
    );
    fs::write(dir.join("gate"), "").expect("the directory is ours");
    assert_eq!(
        (value(second.wait()), value(third.wait())),
        ("second".into(), "local".into())
    );
}

#[test]
fn the_deadline_of_a_chained_call_includes_time_in_the_queue() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("chain");
    let tree = Tree::new();
    let child = tree.child();
    let dir = scratch.path();
    let soon = child.within(Duration::from_millis(300));
    let chain = soon.chain().expect("the tree lives");
    let first = chain.start(long_running::insist {
        dir: dir.into(),
        name: "first".into(),
    });
    let second = chain.start(step(dir, 2));
    let third = chain.start(step(dir, 3));
    drop(first);
    // The first call is still running, however the reply is awaited.
    let error = failure(second.wait());
    assert!(
        matches!(error, Error::TimedOut { .. } | Error::Chain { .. }),
        "{error}"
    );
    let error = failure(smol::future::block_on(third));
    assert!(
        matches!(error, Error::TimedOut { .. } | Error::Chain { .. }),
        "{error}"
    );
    // The callee's deadline has passed too: a later call has timed out there.
    let after = child.within(Duration::from_millis(300));
    let wait = long_running::begin_and_wait {
        dir: dir.into(),
        name: "after".into(),
    };
    assert!(after.call(wait).is_err());
    becomes("it has seen that", || {
        lines(&dir.join("ended-after")) == ["timed out"]
    });
    fs::write(dir.join("gate"), "").expect("the directory is ours");
    drop(chain);
    becomes("the first has ended", || dir.join("ended-first").exists());
    value(child.call(own::nothing {}));
    assert!(!dir.join("order").exists(), "nothing late has run");
}

#[test]
fn losing_the_context_fails_every_call_queued_in_a_chain() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("chain");
    let tree = Tree::new();
    let child = tree.child();
    let chain = child.chain().expect("the tree lives");
    let first = chain.start(long_running::insist {
        dir: scratch.path().into(),
        name: "first".into(),
    });
    let replies: Vec<_> = (0..10).map(|_| chain.start(own::nothing {})).collect();
    becomes("it runs", || scratch.path().join("begun-first").exists());
    assert!(signal(facts(&child).process, Signal::SIGKILL));
    let lost = |error: Error| matches!(error, Error::Undelivered { context, reason: Reason::Lost, .. } if context == "local");
    assert!(lost(failure(first.wait())));
    for reply in replies {
        assert!(lost(failure(reply.wait())));
    }
    // Later calls fail in the same way, even after a reset.
    assert!(lost(failure(chain.call(own::nothing {}))));
    chain.reset();
    assert!(lost(failure(chain.call(own::nothing {}))));
}

#[test]
fn chained_calls_run_in_order_even_if_their_replies_are_dropped() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("chain");
    let tree = Tree::new();
    let child = tree.child();
    let dir = scratch.path();
    let chain = child.chain().expect("the tree lives");
    for number in 0..50 {
        drop(chain.start(step(dir, number)));
    }
    // Dropping the chain itself changes nothing.
    drop(chain);
    becomes("all have run", || lines(&dir.join("order")).len() == 50);
    assert_eq!(lines(&dir.join("order")), numbers(0..50));
    // A failure stops later calls even if its reply was dropped.
    let chain = child.chain().expect("the tree lives");
    drop(chain.start(long_running::step {
        dir: dir.into(),
        number: 50,
        fails: true,
    }));
    drop(chain.start(step(dir, 51)));
    assert_eq!(not_run(chain.call(own::nothing {})).1, "step 50 fails");
    assert_eq!(lines(&dir.join("order")), numbers(0..51));
}

#[test]
fn secrets_and_contexts_can_be_passed_in_a_chain() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let grandchild = child
        .local()
        .connect()
        .unwrap_or_else(|error| panic!("{error}"));
    let chain = child.chain().expect("the tree lives");
    let secret = chain.start(attributes::look_at_secret {
        secret: Secret::new("open sesame"),
    });
    let back = chain.start(attributes::give_secret {
        text: b"ba".to_vec(),
    });
    let context = chain.start(attributes::hand_back {
        other: grandchild.clone(),
    });
    let (_, display, length) = value(secret.wait());
    assert_eq!((display.as_str(), length), ("***", 11));
    assert_eq!(value(back.wait()).expose(), b"ab");
    let (other, ..) = value(context.wait());
    assert_eq!(other, grandchild);
    value(Context::call(&other, own::nothing {}));
}

#[test]
fn thousands_of_quick_chained_calls_run_in_order() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let chain = child.chain().expect("the tree lives");
    let replies: Vec<_> = (0..5000)
        .map(|one| chain.start(attributes::add { one, other: 1 }))
        .collect();
    for (number, reply) in (0..).zip(replies) {
        assert_eq!(value(reply.wait()), number + 1);
    }
    let fails = chain.start(attributes::add {
        one: u64::MAX,
        other: 1,
    });
    let after: Vec<_> = (0..100)
        .map(|one| chain.start(attributes::add { one, other: 1 }))
        .collect();
    assert_eq!(
        fails.wait().map_err(CallError::function),
        Err(Some("too large".into()))
    );
    for reply in after {
        assert_eq!(not_run(reply.wait()).0, "attributes::add");
    }
}

#[test]
fn a_chain_pauses_while_its_replies_cannot_be_sent() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let middle = tree.child();
    let leaf = middle
        .local()
        .connect()
        .unwrap_or_else(|error| panic!("{error}"));
    let (between, agent) = (facts(&middle).process, facts(&leaf).process);
    let chain = leaf.chain().expect("the tree lives");
    value(chain.call(own::nothing {}));
    let before = resident(agent);
    // All calls arrive; the context in between is stopped after the first reply.
    let replies: Vec<_> = (0..200)
        .map(|_| chain.start(own::zeros { count: 1 << 20 }))
        .collect();
    let mut replies = replies.into_iter();
    value(replies.next().expect("there are some").wait());
    assert!(signal(between, Signal::SIGSTOP));
    let grown = eventually(Duration::from_secs(3), || {
        resident(agent) > before + (100 << 20)
    });
    assert!(signal(between, Signal::SIGCONT));
    assert!(!grown, "it kept all its replies");
    for reply in replies {
        assert_eq!(value(reply.wait()).len(), 1 << 20);
    }
}
