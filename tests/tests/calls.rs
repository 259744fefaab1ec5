//! Typed calls: every form of function, values and errors of every size and type, and every way to
//! wait for a reply.

use std::fs;
use std::future::Future;
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::{Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use offshoot::{Blob, CallError, Error, Reason, stock};
use offshoot_test_agent as own;
use offshoot_tests::process::eventually;
use offshoot_tests::run::LIMIT;
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::tree::{Tree, ended, facts, hop, resident, router};
use offshoot_tests::users::{NOPASS, PLAIN};
use offshoot_tests::{Leaks, Sshd};

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
fn a_remote_call_returns_what_a_local_call_returns() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    value(child.call(own::nothing {}));
    let parts = vec![Some(i64::MIN), None, Some(-1)];
    let table: own::Table = [
        ("\u{1f980}.".to_owned(), (true, None)),
        (String::new(), (false, Some('\0'))),
    ]
    .into();
    let name = "two words\n".to_owned();
    let here = own::turn(7, name.clone(), parts.clone(), table.clone());
    assert_eq!(
        value(child.call(own::turn {
            count: 7,
            name,
            parts,
            table
        })),
        here
    );
    assert_eq!(value(child.call(own::place {})), "local");
    assert_eq!(value(tree.router.call(own::place {})), "controller");
    assert_eq!(value(child.call(own::aliased::halve { number: 84 })), 42);
    assert_eq!(
        value(child.call(own::shell {
            script: "echo $((6*7))".into()
        })),
        "42\n"
    );
}

#[test]
fn a_function_error_arrives_with_its_own_type() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    assert_eq!(value(child.call(own::parse { text: "255".into() })), 255);
    let error = child
        .call(own::parse { text: "300".into() })
        .expect_err("it is too large");
    assert_eq!(error.function(), Some(own::Odd::TooLarge { by: 45 }));
    let error = child
        .call(own::parse { text: "no".into() })
        .expect_err("it is no number");
    let CallError::Function {
        error,
        context,
        function,
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(error, own::Odd::NoNumber("no".into()));
    assert_eq!(
        (&*context, &*function),
        ("local", "offshoot_test_agent::parse")
    );
    let error = child
        .call(own::aliased::halve { number: 3 })
        .expect_err("it is odd");
    assert_eq!(error.function(), Some(own::Odd::TooLarge { by: 1 }));
}

#[test]
fn an_io_error_keeps_its_errno_or_its_kind_and_text() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let path = "/etc/passwd".into();
    assert_eq!(
        value(child.call(own::size_of { path })),
        fs::metadata("/etc/passwd").expect("there").len()
    );
    let error = child
        .call(own::size_of {
            path: "/no/such".into(),
        })
        .expect_err("it is not there");
    let error = error.function().expect("the function ran");
    assert_eq!(
        (error.kind(), error.raw_os_error()),
        (ErrorKind::NotFound, Some(libc::ENOENT))
    );
    let error = child
        .call(own::refuse {
            why: "because".into(),
        })
        .expect_err("it refuses");
    let error = error.function().expect("the function ran");
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::InvalidInput, "because")
    );
}

#[test]
fn a_call_error_can_be_returned_as_a_value() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let [up, gone] = [(); 2].map(|()| {
        child
            .local()
            .connect()
            .unwrap_or_else(|error| panic!("{error}"))
    });
    gone.shutdown().unwrap_or_else(|error| panic!("{error}"));
    let ask = |text: &str| {
        let contexts = vec![up.clone(), gone.clone()];
        value(child.call(own::parse_everywhere {
            contexts,
            text: text.into(),
        }))
    };
    let [good, lost] = &ask("7")[..] else {
        panic!("two were asked")
    };
    assert_eq!(good, &Ok(7));
    assert!(
        matches!(lost, Err(CallError::Failed(Error::Undelivered { .. }))),
        "{lost:?}"
    );
    assert_eq!(
        ask("seven")[0].clone().map_err(CallError::function),
        Err(Some(own::Odd::NoNumber("seven".into())))
    );
    // Call errors convert to boxed errors, also those with a text as error type.
    let full = CallError::Function {
        error: "no space".to_owned(),
        context: "ssh.web1".into(),
        function: "backup::start".into(),
    };
    let sentence = "ssh.web1: backup::start: no space";
    assert_eq!(Error::from(full.clone()).to_string(), sentence);
    let boxed: Box<dyn std::error::Error> = full.into();
    assert_eq!(boxed.to_string(), sentence);
}

#[test]
fn calling_a_function_missing_from_the_agent_names_it() {
    let _leaks = Leaks::begin();
    // This tree uses stock agents.
    let router = router();
    let child = router
        .local()
        .connect()
        .unwrap_or_else(|error| panic!("{error}"));
    let error = failure(child.call(own::parse { text: "1".into() }));
    let function = "offshoot_test_agent::parse".to_owned();
    assert_eq!(
        error,
        Error::NoSuchFunction {
            context: "local".into(),
            function
        }
    );
    assert!(
        error
            .to_string()
            .contains("offshoot build-agent --manifest-path"),
        "{error}"
    );
    value(child.call(stock::ping {}));
}

#[test]
fn twenty_mebibytes_pass_as_argument_and_result() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let tree = Tree::new();
    let host = hop(&tree.router, &server, NOPASS)
        .connect()
        .unwrap_or_else(|error| panic!("{error}"));
    let bytes: Vec<u8> = (0..20 << 20)
        .map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let expected: Vec<u8> = bytes.iter().map(|byte| byte.wrapping_add(1)).collect();
    let reply = host.start(own::increment { bytes });
    // A small call does not wait behind a large one.
    value(host.call(stock::ping {}));
    assert!(
        value(reply.wait()) == expected,
        "the bytes have changed on the way"
    );
}

#[test]
fn a_blob_passes_as_argument_and_result_to_several_contexts_at_once() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let (first, second) = (tree.child(), tree.child());
    let below = first
        .local()
        .connect()
        .unwrap_or_else(|error| panic!("{error}"));
    let bytes: Vec<u8> = (0..20 << 20)
        .map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let blob = Blob::from(bytes);
    let replies: Vec<_> = [first, second, below]
        .iter()
        .map(|child| {
            child.start(own::mirror {
                bytes: blob.clone(),
            })
        })
        .collect();
    for reply in replies {
        assert!(
            value(reply.wait()) == blob,
            "the bytes have changed on the way"
        );
    }
}

#[test]
fn a_result_over_the_size_limit_is_an_error() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let error = failure(child.call(own::zeros { count: 129 << 20 })).to_string();
    assert!(
        error.starts_with("local: ") && error.contains("large") || error.contains("limit"),
        "{error}"
    );
    assert_eq!(value(child.call(own::zeros { count: 3 })), [0, 0, 0]);
}

#[test]
fn within_bytes_limits_the_size_of_a_reply() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    for (most, count, fits) in [
        (1000, 900, true),
        (1000, 1001, false),
        (100_000, 300_000, false),
        (0, 1, false),
    ] {
        let within = child.within_bytes(most);
        match within.call(own::zeros { count }) {
            Ok(zeros) => assert!(fits && zeros.len() == count, "{most}: {count}"),
            Err(error) => {
                let error = error.to_string();
                assert!(
                    !fits && error.starts_with("local: ") && error.contains(&most.to_string()),
                    "{error}"
                );
            }
        }
        // The smaller limit applies, and a timeout may be set as well.
        let both = within.within_bytes(1 << 20).within(Duration::from_secs(60));
        assert_eq!(
            both.call(own::zeros { count }).is_ok(),
            fits,
            "{most}: {count}"
        );
    }
    assert_eq!(value(child.call(own::zeros { count: 2000 })).len(), 2000);
}

#[test]
fn a_function_can_connect_contexts_below_its_own() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let tree = Tree::new();
    let host = hop(&tree.router, &server, NOPASS)
        .connect()
        .unwrap_or_else(|error| panic!("{error}"));
    let other = host
        .sudo()
        .user(PLAIN.name)
        .connect()
        .unwrap_or_else(|error| panic!("{error}"));
    let places = value(other.call(own::grow { depth: 3 }));
    let base = "ssh.web1.sudo.plain";
    let expected =
        ["", ".local", ".local.local", ".local.local.local"].map(|end| format!("{base}{end}"));
    assert_eq!(places, expected);
}

#[test]
fn a_wait_that_times_out_does_not_cancel_the_call() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let scratch = ScratchDir::new("signal");
    let path = scratch.path().join("now");
    let mut reply = child.start(own::wait_for_file { path: path.clone() });
    for _ in 0..2 {
        let error = failure(reply.wait_timeout(Duration::from_millis(20)));
        assert_eq!(
            error,
            Error::TimedOut {
                context: "local".into(),
                after_ms: 20
            }
        );
    }
    fs::write(&path, "").expect("the directory is ours");
    assert!(value(reply.wait_timeout(LIMIT)), "the call went on");
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on a minimal executor.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future
            .as_mut()
            .poll(&mut std::task::Context::from_waker(&waker))
        {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn a_reply_is_a_future_on_any_executor() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let scratch = ScratchDir::new("signal");
    let path = scratch.path().join("now");
    let late = child.start(own::wait_for_file { path: path.clone() });
    let (first, second, third) = block_on(async {
        let first = child.start(own::aliased::halve { number: 8 }).await;
        let second = child.start(own::aliased::halve { number: 9 }).await;
        fs::write(&path, "").expect("the directory is ours");
        (first, second, late.await)
    });
    assert_eq!(value(first), 4);
    assert_eq!(
        second.expect_err("it is odd").function(),
        Some(own::Odd::TooLarge { by: 1 })
    );
    assert!(value(third));
}

#[test]
fn a_thousand_concurrent_calls_get_their_own_replies() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let contexts = [tree.child(), tree.child()];
    let number_of = |number: u32| own::aliased::halve {
        number: u64::from(number),
    };
    let replies: Vec<_> = (0..1000)
        .map(|number| contexts[number as usize % 2].start(number_of(number)))
        .collect();
    for (number, reply) in replies.into_iter().enumerate().rev() {
        match reply.wait() {
            Ok(half) => assert_eq!(half * 2, number as u64),
            Err(error) => assert!(number % 2 == 1 && error.function().is_some(), "{number}"),
        }
    }
}

#[test]
fn many_threads_can_call_one_context_at_once() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    std::thread::scope(|scope| {
        for thread in 0..16_u64 {
            let child = child.clone();
            scope.spawn(move || {
                for number in 0..100 {
                    let number = thread * 1000 + number * 2;
                    assert_eq!(
                        value(child.call(own::aliased::halve { number })),
                        number / 2
                    );
                }
            });
        }
    });
}

#[test]
fn on_arrival_runs_when_the_reply_has_arrived() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let (tell, told) = channel();
    let replies: Vec<_> = (0..10_u64)
        .map(|number| child.start(own::aliased::halve { number: number * 2 }))
        .collect();
    for (number, reply) in replies.iter().enumerate() {
        let tell = tell.clone();
        reply.on_arrival(move || tell.send(number).expect("the suite listens"));
    }
    let mut numbers: Vec<usize> = (0..10)
        .map(|_| told.recv().expect("each caller is notified"))
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
    for (number, reply) in replies.into_iter().enumerate() {
        assert_eq!(value(reply.wait()), number as u64);
    }
}

#[test]
fn dropped_replies_keep_no_memory() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let agent = facts(&child).process;
    let round = || {
        for _ in 0..200 {
            drop(child.start(own::zeros { count: 100_000 }));
            drop(child.start(own::increment {
                bytes: vec![0; 50_000],
            }));
        }
        // A small call overtakes the large ones, which may still fill the link.
        let answers = || child.call(stock::ping {}).is_ok();
        assert!(eventually(LIMIT, answers), "the link stays full");
    };
    let memory = || [resident(agent), resident(std::process::id())];
    stops_growing(round, memory);
    // With all threads busy, the arguments of the calls might be kept.
    let _hanging: Vec<_> = (0..64).map(|_| child.start(own::hang {})).collect();
    stops_growing(round, memory);
}

/// Asserts that neither of two sizes in bytes grows by more than 1 MiB in five rounds. They may
/// grow in earlier ones: what is under way at once takes more and more memory, up to its bound.
#[track_caller]
fn stops_growing(round: impl Fn(), sizes: impl Fn() -> [u64; 2]) {
    let (mut base, mut steady) = (sizes(), 0);
    for _ in 0..60 {
        round();
        let now = sizes();
        let grew = |at: usize| now[at] > base[at] + (1 << 20);
        (base, steady) = match grew(0) || grew(1) {
            true => ([base[0].max(now[0]), base[1].max(now[1])], 0),
            false => (base, steady + 1),
        };
        if steady == 5 {
            return;
        }
    }
    panic!("after 60 rounds they still grow: {base:?}");
}

#[test]
fn calls_to_a_context_that_was_shut_down_fail_with_that_reason() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let waiting = child.start(own::hang {});
    child.shutdown().unwrap_or_else(|error| panic!("{error}"));
    let error = failure(waiting.wait());
    assert!(
        matches!(&error, Error::Undelivered { context, .. } if context == "local"),
        "{error}"
    );
    let error = failure(child.call(own::nothing {}));
    let Error::Undelivered {
        context, reason, ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(
        (context.as_str(), *reason),
        ("local", Reason::ShutDown),
        "{error}"
    );
}

#[test]
fn hanging_functions_delay_neither_other_calls_nor_shutdown() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let (child, other) = (tree.child(), tree.child());
    let grandchild = child
        .local()
        .connect()
        .unwrap_or_else(|error| panic!("{error}"));
    let contexts = [&child, &other, &grandchild];
    let hanging: Vec<_> = (0..60)
        .map(|number| contexts[number % 3].start(own::hang {}))
        .collect();
    let pids = contexts.map(|context| facts(context).process);
    value(child.call(own::nothing {}));
    child.shutdown().unwrap_or_else(|error| panic!("{error}"));
    assert!(
        ended(pids[0]) && ended(pids[2]),
        "hung functions keep agents"
    );
    value(other.call(own::nothing {}));
    drop(tree);
    assert!(ended(pids[1]), "hung functions keep an agent");
    for reply in hanging {
        failure(reply.wait());
    }
}

#[test]
fn a_panic_is_reported_with_its_location_and_the_context_lives_on() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let grandchild = child
        .local()
        .connect()
        .unwrap_or_else(|error| panic!("{error}"));
    let scratch = ScratchDir::new("signals");
    // In the root's own process, and in agents built to unwind, which is how build-agent builds all
    // but the stock agent.
    for context in [&tree.router, &child, &grandchild] {
        let signal = scratch.path().join(context.name());
        let busy = context.start(own::wait_for_file {
            path: signal.clone(),
        });
        let error = failure(context.call(own::panic_with {
            text: "out of cheese".into(),
        }));
        let Error::Panicked {
            context: name,
            message,
        } = &error
        else {
            panic!("{error}")
        };
        assert_eq!(name, context.name());
        let place = message
            .strip_prefix("out of cheese, at ")
            .unwrap_or_else(|| panic!("no place: {message}"));
        let [file, line, column] = place.split(':').collect::<Vec<_>>()[..] else {
            panic!("{place}")
        };
        assert_eq!(file, "tests/agent/src/lib.rs");
        assert!(
            column.parse::<u32>().is_ok_and(|column| column > 0),
            "{place}"
        );
        let number: usize = line.parse().expect("a line has a number");
        let source =
            fs::read_to_string("agent/src/lib.rs").expect("suites run in the folder tests");
        assert_eq!(
            source.lines().nth(number - 1).map(str::trim),
            Some("panic!(\"{text}\");"),
            "{place}"
        );
        // The context and its other calls are unaffected.
        assert_eq!(value(context.call(own::place {})), context.name());
        fs::write(signal, "").expect("the directory is ours");
        assert!(value(busy.wait()));
    }
}

#[test]
fn an_aborted_agent_fails_its_calls_and_no_sibling() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let (child, other) = (tree.child(), tree.child());
    let below = child
        .local()
        .connect()
        .unwrap_or_else(|error| panic!("{error}"));
    // The effect of a panic in an agent built to abort: an invalid instruction.
    let waiting = [child.start(own::hang {}), below.start(own::hang {})];
    kill(Pid::from_raw(facts(&child).process as i32), Signal::SIGILL).expect("it lives");
    for reply in waiting {
        let error = failure(reply.wait());
        assert!(
            matches!(
                error,
                Error::Undelivered {
                    reason: Reason::Lost,
                    ..
                }
            ),
            "{error}"
        );
    }
    value(other.call(own::nothing {}));
}
