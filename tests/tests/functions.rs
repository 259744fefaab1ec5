//! The options of `#[remote]`: policies, serial, shared and quick functions, functions without a
//! reply; and values and errors that are more than bytes.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use offshoot::{CallError, Context, Error, Filter, Reason, RecvError, Reply, Secret};
use offshoot_test_agent::{self as own, attributes};
use offshoot_tests::memory::Masked;
use offshoot_tests::process::eventually;
use offshoot_tests::records::Records;
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::tree::Tree;
use offshoot_tests::{Leaks, run::LIMIT};

/// Returns the log of this program.
fn log() -> &'static Records {
    static LOG: OnceLock<Records> = OnceLock::new();
    LOG.get_or_init(Records::keep)
}

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

#[test]
fn a_function_that_exits_its_agent_fails_the_call_with_the_exit_status() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let behind_shell = |context: &Context| {
        let hop = context.local().shell_words(vec!["/bin/sh".into()]);
        hop.connect().unwrap_or_else(|error| panic!("{error}"))
    };
    for (how, status) in [(0, 0), (7, 7), (-libc::SIGSEGV, 139), (-libc::SIGKILL, 137)] {
        let said = format!("its link has ended, its program with status {status}");
        let error = failure(behind_shell(&tree.router).call(own::leave { how })).to_string();
        assert!(error.contains(&said), "{error}");
        // The same from two hops away.
        let error =
            failure(behind_shell(&below(&tree.router)).call(own::leave { how })).to_string();
        assert!(error.contains(&said), "{error}");
    }
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
fn becomes(what: &str, done: impl FnMut() -> bool) {
    assert!(eventually(LIMIT, done), "not in time: {what}");
}

#[test]
fn each_policy_admits_exactly_the_callers_it_names() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let (grandchild, sibling) = (below(&child), tree.child());
    let admitted =
        |from: &Context, to: &Context| value(from.call(attributes::admitted_by { other: to.id() }));
    // A context may call itself under every policy.
    let all = ["ancestors", "parent", "descendants", "children", "anyone"];
    assert_eq!(attributes::admitted(&tree.router), all);
    assert_eq!(admitted(&grandchild, &grandchild), all);
    // Called by ancestors.
    assert_eq!(
        attributes::admitted(&child),
        ["ancestors", "parent", "anyone"]
    );
    assert_eq!(attributes::admitted(&grandchild), ["ancestors", "anyone"]);
    assert_eq!(
        admitted(&child, &grandchild),
        ["ancestors", "parent", "anyone"]
    );
    // Called by descendants.
    assert_eq!(
        admitted(&child, &tree.router),
        ["descendants", "children", "anyone"]
    );
    assert_eq!(
        admitted(&grandchild, &tree.router),
        ["descendants", "anyone"]
    );
    assert_eq!(
        admitted(&grandchild, &child),
        ["descendants", "children", "anyone"]
    );
    // Called by a sibling.
    let none: [&str; 0] = [];
    assert_eq!(admitted(&sibling, &child), none);
    tree.router.open_path(&sibling, &child);
    assert_eq!(admitted(&sibling, &child), ["anyone"]);
    assert_eq!(admitted(&child, &sibling), ["anyone"]);
    tree.router.close_path(&sibling, &child);
    assert_eq!(admitted(&sibling, &child), none);
}

#[test]
fn serial_calls_run_one_at_a_time_in_order() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("serial");
    let tree = Tree::new();
    let child = tree.child();
    let dir = scratch.path();
    // The files they wait for exist already, created in reverse order, so they do not determine the
    // order.
    for number in (0..20).rev() {
        fs::write(dir.join(number.to_string()), "").expect("the directory is ours");
    }
    let start = |number| {
        child.start(attributes::in_turn {
            dir: dir.into(),
            number,
        })
    };
    let replies: Vec<_> = (0..20).map(start).collect();
    for (number, reply) in (0..).zip(replies) {
        assert_eq!(value(reply.wait()), number);
    }
    let expected: Vec<String> = (0..20)
        .flat_map(|number| [format!("begin {number}"), format!("end {number}")])
        .collect();
    assert_eq!(lines(&dir.join("log")), expected);
}

#[test]
fn a_cancelled_serial_call_does_not_run_and_delays_no_other() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("serial");
    let tree = Tree::new();
    let child = tree.child();
    let dir = scratch.path();
    let start = |number| {
        child.start(attributes::in_turn {
            dir: dir.into(),
            number,
        })
    };
    let (first, second, third) = (start(1), start(2), start(3));
    becomes("the first runs", || lines(&dir.join("log")) == ["begin 1"]);
    // Other functions are not delayed.
    value(child.call(own::nothing {}));
    second.cancel();
    value(child.call(own::nothing {}));
    for number in [3, 1] {
        fs::write(dir.join(number.to_string()), "").expect("the directory is ours");
    }
    assert_eq!((value(first.wait()), value(third.wait())), (1, 3));
    assert_eq!(
        lines(&dir.join("log")),
        ["begin 1", "end 1", "begin 3", "end 3"]
    );
    // A running call is cancelled as well, and the next one starts.
    let (running, next) = (start(4), start(3));
    becomes("the fourth runs", || {
        lines(&dir.join("log")).contains(&"begin 4".to_owned())
    });
    drop(running);
    assert_eq!(value(next.wait()), 3);
}

#[test]
fn a_thousand_callers_of_a_shared_function_share_one_run() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("shared");
    let tree = Tree::new();
    let child = tree.child();
    let dir = scratch.path();
    let ask = |key| {
        child.start(attributes::once {
            dir: dir.into(),
            key,
        })
    };
    let replies: Vec<_> = (0..1000).map(|_| ask(1)).collect();
    let other = ask(2);
    // All calls have arrived, because a later call has been answered.
    value(child.call(own::nothing {}));
    becomes("both run", || {
        dir.join("log-1").exists() && dir.join("log-2").exists()
    });
    assert!(replies.iter().all(|reply| !reply.is_ready()));
    fs::write(dir.join("gate"), "").expect("the directory is ours");
    for reply in replies {
        assert_eq!(value(reply.wait()), 1);
    }
    assert_eq!(value(other.wait()), 1);
    assert_eq!(
        (
            lines(&dir.join("log-1")).len(),
            lines(&dir.join("log-2")).len()
        ),
        (1, 1)
    );
    // The run is over: a new call starts a new run.
    assert_eq!(value(ask(1).wait()), 2);
}

#[test]
fn a_shared_run_is_cancelled_only_when_its_last_caller_cancels() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("shared");
    let tree = Tree::new();
    let child = tree.child();
    let dir = scratch.path();
    let ask = |context: &Context| {
        context.start(attributes::once {
            dir: dir.into(),
            key: 1,
        })
    };
    let (first, second, late) = (
        ask(&child),
        ask(&child),
        ask(&child.within(Duration::from_millis(100))),
    );
    becomes("it runs", || dir.join("log-1").exists());
    // The first caller cancels, and one times out.
    first.cancel();
    let error = failure(late.wait());
    assert!(
        matches!(&error, Error::TimedOut { context, .. } if context == "local"),
        "{error}"
    );
    value(child.call(own::nothing {}));
    assert!(!dir.join("given-up").exists() && !second.is_ready());
    let third = ask(&child);
    value(child.call(own::nothing {}));
    assert_eq!(lines(&dir.join("log-1")).len(), 1, "it joined the run");
    drop(second);
    value(child.call(own::nothing {}));
    assert!(!dir.join("given-up").exists() && !third.is_ready());
    drop(third);
    becomes("it is given up", || dir.join("given-up").exists());
    assert!(
        lines(&dir.join("given-up"))[0].contains("cancelled"),
        "{:?}",
        lines(&dir.join("given-up"))
    );
    // A new call starts a new run.
    fs::write(dir.join("gate"), "").expect("the directory is ours");
    assert_eq!(value(ask(&child).wait()), 2);
}

#[test]
fn a_cancelled_shared_call_does_not_block_its_chain() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("shared");
    let tree = Tree::new();
    let child = tree.child();
    let dir = scratch.path();
    let call = || attributes::once {
        dir: dir.into(),
        key: 1,
    };
    let chain = child.chain().expect("the tree lives");
    let alone = child.start(call());
    becomes("it runs", || dir.join("log-1").exists());
    let in_chain = chain.start(call());
    value(child.call(own::nothing {}));
    in_chain.cancel();
    chain.reset();
    // The run continues for the other caller; the chain continues without it.
    value(chain.call(own::nothing {}));
    // The last caller is in a chain.
    let in_chain = chain.start(call());
    value(child.call(own::nothing {}));
    drop(alone);
    value(child.call(own::nothing {}));
    assert!(!dir.join("given-up").exists());
    in_chain.cancel();
    chain.reset();
    value(chain.call(own::nothing {}));
    becomes("it is given up", || dir.join("given-up").exists());
}

#[test]
fn a_no_reply_function_returns_before_it_runs_and_logs_its_failure() {
    let log = log();
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("later");
    let tree = Tree::new();
    tree.router.set_log_filter(&Filter::up_to(2));
    let child = tree.child();
    let dir = scratch.path();
    value(child.call(attributes::afterwards { dir: dir.into() }));
    // The deadline of the call does not apply, because the call is over.
    let soon = child.within(Duration::from_millis(1000));
    value(soon.call(attributes::afterwards { dir: dir.into() }));
    becomes("the time is over", || soon.check().is_err());
    assert!(!dir.join("ran").exists());
    fs::write(dir.join("gate"), "").expect("the directory is ours");
    becomes("both have run", || lines(&dir.join("ran")).len() == 2);
    value(child.call(attributes::fail_afterwards {
        text: "out of cheese".into(),
    }));
    becomes("the failure is logged", || {
        !log.with("out of cheese").is_empty()
    });
    let line = &log.with("out of cheese")[0];
    assert!(
        line.contains("fail_afterwards") && line.starts_with("WARN"),
        "{line}"
    );
}

#[test]
fn a_cast_runs_and_its_failure_is_logged() {
    let log = log();
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("cast");
    let tree = Tree::new();
    tree.router.set_log_filter(&Filter::up_to(2));
    let child = tree.child();
    let path = scratch.path().join("ran");
    child
        .cast(own::shell {
            script: format!("touch {}", path.display()),
        })
        .expect("it can be sent");
    becomes("it has run", || path.exists());
    child
        .cast(own::parse {
            text: "castaway".into(),
        })
        .expect("it can be sent");
    becomes("the failure is logged", || {
        !log.with("offshoot_test_agent::parse").is_empty()
    });
    // A call that cannot be sent fails at once.
    let error = child
        .cast(attributes::take_stubborn {
            value: attributes::Stubborn,
        })
        .expect_err("it does not serialise");
    assert!(error.to_string().contains("it is stubborn"), "{error}");
    // An unknown function is logged as well.
    let stock = offshoot_tests::tree::router();
    stock.set_log_filter(&Filter::up_to(2));
    let stock_child = stock
        .local()
        .connect()
        .unwrap_or_else(|error| panic!("{error}"));
    stock_child.cast(own::nothing {}).expect("it can be sent");
    becomes("the failure is logged", || {
        log.with("offshoot_test_agent::nothing")
            .iter()
            .any(|line| line.contains("no function"))
    });
}

#[test]
fn an_error_is_flattened_with_its_sources() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let texts = |error: CallError<offshoot::ErrorText>| match error {
        CallError::Function { error, .. } => attributes::texts(&error),
        CallError::Failed(error) => panic!("{error}"),
    };
    assert_eq!(value(child.call(attributes::flat { fails: false })), 7);
    let error = child
        .call(attributes::flat { fails: true })
        .expect_err("it fails");
    assert_eq!(texts(error), attributes::texts_here());
    let error = child
        .call(attributes::flat_box {
            path: "/no/such".into(),
        })
        .expect_err("it fails");
    assert_eq!(
        texts(error),
        ["the outer one", "No such file or directory (os error 2)"]
    );
    let error = child
        .call(attributes::flat_box {
            path: "/etc/passwd".into(),
        })
        .expect_err("it fails");
    assert_eq!(texts(error), ["invalid digit found in string"]);
    let error = child
        .call(attributes::flat_sent { text: "x".into() })
        .expect_err("it fails");
    assert_eq!(texts(error), ["invalid digit found in string"]);
    assert_eq!(
        value(child.call(attributes::flat_sent { text: "12".into() })),
        12
    );
}

#[test]
fn an_async_function_awaits_calls_to_other_contexts() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let (child, other) = (tree.child(), tree.child());
    let grandchild = below(&child);
    let _ = &other;
    let numbers: Vec<u64> = (1..=50).collect();
    let reply = child.start(attributes::relay {
        other: grandchild.clone(),
        numbers: numbers.clone(),
    });
    assert_eq!(value(reply.wait()), numbers.iter().sum::<u64>() * 2 + 1);
    // It may not call its sibling, and the error is returned through it.
    let outcome = child.call(attributes::relay { other, numbers });
    let Err(CallError::Function { error, .. }) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(error.to_string().contains("may not talk"), "{error}");
}

#[test]
fn an_error_without_display_arrives_with_its_own_type() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let chain = tree.child().chain().expect("the tree lives");
    let first = chain.start(own::parse { text: "x".into() });
    let second = chain.start(own::nothing {});
    assert_eq!(
        first.wait().map_err(CallError::function),
        Err(Some(own::Odd::NoNumber("x".into())))
    );
    let error = failure(second.wait());
    let Error::Chain {
        function, detail, ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(function, "offshoot_test_agent::parse");
    assert!(detail.contains("without a text"), "{detail}");
}

#[test]
fn a_serialisation_failure_on_either_side_fails_the_call() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let outcomes = [
        failure(child.call(attributes::take_stubborn {
            value: attributes::Stubborn,
        })),
        failure(child.call(attributes::give_stubborn {})),
        failure(child.call(attributes::fail_stubborn {})),
    ];
    for error in outcomes {
        assert!(matches!(error, Error::Codec { .. }), "{error}");
        assert!(error.to_string().contains("it is stubborn"), "{error}");
    }
    value(child.call(own::nothing {}));
}

#[test]
fn an_unsupported_type_is_named_as_argument_or_result() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let rules = attributes::Rules {
        first: attributes::Loose::Text("x".into()),
    };
    let outcomes = [
        (
            "local: a value could not be sent: ",
            "take_loose: the argument `rules`",
            failure(child.call(attributes::take_loose { rules })),
        ),
        (
            "local: a value could not be sent: ",
            "give_loose: the result",
            failure(child.call(attributes::give_loose {})),
        ),
    ];
    for (begin, function, error) in outcomes {
        let text = error.to_string();
        assert!(text.starts_with(begin) && text.contains(function), "{text}");
        assert!(
            text.contains(": Rules.first has a type that does not say what comes"),
            "{text}"
        );
        assert!(
            text.contains("`untagged`") && !text.contains("same source"),
            "{text}"
        );
    }
    value(child.call(own::nothing {}));
}

#[test]
fn a_conditionally_skipped_field_is_an_error_at_the_sender() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    // As an argument and as a result.
    let task = || attributes::Task {
        retries: None,
        seen: true,
        port: 0,
        priority: Some(0),
    };
    let outcomes = [
        (
            "arguments",
            failure(child.call(attributes::return_task { task: Some(task()) })),
        ),
        (
            "result",
            failure(child.call(attributes::return_task { task: None })),
        ),
        (
            "arguments",
            failure(
                child
                    .chain()
                    .expect("the tree lives")
                    .call(attributes::return_task { task: Some(task()) }),
            ),
        ),
    ];
    for (part, error) in outcomes {
        let text = error.to_string();
        let begin = format!(
            "local: the {part} of offshoot_test_agent::attributes::return_task could not be sent: \
             Task.retries is left out"
        );
        assert!(text.starts_with(&begin), "{text}");
        assert!(!text.contains("same source"), "{text}");
    }
    // A skipped field is not read; the others keep their values.
    let full = attributes::Task {
        retries: Some(1),
        ..task()
    };
    let back = value(child.call(attributes::return_task { task: Some(full) }));
    assert_eq!(
        back,
        attributes::Task {
            retries: Some(1),
            seen: false,
            port: 0,
            priority: Some(0)
        }
    );
}

#[test]
fn a_quick_function_cannot_return_a_sender_and_does_not_deadlock() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let (to, from) = tree.router.channel::<u64>().expect("the tree lives");
    value(child.call(attributes::keep { to }));
    let mut reply = child.start(attributes::give_kept {});
    let error = failure(reply.wait_timeout(LIMIT));
    assert!(
        error
            .to_string()
            .contains("a quick function cannot return a Sender"),
        "{error}"
    );
    value(child.start(own::nothing {}).wait_timeout(LIMIT));
    // The callee has dropped it.
    assert_eq!(from.recv_timeout(LIMIT), Err(RecvError::Closed));
    // In a chain as well, where another thread may run it.
    let (to, from) = tree.router.channel::<u64>().expect("the tree lives");
    let chain = child.chain().expect("the tree lives");
    value(chain.start(attributes::keep { to }).wait_timeout(LIMIT));
    failure(chain.start(attributes::give_kept {}).wait_timeout(LIMIT));
    assert_eq!(from.recv_timeout(LIMIT), Err(RecvError::Closed));
}

#[test]
fn an_oversized_value_is_an_error_on_the_sending_side() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let sent = tree.router.bytes_sent();
    let too_large = |error: Error| match error {
        Error::Undelivered {
            context,
            reason: Reason::TooLarge,
            detail,
        } => {
            context == "local"
                && detail.contains(" of offshoot_test_agent::")
                && detail.ends_with("limit is 134217728; use a Reader or Writer for more")
        }
        error => panic!("{error}"),
    };
    assert!(too_large(failure(child.call(own::weigh {
        bytes: vec![0; 129 << 20].into()
    }))));
    assert!(
        tree.router.bytes_sent() - sent < 1 << 20,
        "it was not even sent"
    );
    assert!(too_large(failure(
        child.call(own::zeros { count: 129 << 20 })
    )));
    assert!(too_large(failure(child.call(own::mirror_twice {
        bytes: vec![0; 65 << 20].into()
    }))));
    // Up to the limit a blob is sent in one piece.
    let bytes = vec![3; 127 << 20];
    assert_eq!(
        value(child.call(own::weigh {
            bytes: bytes.into()
        })),
        127 << 20
    );
}

#[test]
fn a_secret_is_masked_when_printed_and_serialises_only_into_frames() {
    let log = log();
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    tree.router.set_log_filter(&Filter::up_to(2));
    let child = tree.child();
    let secret = || Secret::new("open sesame");
    let (debug, display, length) =
        value(child.call(attributes::look_at_secret { secret: secret() }));
    // Agents are built without texts for Debug.
    assert!(!debug.contains("sesame") && display == "***" && length == 11);
    let back = value(child.call(attributes::give_secret {
        text: b"emases nepo".to_vec(),
    }));
    assert_eq!(
        (back.expose(), format!("{back:?}")),
        (&b"open sesame"[..], "Secret(***)".to_owned())
    );
    let text = serde_json::to_string(&attributes::look_at_secret { secret: secret() });
    assert!(
        text.expect_err("it stays in frames")
            .to_string()
            .contains("only into a frame")
    );
    assert!(log.with("sesame").is_empty());
}

#[test]
fn a_sent_secret_leaves_no_copy_in_the_memory_of_the_caller() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    // Long, so that the buffer it is encoded into has to grow.
    let masked = Masked::from((0..4000_u32).map(|number| b'A' + (number * 7 % 26) as u8));
    let secret = || Secret::new(masked.text());
    let kept = secret();
    assert_eq!(
        masked.count_in(std::process::id()),
        1,
        "it can be found at all"
    );
    drop(kept);
    let (_, _, length) = value(child.call(attributes::look_at_secret { secret: secret() }));
    assert_eq!(length, 4000);
    let chain = child.chain().expect("the tree lives");
    value(chain.call(attributes::look_at_secret { secret: secret() }));
    drop(chain);
    assert_eq!(masked.count_in(std::process::id()), 0);
}

#[test]
fn a_context_can_be_passed_and_returned_and_used_by_the_receiver() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let grandchild = below(&child);
    let (back, name, same, sum) = value(child.call(attributes::hand_back {
        other: grandchild.clone(),
    }));
    assert_eq!(
        (&back, name.as_str(), same, sum),
        (&grandchild, "local.local", true, 3)
    );
    assert_eq!(value(back.call(own::place {})), "local.local");
    // A context that only the function knows.
    let born = value(child.call(attributes::bear {}));
    assert_eq!(
        (born.name(), value(born.call(own::place {})).as_str()),
        ("local.local", "local.local")
    );
    assert_ne!(born, grandchild);
    let Err(CallError::Function {
        error: own_context, ..
    }) = child.call(attributes::fail_with_context {})
    else {
        panic!("it fails with its context")
    };
    assert_eq!((own_context == child, own_context.name()), (true, "local"));
    value(own_context.call(own::nothing {}));
    // Not outside of a frame: serde_json refuses it.
    let error = serde_json::to_string(&attributes::hand_back { other: grandchild })
        .expect_err("it stays in frames");
    assert!(
        error.to_string().contains("only in a message to a context"),
        "{error}"
    );
}

#[test]
fn a_call_to_a_context_that_ends_fails_with_the_reason() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("lost");
    let tree = Tree::new();
    let child = tree.child();
    let reply: Reply<attributes::once> = child.start(attributes::once {
        dir: scratch.path().into(),
        key: 1,
    });
    becomes("it runs", || scratch.path().join("log-1").exists());
    child.shutdown().unwrap_or_else(|error| panic!("{error}"));
    let error = failure(reply.wait());
    assert!(
        matches!(
            &error,
            Error::Undelivered {
                reason: Reason::ShutDown | Reason::Lost,
                ..
            }
        ),
        "{error}"
    );
}
