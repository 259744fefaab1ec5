//! Channels between contexts: any number of senders anywhere, one receiver, and an end that is
//! distinguished from a loss.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use offshoot::{
    Blob, CallError, Context, ContextId, Error, Handle, Policy, Reason, Receiver, RecvError,
    Select, Sender,
};
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

fn below(context: &Context) -> Context {
    context
        .local()
        .connect()
        .unwrap_or_else(|error| panic!("{error}"))
}

fn channel<T>(context: &Context) -> (Sender<T>, Receiver<T>) {
    context.channel().expect("the tree lives")
}

#[track_caller]
fn becomes(what: &str, done: impl FnMut() -> bool) {
    assert!(eventually(LIMIT, done), "not in time: {what}");
}

fn text(path: &Path) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Receives the next message or the end; panics if nothing arrives.
#[track_caller]
fn next<T: serde::de::DeserializeOwned>(from: &Receiver<T>) -> Result<T, RecvError> {
    match from.recv_timeout(LIMIT) {
        Err(RecvError::TimedOut) => panic!("nothing comes, not even an end"),
        received => received,
    }
}

/// Receives all messages up to the end; panics if it does not arrive.
#[track_caller]
fn rest<T: serde::de::DeserializeOwned>(from: &Receiver<T>) -> Vec<Result<T, RecvError>> {
    let mut all = Vec::new();
    loop {
        match next(from) {
            Err(RecvError::Closed) => return all,
            received => all.push(received),
        }
    }
}

#[track_caller]
fn numbers(from: &Receiver<u64>) -> Vec<u64> {
    rest(from)
        .into_iter()
        .map(|received| received.unwrap_or_else(|error| panic!("{error}")))
        .collect()
}

/// Returns the counts of state held by a node.
fn offered(context: &Context) -> Vec<(String, usize)> {
    value(context.call(own::held {}))
}

#[test]
fn messages_from_a_sender_passed_as_argument_arrive_in_order() {
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
    for context in [&tree.router, &host, &root] {
        let (to, from) = channel(&tree.router);
        let reply = context.start(channel_ends::count_to { count: 10_000, to });
        assert_eq!(numbers(&from), (0..10_000).collect::<Vec<_>>());
        value(reply.wait());
        assert_eq!(
            next(&from),
            Err(RecvError::Closed),
            "the end of stream is final"
        );
    }
}

#[test]
fn cloned_senders_share_a_receiver_that_closes_with_the_last_clone() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let (to, from) = channel(&tree.router);
    value(child.call(channel_ends::send_from_clones {
        clones: 16,
        each: 100,
        to: to.clone(),
    }));
    let clone = to.clone();
    drop(to);
    let mut all: Vec<u64> = (0..1600)
        .map(|_| next(&from).expect("all were sent"))
        .collect();
    // Messages of one clone arrive in order.
    for number in 0..16 {
        let theirs: Vec<u64> = all
            .iter()
            .copied()
            .filter(|value| value / 100 == number)
            .collect();
        assert!(theirs.is_sorted());
    }
    all.sort_unstable();
    assert_eq!(all, (0..1600).collect::<Vec<_>>());
    assert_eq!(
        from.recv_timeout(Duration::from_millis(20)),
        Err(RecvError::TimedOut)
    );
    clone.send(&7).expect("there is a receiver");
    drop(clone);
    assert_eq!(numbers(&from), [7]);
}

#[test]
fn a_sender_can_be_returned_as_a_result() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("sum");
    let tree = Tree::new();
    let child = tree.child();
    let (to, from) = channel(&tree.router);
    let back = value(child.call(channel_ends::send_and_return { number: 1, to }));
    back.send(&2).expect("there is a receiver");
    let again = value(below(&child).call(channel_ends::send_and_return {
        number: 3,
        to: back,
    }));
    again.send(&4).expect("there is a receiver");
    drop(again);
    assert_eq!(numbers(&from), [1, 2, 3, 4]);
    // A sender of a channel that the callee created.
    let sum = scratch.path().join("sum");
    let to = value(child.call(channel_ends::collect { sum: sum.clone() }));
    for number in 1..=10 {
        to.send(&number).expect("there is a receiver");
    }
    drop(to);
    becomes("the function has seen the end of stream", || {
        text(&sum) == "55"
    });
}

#[test]
fn a_sender_in_a_discarded_result_is_closed() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("sum");
    let tree = Tree::new();
    let child = tree.child();
    let collect = |name: &str| channel_ends::collect {
        sum: scratch.path().join(name),
    };
    let ended = |name: &str| text(&scratch.path().join(name)) == "0";
    let reply = child.start(collect("ready"));
    becomes("the reply is there", || reply.is_ready());
    drop(reply);
    becomes("it is closed", || ended("ready"));
    child.cast(collect("cast")).expect("it can be sent");
    becomes("it is closed", || ended("cast"));
    let chain = child.chain().expect("the tree lives");
    drop(chain.start(collect("chain")));
    becomes("it is closed", || ended("chain"));
    // In a result that is too large, and in one cancelled while the function runs.
    assert!(
        child
            .call(channel_ends::collect_with_ballast {
                sum: scratch.path().join("large")
            })
            .is_err()
    );
    becomes("it is closed", || ended("large"));
    let gate = scratch.path().join("gate");
    let late = child.start(channel_ends::collect_late {
        sum: scratch.path().join("late"),
        gate: gate.clone(),
    });
    becomes("the function runs", || {
        scratch.path().join("late.begun").exists()
    });
    drop(late);
    value(child.call(own::nothing {}));
    fs::write(gate, "").expect("the directory is ours");
    becomes("it is closed", || scratch.path().join("late").exists());
    let offers =
        |held: Vec<(String, usize)>| held.iter().find(|(what, _)| what == "offered").cloned();
    becomes("none is left", || {
        offers(offered(&child)) == Some(("offered".into(), 0))
    });
}

#[test]
fn a_sender_can_be_forwarded_to_a_third_context() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let grandchild = below(&child);
    let (to, from) = channel(&tree.router);
    let reply = child.start(channel_ends::forward {
        other: grandchild,
        count: 1000,
        to,
    });
    assert_eq!(numbers(&from), (0..1000).collect::<Vec<_>>());
    value(reply.wait());
}

#[test]
fn an_unused_receiver_or_both_ends_can_be_passed_on() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let (child, other) = (tree.child(), tree.child());
    // The receiver alone: messages sent before it arrived are kept.
    let (to, from) = channel(&tree.router);
    for number in 0..100_u64 {
        to.send(&number).expect("there is a receiver");
    }
    let reply = child.start(long_running::drain { from });
    for number in 0..100_u64 {
        to.send(&number).expect("there is a receiver");
    }
    drop(to);
    assert_eq!(value(reply.wait()), (200, Vec::new()));
    // Both ends, to two contexts without a path between them; then both to one context.
    let (to, from) = channel(&tree.router);
    let reply = child.start(long_running::drain { from });
    value(other.call(channel_ends::count_to { count: 5000, to }));
    assert_eq!(value(reply.wait()).0, 5000);
    let (to, from) = channel(&tree.router);
    assert_eq!(value(child.call(channel_ends::meet { to, from })), 499_500);
    // As a result.
    let from = value(child.call(channel_ends::subscribe { count: 2000 }));
    assert_eq!(numbers(&from), (0..2000).collect::<Vec<_>>());
    // A receiver that was used cannot be passed on.
    let (_to, from) = channel::<u64>(&tree.router);
    assert_eq!(from.recv_timeout(Duration::ZERO), Err(RecvError::TimedOut));
    let Err(CallError::Failed(error)) = child.call(long_running::drain { from }) else {
        panic!("it travels")
    };
    assert!(
        error.to_string().contains("cannot be sent again"),
        "{error}"
    );
}

#[test]
fn a_message_can_carry_a_sender() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let (child, other) = (tree.child(), tree.child());
    let (jobs, queue) = channel::<channel_ends::Job>(&tree.router);
    let work = child.start(channel_ends::work { jobs: queue });
    for number in 0..50 {
        let (answer, answers) = channel(&tree.router);
        jobs.send(&channel_ends::Job { number, answer })
            .expect("there is a receiver");
        assert_eq!(numbers(&answers), [number * 2]);
    }
    drop(jobs);
    assert_eq!(value(work.wait()), 50);
    value(other.call(own::nothing {}));
}

#[test]
fn senders_in_an_undeliverable_message_are_closed() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    // The receiver of jobs is gone; the channel of answers still closes.
    let (jobs, queue) = channel::<channel_ends::Job>(&tree.router);
    drop(queue);
    becomes("that is known", || jobs.is_closed());
    let (answer, answers) = channel::<u64>(&tree.router);
    jobs.send(&channel_ends::Job { number: 1, answer })
        .expect_err("nobody is there");
    assert_eq!(rest(&answers), []);
    // A call that cannot be sent: too large, and to a context that was shut down.
    let (to, from) = channel::<u64>(&tree.router);
    let too_large = channel_ends::with_ballast {
        ballast: vec![0; 129 << 20].into(),
        to,
    };
    assert!(child.call(too_large).is_err());
    assert_eq!(rest(&from), []);
    let chain = child.chain().expect("the tree lives");
    let (to, from) = channel::<u64>(&tree.router);
    assert!(
        chain
            .call(channel_ends::with_ballast {
                ballast: vec![0; 129 << 20].into(),
                to
            })
            .is_err()
    );
    assert_eq!(rest(&from), []);
    child.shutdown().unwrap_or_else(|error| panic!("{error}"));
    let (to, from) = channel::<u64>(&tree.router);
    assert!(child.call(channel_ends::count_to { count: 1, to }).is_err());
    assert_eq!(rest(&from), []);
}

#[test]
fn a_receiver_closes_when_the_call_with_its_sender_fails_or_is_cancelled() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("hold");
    let tree = Tree::new();
    let child = tree.child();
    let dir = scratch.path();
    let (to, from) = channel(&tree.router);
    assert!(child.call(channel_ends::fail_with_sender { to }).is_err());
    assert_eq!(rest(&from), []);
    // With a function missing from the agent, and with a call that never starts.
    let stock = offshoot_tests::tree::router();
    let stock_child = stock
        .local()
        .connect()
        .unwrap_or_else(|error| panic!("{error}"));
    let (to, from) = channel(&stock);
    assert!(
        stock_child
            .call(channel_ends::count_to { count: 1, to })
            .is_err()
    );
    assert_eq!(rest(&from), []);
    let busy: Vec<_> = (0..64)
        .map(|_| {
            child.start(long_running::begin_and_wait {
                dir: dir.into(),
                name: "busy".into(),
            })
        })
        .collect();
    let (to, from) = channel(&tree.router);
    child
        .start(channel_ends::count_to { count: 1, to })
        .cancel();
    assert_eq!(rest(&from), []);
    drop(busy);
    // With a running function: the loss is reported, then the channel closes.
    let (to, from) = channel(&tree.router);
    let reply = child.start(channel_ends::hold {
        dir: dir.into(),
        to,
    });
    assert_eq!(next(&from), Ok(7));
    reply.cancel();
    let received = rest(&from);
    assert!(received.iter().all(channel_ends::is_loss), "{received:?}");
}

#[test]
fn loss_close_and_failure_of_a_sender_are_distinguished() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("hold");
    let tree = Tree::new();
    let child = tree.child();
    // A failure reported by the sender arrives among the messages, and more may follow.
    let (to, from) = channel(&tree.router);
    value(child.call(channel_ends::complain { to }));
    let failed = RecvError::Failed {
        context: "local".into(),
        text: "something is wrong".into(),
    };
    assert_eq!(rest(&from), [Ok(1), Err(failed), Ok(2)]);
    // A loss: the sender's context is killed. The other sender is unaffected.
    let (to, from) = channel(&tree.router);
    let hold = child.start(channel_ends::hold {
        dir: scratch.path().into(),
        to: to.clone(),
    });
    assert_eq!(next(&from), Ok(7));
    assert!(signal(facts(&child).process, Signal::SIGKILL));
    let received = next(&from);
    let Err(RecvError::Lost(Error::Undelivered {
        context, reason, ..
    })) = &received
    else {
        panic!("{received:?}")
    };
    assert_eq!((context.as_str(), *reason), ("local", Reason::Lost));
    assert!(hold.wait().is_err());
    to.send(&8).expect("there is a receiver");
    drop(to);
    assert_eq!(numbers(&from), [8]);
}

#[test]
fn a_panic_that_drops_a_sender_is_reported_before_the_channel_closes() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let (to, from) = channel(&tree.router);
    let outcome = child.call(channel_ends::send_and_panic { to });
    assert!(
        matches!(outcome, Err(CallError::Failed(Error::Panicked { .. }))),
        "{outcome:?}"
    );
    let failed = RecvError::Failed {
        context: "local".into(),
        text: "a panic has dropped a sender".into(),
    };
    assert_eq!(rest(&from), [Ok(1), Ok(2), Err(failed)]);
}

#[test]
fn a_sender_in_transit_to_a_killed_context_is_closed() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let pid = facts(&child).process;
    let (to, from) = channel(&tree.router);
    assert!(signal(pid, Signal::SIGSTOP));
    let reply = child.start(channel_ends::count_to { count: 1, to });
    assert!(signal(pid, Signal::SIGKILL));
    assert!(reply.wait().is_err());
    assert!(rest(&from).iter().all(channel_ends::is_loss));
}

#[test]
fn siblings_send_to_each_other_only_over_an_open_path() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let (one, other) = (tree.child(), tree.child());
    // Over a channel of their parent they need no path.
    let (to, from) = channel(&tree.router);
    let reply = one.start(long_running::drain { from });
    value(other.call(channel_ends::count_to { count: 10, to }));
    assert_eq!(value(reply.wait()).0, 10);
    let offer = || {
        one.call(channel_ends::offer_to_other {
            other: other.clone(),
        })
    };
    let outcome = offer();
    assert!(
        outcome
            .as_ref()
            .is_err_and(|error| error.to_string().contains("may not talk")),
        "{outcome:?}"
    );
    tree.router.open_path(&one, &other);
    assert_eq!(value(offer()), [Ok(0), Ok(1), Ok(2)]);
}

#[test]
fn an_idle_receiver_applies_backpressure_to_its_senders() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let (agent, own_pid) = (facts(&child).process, std::process::id());
    for travels in [false, true] {
        let scratch = ScratchDir::new("neglect");
        let (to, from) = channel::<Blob>(&tree.router);
        let (to_number, from_number) = channel::<u64>(&tree.router);
        let before = (resident(agent), resident(own_pid));
        let grown = |by: u64| resident(agent) > before.0 + by || resident(own_pid) > before.1 + by;
        if travels {
            // With receiver and sender in two contexts, the node between them does not buffer
            // either.
            let neglect = channel_ends::neglect {
                dir: scratch.path().into(),
                jobs: from_number,
            };
            let reply = child.start(neglect);
            becomes("it is there", || scratch.path().join("holds").exists());
            let sending = child.start(long_running::send_for_ever {
                to: to_number,
                dir: scratch.path().into(),
            });
            assert!(
                !eventually(Duration::from_secs(2), || grown(48 << 20)),
                "everything was sent"
            );
            fs::write(scratch.path().join("gate"), "").expect("the directory is ours");
            value(reply.wait());
            assert!(sending.wait().is_err());
            assert!(text(&scratch.path().join("sender-ended")).contains("the receiver"));
        } else {
            let reply = child.start(channel_ends::send_blobs {
                count: 10_000,
                bytes: 100_000,
                to,
            });
            for number in 0..10 {
                assert_eq!(next(&from).expect("it is sent")[..], [number; 100_000]);
            }
            assert!(
                !eventually(Duration::from_secs(2), || grown(48 << 20)),
                "everything was sent"
            );
            assert!(!reply.is_ready());
            drop(from);
            let error = reply.wait().expect_err("the receiver is gone").to_string();
            assert!(error.contains("the receiver"), "{error}");
        }
    }
}

#[test]
fn sending_fails_once_the_receiver_is_dropped() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("gone");
    let tree = Tree::new();
    let child = tree.child();
    for number in 0..50 {
        let (to, from) = channel::<Vec<u8>>(&tree.router);
        if number % 2 > 0 {
            assert_eq!(from.recv_timeout(Duration::ZERO), Err(RecvError::TimedOut));
        }
        drop(from);
        becomes("the sender sees the loss", || {
            to.send(&vec![0; 1000]).is_err()
        });
        assert!(to.is_closed());
    }
    let (to, from) = channel(&tree.router);
    let reply = child.start(long_running::send_for_ever {
        to,
        dir: scratch.path().into(),
    });
    assert_eq!((next(&from), next(&from)), (Ok(0), Ok(1)));
    drop(from);
    let error = reply.wait().expect_err("nobody receives").to_string();
    assert!(error.contains("the receiver"), "{error}");
}

#[test]
fn a_hundred_senders_send_at_once() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let contexts = [tree.child(), tree.child()];
    let (to, from) = channel(&tree.router);
    let replies: Vec<_> = contexts
        .iter()
        .flat_map(|context| {
            let to = &to;
            (0..50).map(move |_| {
                context.start(channel_ends::count_to {
                    count: 100,
                    to: to.clone(),
                })
            })
        })
        .collect();
    let each = contexts[0].start(channel_ends::send_by_each {
        senders: vec![to.clone(); 100],
    });
    drop(to);
    let mut all = numbers(&from);
    all.sort_unstable();
    let mut expected: Vec<u64> = (0..101).flat_map(|_| 0..100).collect();
    expected.sort_unstable();
    assert!(all == expected, "{} messages came", all.len());
    replies.into_iter().for_each(|reply| value(reply.wait()));
    value(each.wait());
}

#[test]
fn large_messages_arrive_intact_from_several_senders() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    // From an ancestor: up to the general limit.
    let (to, from) = channel::<Blob>(&tree.router);
    let size = |blob: Result<Blob, RecvError>| {
        blob.map(|blob| (blob.len(), blob.iter().all(|byte| *byte == 3)))
    };
    let sending = std::thread::spawn(move || to.send(&vec![3; 100 << 20].into()));
    assert_eq!(size(next(&from)), Ok((100 << 20, true)));
    sending
        .join()
        .expect("it does not panic")
        .expect("there is a receiver");
    assert_eq!(rest(&from).len(), 0);
    // From a descendant: up to the limit for peers without authority.
    let (to, from) = channel::<Blob>(&tree.router);
    let replies: Vec<_> = (0..8)
        .map(|_| {
            child.start(channel_ends::send_blobs {
                count: 20,
                bytes: 1_000_000,
                to: to.clone(),
            })
        })
        .collect();
    drop(to);
    let all = rest(&from);
    assert!(
        all.len() == 160
            && all
                .iter()
                .all(|blob| blob.as_ref().is_ok_and(|blob| blob.len() == 1_000_000))
    );
    replies.into_iter().for_each(|reply| value(reply.wait()));
}

#[test]
fn an_oversized_message_from_a_child_closes_only_its_sender() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let (to, from) = channel::<Blob>(&tree.router);
    let reply = child.start(channel_ends::try_to_send {
        bytes: 2 << 20,
        to: to.clone(),
    });
    let received = next(&from);
    let Err(RecvError::Lost(Error::Undelivered {
        context, reason, ..
    })) = &received
    else {
        panic!("{received:?}")
    };
    assert_eq!((context.as_str(), *reason), ("local", Reason::TooLarge));
    let said = value(reply.wait());
    assert!(said.contains("too large"), "{said}");
    to.send(&vec![0; 2 << 20].into())
        .expect("there is a receiver");
    assert_eq!(next(&from).map(|blob| blob.len()), Ok(2 << 20));
    drop(to);
    assert_eq!(rest(&from).len(), 0);
}

#[test]
fn a_forged_sender_has_no_effect() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let (to, from) = channel::<u64>(&tree.router);
    to.send(&1).expect("there is a receiver");
    assert_eq!(next(&from), Ok(1));
    // A handler deserialises a forged sender with a guessed key.
    let act = |_: &Context, _, to: Sender<u64>| {
        eventually(LIMIT, || to.send(&666).is_err())
            .then(|| to.send(&666).map_err(|error| error.to_string()))
    };
    let handler = tree
        .router
        .add_handler(Policy::Anyone, act)
        .expect("there are numbers");
    let channel_and_others = (256..260).filter(|handle| *handle != handler.handle().0);
    for handle in channel_and_others {
        let forged = ((ContextId::ROOT, Handle(handle), 0x6bad_6bad_u64), 0_u64);
        let said: Option<Result<(), String>> = tree
            .router
            .request(handler.handle(), &forged)
            .unwrap_or_else(|error| panic!("{error}"));
        assert!(
            said.is_some_and(|said| said.is_err()),
            "it was taken at {handle}"
        );
    }
    value(child.call(own::nothing {}));
    assert_eq!(
        from.recv_timeout(Duration::from_millis(20)),
        Err(RecvError::TimedOut)
    );
    to.send(&2).expect("there is a receiver");
    drop(to);
    assert_eq!(numbers(&from), [2]);
}

#[test]
fn a_message_of_another_type_is_an_error_and_the_channel_goes_on() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let act = |_: &Context, _, to: Sender<(String, u8)>| to.send(&("x".repeat(100), 7)).is_ok();
    let handler = tree
        .router
        .add_handler(Policy::Anyone, act)
        .expect("there are numbers");
    let (to, from) = channel::<u64>(&tree.router);
    assert_eq!(tree.router.request(handler.handle(), &to), Ok(true));
    let received = next(&from);
    assert!(
        matches!(received, Err(RecvError::Unreadable(_))),
        "{received:?}"
    );
    to.send(&2).expect("there is a receiver");
    drop(to);
    assert_eq!(numbers(&from), [2]);
}

#[test]
fn select_waits_for_receivers_of_many_contexts() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let contexts = [tree.child(), tree.child(), tree.child()];
    let select = Select::default();
    let replies: Vec<_> = contexts
        .iter()
        .map(|context| {
            let (to, from) = channel(&tree.router);
            select.add(from);
            context.start(channel_ends::count_to { count: 1000, to })
        })
        .collect();
    let all = select.all();
    assert_eq!(all.len(), 3000);
    assert_eq!(
        all.into_iter()
            .map(|number| number.expect("nothing is lost"))
            .sum::<u64>(),
        3 * 499_500
    );
    replies.into_iter().for_each(|reply| value(reply.wait()));
}

#[test]
fn a_channel_ends_with_its_router() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let (to, from) = channel(&tree.router);
    let from_child = value(child.call(channel_ends::subscribe { count: u64::MAX }));
    assert_eq!(next(&from_child), Ok(0));
    let waiting = std::thread::spawn(move || rest(&from));
    drop(tree);
    assert!(
        waiting
            .join()
            .expect("it does not panic")
            .iter()
            .all(channel_ends::is_loss)
    );
    assert!(to.send(&1_u64).is_err());
    let last = rest(&from_child).pop().expect("that it is lost is said");
    assert!(channel_ends::is_loss(&last), "{last:?}");
}

#[test]
fn closed_channels_leave_no_state_in_the_nodes() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("leave");
    let tree = Tree::new();
    let child = tree.child();
    let here = || {
        tree.router
            .held()
            .map(|(what, count)| (what.to_owned(), count))
            .to_vec()
    };
    let before = (here(), offered(&child));
    for number in 0..100 {
        let (to, from) = channel(&tree.router);
        let reply = child.start(channel_ends::count_to { count: number, to });
        match number % 5 {
            0 => drop(rest(&from)),
            1 => drop(from),
            2 => drop(reply),
            3 => drop(value(child.call(long_running::drain { from }))),
            _ => drop(value(child.call(channel_ends::subscribe { count: 10 }))),
        }
        let (_writer, _reader) = tree.router.pipe().expect("the tree lives");
        drop(value(child.call(channel_ends::collect {
            sum: scratch.path().join("sum"),
        })));
    }
    let mut after = (here(), offered(&child));
    let same = eventually(LIMIT, || {
        after = (here(), offered(&child));
        after == before
    });
    assert!(same, "{before:?} became {after:?}");
}
