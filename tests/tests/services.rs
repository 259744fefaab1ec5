//! State that lives with a context, and handlers of a program's own.

use std::fs;
use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use offshoot::{CallError, Context, ContextId, Error, Handle, Policy, Reason, Router};
use offshoot_test_agent::services::{self, count};
use offshoot_test_agent::{self as own};
use offshoot_tests::process::{eventually, signal};
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::tree::{Tree, facts};
use offshoot_tests::{Leaks, run::LIMIT};

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

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path)
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[track_caller]
fn refused<T: std::fmt::Debug>(outcome: Result<T, Error>) {
    assert!(
        matches!(
            &outcome,
            Err(Error::Undelivered {
                reason: Reason::Refused | Reason::Isolated,
                ..
            })
        ),
        "{outcome:?}"
    );
}

#[test]
fn state_is_created_once_and_shared_by_all_calls_of_its_context() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let (child, other) = (tree.child(), tree.child());
    let replies: Vec<_> = (0..64).map(|_| child.start(count {})).collect();
    let counts: Vec<(u64, u64)> = replies
        .into_iter()
        .map(|reply| value(reply.wait()))
        .collect();
    assert!(counts.iter().all(|(_, made)| *made == 1), "{counts:?}");
    let mut numbers: Vec<u64> = counts.into_iter().map(|(number, _)| number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=64).collect::<Vec<_>>());
    // Other contexts have other state.
    assert_eq!(value(other.call(count {})).0, 1);
    assert_eq!(value(below(&child).call(count {})).0, 1);
    assert_eq!(value(child.call(count {})), (65, 1));
}

#[test]
fn each_tree_in_a_process_has_its_own_state() {
    let _leaks = Leaks::begin();
    let (one, other) = (Tree::new(), Tree::new());
    assert_eq!(
        (
            value(one.router.call(count {})).0,
            value(one.router.call(count {})).0
        ),
        (1, 2)
    );
    assert_eq!(value(other.router.call(count {})).0, 1);
    assert!(services::same_state(
        &one.router,
        &one.router.by_id(ContextId::ROOT)
    ));
    assert!(!services::same_state(&one.router, &other.router));
    // State belongs to this process, whichever context is asked.
    assert!(services::same_state(&one.router, &one.child()));
}

#[test]
fn state_is_dropped_when_its_context_ends() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("state");
    let tree = Tree::new();
    let tell = |context: &Context, name: &str| {
        let path = scratch.path().join(name);
        value(context.call(services::tell_of_drop { path }));
    };
    let child = tree.child();
    let grandchild = below(&child);
    tell(&child, "child");
    tell(&grandchild, "grandchild");
    tell(&tree.router, "root");
    child.shutdown().unwrap_or_else(|error| panic!("{error}"));
    for name in ["child", "grandchild"] {
        assert!(
            eventually(LIMIT, || lines(&scratch.path().join(name)) == ["dropped"]),
            "{name}"
        );
    }
    assert!(!scratch.path().join("root").exists());
    drop(tree);
    assert_eq!(lines(&scratch.path().join("root")), ["dropped"]);
}

#[test]
fn failed_state_creation_is_retried_and_state_outlives_its_first_call() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("state");
    let tree = Tree::new();
    let child = tree.child();
    let dir = scratch.path();
    let ask = || services::helper { dir: dir.into() };
    fs::write(dir.join("bad"), "").expect("the directory is ours");
    let error = child.call(ask()).expect_err("it cannot be made");
    assert!(error.to_string().contains("it is bad"), "{error}");
    fs::remove_file(dir.join("bad")).expect("it is ours");
    // The state outlives the call that creates it.
    let replies: Vec<_> = (0..16).map(|_| child.start(ask())).collect();
    for reply in replies {
        assert_eq!(value(reply.wait()), "local.helper");
    }
    assert_eq!(value(child.call(ask())), "local.helper");
    assert_eq!(lines(&dir.join("log")), ["tried", "tried"]);
}

#[test]
fn the_policy_of_a_function_decides_who_may_use_its_state() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let (child, sibling) = (tree.child(), tree.child());
    let grandchild = below(&child);
    assert_eq!(value(child.call(count {})).0, 1);
    let asked =
        |from: &Context, to: &Context| value(from.call(services::count_at { other: to.id() }));
    let by_child = asked(&grandchild, &child);
    assert!(by_child[0].is_err(), "{by_child:?}");
    assert_eq!(by_child[1..], [Ok(2), Ok(3)]);
    let cut_off = asked(&sibling, &child);
    assert!(cut_off.iter().all(Result::is_err), "{cut_off:?}");
    tree.router.open_path(&sibling, &child);
    let by_sibling = asked(&sibling, &child);
    assert!(
        by_sibling[0].is_err() && by_sibling[1].is_err(),
        "{by_sibling:?}"
    );
    assert_eq!(by_sibling[2], Ok(4));
}

#[test]
fn a_handler_answers_only_callers_admitted_by_its_policy() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let (child, sibling) = (tree.child(), tree.child());
    let grandchild = below(&child);
    let deepest = below(&grandchild);
    tree.router.open_path(&sibling, &grandchild);
    let handles: Vec<Handle> = (0..5)
        .map(|policy| value(grandchild.call(services::offer { policy })))
        .collect();
    // Returns the indices of the handles of `grandchild` that answer a context.
    let admitted = |from: &Context| -> Vec<usize> {
        let request = |handle| services::request {
            other: grandchild.id(),
            handle,
            length: 3,
        };
        let outcomes = handles.iter().map(|handle| from.call(request(*handle)));
        let answered = outcomes.map(|outcome| match outcome {
            Ok(answer) => {
                assert_eq!(answer, ("local.local".into(), from.id(), 3));
                true
            }
            Err(CallError::Function { error, .. }) => {
                refused::<()>(Err(error));
                false
            }
            Err(error) => panic!("{error:?}"),
        });
        answered
            .enumerate()
            .filter(|(_, answered)| *answered)
            .map(|(at, _)| at)
            .collect()
    };
    assert_eq!(admitted(&grandchild), [0, 1, 2, 3, 4], "itself");
    assert_eq!(admitted(&child), [0, 1, 4], "its parent");
    assert_eq!(admitted(&tree.router), [0, 4], "an ancestor");
    assert_eq!(admitted(&deepest), [2, 3, 4], "a child");
    assert_eq!(admitted(&sibling), [4], "another, by an open path");
}

#[test]
fn a_handle_that_is_taken_or_reserved_is_refused() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let router: &Router = &tree.router;
    let add = |number| {
        router.add_handler_at(Handle(number), Policy::Anyone, |_, _, number: u64| {
            number + 1
        })
    };
    let registration = add(1000).expect("it is free");
    let ask = |handle| router.request::<u64, u64>(handle, &41);
    assert_eq!(
        (registration.handle(), ask(Handle(1000))),
        (Handle(1000), Ok(42))
    );
    for number in [1000, 0, 1, 255] {
        let error = add(number).expect_err("it is not free").to_string();
        assert!(
            error.contains(&number.to_string()) && error.contains("taken"),
            "{error}"
        );
    }
    // The next free handle is another one.
    let second = router
        .add_handler(Policy::Anyone, |_, _, ()| ())
        .expect("there are numbers");
    assert_ne!(second.handle(), registration.handle());
    // Once removed, the handle is free again.
    drop(registration);
    let error = ask(Handle(1000)).expect_err("it is gone");
    assert!(
        matches!(
            error,
            Error::Undelivered {
                reason: Reason::NoHandle,
                ..
            }
        ),
        "{error}"
    );
    let _again = add(1000).expect("it is free again");
    assert_eq!(ask(Handle(1000)), Ok(42));
    // The same in another context.
    let handle = value(child.call(services::offer { policy: 0 }));
    assert_eq!(
        child
            .request(handle, &"four")
            .map(|(name, _, length): (String, ContextId, usize)| (name, length)),
        Ok(("local".into(), 4))
    );
    value(child.call(services::withdraw_all {}));
    let error = child
        .request::<&str, (String, ContextId, usize)>(handle, &"four")
        .expect_err("it is gone");
    assert!(
        matches!(
            error,
            Error::Undelivered {
                reason: Reason::NoHandle,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_request_to_a_reserved_handle_is_refused_by_the_sender() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    // An attacker could suggest such a handle to have the message delivered to a service of the
    // tree or to a channel.
    for number in [0, 1, 3, 8, 9, 255, 1 << 31, (1 << 31) + 256, u32::MAX] {
        for context in [&child, &*tree.router] {
            let error = context
                .request::<_, ()>(Handle(number), &"pwned")
                .expect_err("it is no handler's");
            let Error::Undelivered {
                context: name,
                reason: Reason::NoHandle,
                detail,
            } = &error
            else {
                panic!("{error}")
            };
            assert_eq!(
                (name.as_str(), detail.contains(&number.to_string())),
                (context.name(), true)
            );
        }
    }
    for number in [1 << 31, u32::MAX] {
        let router: &Router = &tree.router;
        assert!(
            router
                .add_handler_at(Handle(number), Policy::Anyone, |_, _, ()| ())
                .is_err(),
            "{number}"
        );
    }
}

#[test]
fn a_handler_takes_and_returns_values_like_a_call() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    // A context as argument and result, and a handler that panics.
    let mirror = tree
        .router
        .add_handler(Policy::Anyone, |cx: &Context, _, other: Context| {
            assert_ne!(other.name(), "", "{cx}");
            other
        });
    let mirror = mirror.expect("there are numbers");
    let back: Context = tree
        .router
        .request(mirror.handle(), &child)
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(back, child);
    assert_eq!(value(back.call(own::place {})), "local");
    let panics = tree
        .router
        .add_handler(Policy::Anyone, |_, _, text: String| -> u8 {
            panic!("{text}")
        });
    let panics = panics.expect("there are numbers");
    let error = tree
        .router
        .request::<_, u8>(panics.handle(), &"out of cheese")
        .expect_err("it panics");
    let Error::Panicked { context, message } = &error else {
        panic!("{error}")
    };
    assert!(
        context == "controller" && message.starts_with("out of cheese, at "),
        "{error}"
    );
    // A message of another type is an error for its sender.
    let error = tree
        .router
        .request::<_, Context>(mirror.handle(), &7_u8)
        .expect_err("it is no context");
    assert!(matches!(error, Error::Codec { .. }), "{error}");
}

#[test]
fn a_request_from_a_descendant_has_a_size_limit() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let handler = |_: &Context, sent: offshoot::MessageOrigin, text: String| {
        ("root".to_owned(), sent.from, text.len())
    };
    let registration = tree
        .router
        .add_handler(Policy::Anyone, handler)
        .expect("there are numbers");
    let handle = registration.handle();
    let ask = |length| {
        child.call(services::request {
            other: ContextId::ROOT,
            handle,
            length,
        })
    };
    assert_eq!(value(ask((1 << 20) - 100)).2, (1 << 20) - 100);
    let Err(CallError::Function { error, .. }) = ask((1 << 20) + 100) else {
        panic!("it was taken")
    };
    assert!(
        matches!(
            error,
            Error::Undelivered {
                reason: Reason::TooLarge,
                ..
            }
        ),
        "{error}"
    );
    // A request from an ancestor may be larger.
    let handle = value(child.call(services::offer { policy: 0 }));
    let text = "x".repeat(3 << 20);
    let (_, _, length): (String, ContextId, usize) = child
        .request(handle, &text)
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(length, 3 << 20);
}

#[test]
fn a_handler_may_own_senders_of_its_own_tree() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let (to, from) = tree.router.channel::<u64>().expect("the tree lives");
    let (kept, outlives) = tree.router.channel::<u64>().expect("the tree lives");
    let hand_on = move |_: &Context, _, number: u64| to.send(&number);
    let registration = tree
        .router
        .add_handler(Policy::Anyone, hand_on)
        .expect("there are numbers");
    let sent: Result<(), Error> = tree
        .router
        .request(registration.handle(), &7_u64)
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((sent, from.recv()), (Ok(()), Ok(7)));
    // Removing the handler drops its sender.
    drop(registration);
    assert_eq!(from.recv(), Err(offshoot::RecvError::Closed));
    // So does the end of the tree, here and in an agent.
    let (sender, theirs) = tree.router.channel::<u64>().expect("the tree lives");
    let handle = value(child.call(services::offer_sender { to: sender }));
    let sent: Result<(), Error> = child
        .request(handle, &8_u64)
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((sent, theirs.recv()), (Ok(()), Ok(8)));
    let dropped = Arc::new(Mutex::new(Some(kept)));
    let hand_on = move |_: &Context, _, (): ()| dropped.lock().is_ok();
    let registration = tree
        .router
        .add_handler(Policy::Anyone, hand_on)
        .expect("there are numbers");
    std::mem::forget(registration);
    child.shutdown().unwrap_or_else(|error| panic!("{error}"));
    assert!((&theirs).into_iter().all(|received| received.is_err()));
    let (tell, told) = channel();
    let ending = std::thread::spawn(move || {
        drop(tree);
        tell.send(()).expect("the test listens");
    });
    told.recv_timeout(LIMIT).expect("the tree ends");
    ending.join().expect("it does not panic");
    assert!(outlives.recv().is_err());
}

#[test]
fn a_request_to_a_lost_context_fails() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let handle = value(child.call(services::offer { policy: 0 }));
    let pid = facts(&child).process;
    assert!(signal(pid, nix::sys::signal::Signal::SIGKILL));
    let error = child
        .request::<_, (String, ContextId, usize)>(handle, &"x")
        .expect_err("it is lost");
    assert!(matches!(error, Error::Undelivered { .. }), "{error}");
}
