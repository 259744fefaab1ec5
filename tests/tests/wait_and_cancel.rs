//! Waiting, deadlines and cancellation. Work that is cancelled or late ends at every hop and leaves
//! no state; replies can be awaited on any executor.

use std::fs;
use std::future::Future;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::{Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use futures_core::Stream;
use offshoot::{CallError, Context, Elapsed, Error, IntoSource as _, RecvError, Select};
use offshoot_test_agent::{self as own, long_running};
use offshoot_tests::process::eventually;
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::tree::{Tree, ended, facts, hop, resident};
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

/// Returns the context named by a timeout error, which either the caller or the function itself
/// reports.
#[track_caller]
fn late<T: std::fmt::Debug>(outcome: Result<T, CallError<Error>>) -> String {
    match outcome {
        Err(CallError::Failed(error) | CallError::Function { error, .. }) => match error {
            Error::TimedOut { context, .. } => context,
            error => panic!("{error}"),
        },
        Ok(value) => panic!("it came back as {value:?}"),
    }
}

fn below(context: &Context) -> Context {
    context
        .local()
        .connect()
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Creates a directory that every user may write to.
fn open_dir(label: &str) -> ScratchDir {
    let scratch = ScratchDir::new(label);
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o777)).expect("it is ours");
    scratch
}

fn text(path: &Path) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

#[track_caller]
fn becomes(what: &str, done: impl FnMut() -> bool) {
    assert!(eventually(LIMIT, done), "not in time: {what}");
}

/// Connects contexts behind ssh, behind sudo on it, and one more, for a call of `descend`.
fn three_deep(tree: &Tree, server: &Sshd) -> (Context, Vec<Context>) {
    let host = hop(&tree.router, server, NOPASS)
        .connect()
        .unwrap_or_else(|error| panic!("{error}"));
    let root = host
        .sudo()
        .connect()
        .unwrap_or_else(|error| panic!("{error}"));
    let rest = vec![root.clone(), below(&root)];
    (host, rest)
}

/// Asserts how the three functions of a `descend` ended, and that its program has ended.
#[track_caller]
fn all_have_ended(dir: &Path, seen: &str) {
    for depth in 0..3 {
        let ended = dir.join(format!("ended-{depth}"));
        becomes("the functions have ended", || ended.exists());
        assert_eq!(text(&ended), format!("{seen} / {seen}"), "at depth {depth}");
    }
    let pid = text(&dir.join("pid"))
        .parse()
        .expect("the program has written its number");
    becomes("the program has ended", || ended(pid));
}

#[test]
fn cancelling_a_call_ends_everything_it_started_behind_ssh_and_sudo() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let tree = Tree::new();
    let (host, rest) = three_deep(&tree, &server);
    for drops in [false, true] {
        let scratch = open_dir("cancel");
        let dir = scratch.path();
        let reply = host.start(long_running::descend {
            dir: dir.into(),
            depth: 0,
            rest: rest.clone(),
        });
        becomes("the program runs", || dir.join("pid").exists());
        if drops {
            drop(reply)
        } else {
            reply.cancel()
        }
        all_have_ended(dir, "cancelled");
    }
    // The contexts are still usable.
    for context in rest {
        value(context.call(own::nothing {}));
    }
}

#[test]
fn a_deadline_applies_at_every_hop() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let scratch = open_dir("deadline");
    let tree = Tree::new();
    let (host, rest) = three_deep(&tree, &server);
    let dir = scratch.path();
    // Long enough for all three to start on any machine.
    let soon = host.within(Duration::from_secs(5));
    let reply = soon.start(long_running::descend {
        dir: dir.into(),
        depth: 0,
        rest: rest.clone(),
    });
    assert_eq!(late(reply.wait()), "ssh.web1");
    all_have_ended(dir, "timed out");
    let left = |depth: u32| {
        text(&dir.join(format!("left-{depth}")))
            .parse::<u64>()
            .expect("it is counted")
    };
    assert!(left(0) <= 5000 && left(1) <= left(0) && left(2) <= left(1));
    // After the deadline no new call starts.
    let error = failure(soon.call(own::nothing {}));
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    for context in rest {
        value(context.call(own::nothing {}));
    }
}

#[test]
fn nested_calls_inherit_the_remaining_time_and_may_shorten_it() {
    let _leaks = Leaks::begin();
    let scratch = open_dir("within");
    let tree = Tree::new();
    let child = tree.child();
    let grandchild = below(&child);
    let other = || grandchild.clone();
    assert_eq!(
        value(child.call(long_running::time_left_there { other: other() })),
        (None, None)
    );
    let hour = Duration::from_secs(3600);
    let (here, there) = value(
        child
            .within(hour)
            .call(long_running::time_left_there { other: other() }),
    );
    assert!(here <= Some(hour) && there <= Some(hour) && here.is_some() && there.is_some());
    // With nested timeouts the shorter one applies.
    let short = child.within(hour).within(hour / 60).within(hour);
    assert!(value(short.call(long_running::time_left {})) <= Some(hour / 60));
    assert_eq!(child.within(Duration::MAX).time_left(), None);
    // A function may pass on less time than it has.
    let dir = scratch.path();
    let nested = child.call(long_running::nested_within {
        other: other(),
        dir: dir.into(),
        ms: 50,
    });
    assert_eq!(late(nested), "local.local");
    becomes("it has ended there too", || {
        dir.join("ended-nested").exists()
    });
    assert_eq!(text(&dir.join("ended-nested")), "timed out");
}

#[test]
fn a_program_past_its_deadline_is_killed() {
    let _leaks = Leaks::begin();
    let scratch = open_dir("late");
    let tree = Tree::new();
    for context in [tree.child(), tree.router.by_id(tree.router.id())] {
        let pid = scratch.path().join("pid");
        let script = format!(
            "echo $$ > {0}.part; mv {0}.part {0}; exec sleep 1000",
            pid.display()
        );
        let soon = context.within(Duration::from_millis(1500));
        let error = soon
            .command("sh")
            .arg("-c")
            .arg(script)
            .output()
            .expect_err("it is late");
        assert!(
            matches!(error, Error::TimedOut { after_ms: 1500, .. }),
            "{error}"
        );
        let pid = text(&pid)
            .parse()
            .expect("the program has written its number");
        becomes("the program has ended", || ended(pid));
        fs::remove_file(scratch.path().join("pid")).expect("it is ours");
    }
}

#[test]
fn a_queued_call_that_is_cancelled_or_late_does_not_start() {
    let _leaks = Leaks::begin();
    let scratch = open_dir("queue");
    let tree = Tree::new();
    let child = tree.child();
    let dir = scratch.path();
    // All worker threads run functions that ignore cancellation.
    let insist = |number: u32| long_running::insist {
        dir: dir.into(),
        name: number.to_string(),
    };
    let busy: Vec<_> = (0..64).map(|number| child.start(insist(number))).collect();
    becomes("all of them run", || {
        (0..64).all(|number| dir.join(format!("begun-{number}")).exists())
    });
    let wait = |name: &str| long_running::begin_and_wait {
        dir: dir.into(),
        name: name.into(),
    };
    let (cancelled, dropped) = (child.start(wait("cancelled")), child.start(wait("dropped")));
    let late = child.within(Duration::from_millis(50)).start(wait("late"));
    let last = child.start(wait("last"));
    cancelled.cancel();
    drop(dropped);
    assert_eq!(self::late(late.wait()), "local");
    assert!(!last.is_ready());
    // All requests have arrived, because a later call was answered.
    value(child.call(own::attributes::add { one: 1, other: 2 }));
    fs::write(dir.join("gate"), "").expect("the directory is ours");
    assert_eq!(value(last.wait()), "last");
    for (number, reply) in (0..64_u32).zip(busy) {
        assert_eq!(value(reply.wait()), number.to_string());
    }
    for name in ["cancelled", "dropped", "late"] {
        assert!(
            !dir.join(format!("begun-{name}")).exists(),
            "{name} has begun"
        );
    }
}

#[test]
fn a_function_that_ignores_its_deadline_still_times_out_for_the_caller() {
    let _leaks = Leaks::begin();
    let scratch = open_dir("insist");
    let tree = Tree::new();
    let child = tree.child();
    let dir = scratch.path();
    let insist = long_running::insist {
        dir: dir.into(),
        name: "one".into(),
    };
    let error = failure(child.within(Duration::from_millis(300)).call(insist));
    assert!(
        matches!(&error, Error::TimedOut { context, .. } if context == "local"),
        "{error}"
    );
    fs::write(dir.join("gate"), "").expect("the directory is ours");
    becomes("it has ended", || {
        dir.join("ended-one").exists() || !dir.join("begun-one").exists()
    });
    value(child.call(own::nothing {}));
}

/// Returns the counts of state held for calls by root and child.
fn held(tree: &Tree, child: &Context) -> [Vec<(String, usize)>; 2] {
    let here = tree
        .router
        .held()
        .map(|(what, count)| (what.to_owned(), count))
        .to_vec();
    [here, value(child.call(own::held {}))]
}

#[test]
fn calls_finished_before_their_deadline_leave_no_state() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let before = held(&tree, &child);
    let hour = child.within(Duration::from_secs(3600));
    for _ in 0..100 {
        value(hour.call(own::nothing {}));
        value(hour.call(own::attributes::add { one: 1, other: 2 }));
    }
    assert_eq!(held(&tree, &child), before);
}

#[test]
fn a_panic_in_on_arrival_affects_no_other_call() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let scratch = open_dir("told");
    let path = scratch.path().join("go");
    let [told, other] = [(); 2].map(|()| child.start(own::wait_for_file { path: path.clone() }));
    told.on_arrival(|| panic!("on purpose"));
    fs::write(&path, "").expect("the directory is ours");
    value(other.wait());
    value(told.wait());
    value(child.call(own::nothing {}));
}

#[test]
fn cancelled_or_late_calls_leave_no_state() {
    let _leaks = Leaks::begin();
    let scratch = open_dir("leak");
    let tree = Tree::new();
    let child = tree.child();
    let dir = scratch.path();
    let before = held(&tree, &child);
    let sizes = || {
        (
            resident(facts(&child).process),
            resident(std::process::id()),
        )
    };
    let round = || {
        let wait = |number: u32| long_running::begin_and_wait {
            dir: dir.into(),
            name: format!("n{}", number % 8),
        };
        let chain = child.chain().expect("the tree lives");
        let soon = child.within(Duration::from_millis(5));
        let mut replies: Vec<_> = (0..200).map(|number| child.start(wait(number))).collect();
        replies.extend((0..50).map(|number| soon.start(wait(number))));
        replies.extend((0..50).map(|number| chain.start(wait(number))));
        let large: Vec<_> = (0..20)
            .map(|_| {
                child.start(own::increment {
                    bytes: vec![0; 200_000],
                })
            })
            .collect();
        for (at, mut reply) in replies.into_iter().enumerate() {
            match at % 3 {
                0 => drop(reply),
                1 => reply.cancel(),
                _ => {
                    let _ = reply.wait_timeout(Duration::from_millis(1));
                }
            }
        }
        drop(large);
        drop(chain.start(own::nothing {}));
    };
    round();
    let size = sizes();
    for _ in 0..10 {
        round();
    }
    let mut after = held(&tree, &child);
    let same = eventually(LIMIT, || {
        after = held(&tree, &child);
        after == before
    });
    assert!(same, "{before:?} became {after:?}");
    let now = sizes();
    assert!(
        now.0 < size.0 + (24 << 20) && now.1 < size.1 + (24 << 20),
        "{size:?} became {now:?}"
    );
}

#[test]
fn ten_thousand_outstanding_replies_can_be_dropped() {
    let _leaks = Leaks::begin();
    let scratch = open_dir("many");
    let tree = Tree::new();
    let child = tree.child();
    let before = held(&tree, &child);
    let replies: Vec<_> = (0..10_000)
        .map(|_| {
            child.start(long_running::begin_and_wait {
                dir: scratch.path().into(),
                name: "any".into(),
            })
        })
        .collect();
    value(child.call(own::attributes::add { one: 1, other: 2 }));
    drop(replies);
    becomes("nothing is left", || held(&tree, &child) == before);
}

#[test]
fn a_timeout_of_duration_max_is_valid() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    assert_eq!(
        value(
            child
                .start(own::aliased::halve { number: 8 })
                .wait_timeout(Duration::MAX)
        ),
        4
    );
    let (to, from) = tree.router.channel::<u64>().expect("the tree lives");
    to.send(&3).expect("there is a receiver");
    assert_eq!(from.recv_timeout(Duration::MAX), Ok(3));
    let select = Select::new([child.start(own::aliased::halve { number: 2 })]);
    let (_, half) = select
        .wait_timeout(Duration::MAX)
        .expect("it is never late")
        .expect("there is a source");
    assert_eq!(value(half), 1);
    assert_eq!(from.recv_timeout(Duration::ZERO), Err(RecvError::TimedOut));
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

/// Awaits the next item of a stream.
async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    std::future::poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await
}

/// Exercises an executor: replies in and out of order, a dropped reply, a receiver and a select as
/// streams.
async fn everything(child: Context) {
    let scratch = open_dir("future");
    let path = scratch.path().join("now");
    let late = child.start(own::wait_for_file { path: path.clone() });
    drop(child.start(own::hang {}));
    assert_eq!(
        value(child.start(own::aliased::halve { number: 8 }).await),
        4
    );
    fs::write(&path, "").expect("the directory is ours");
    assert!(value(late.await));
    let error = failure(
        child
            .within(Duration::from_millis(20))
            .start(own::hang {})
            .await,
    );
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    let chain = child.chain().expect("the tree lives");
    assert_eq!(
        value(chain.start(own::aliased::halve { number: 6 }).await),
        3
    );
    let (to, mut from) = child.channel::<u64>().expect("the tree lives");
    let sending = child.start(own::channel_ends::count_to { count: 100, to });
    let mut sum = 0;
    while let Some(number) = next(&mut from).await {
        sum += number.expect("nothing goes wrong");
    }
    assert_eq!(sum, 4950);
    value(sending.await);
    let (to, from) = child.channel::<u64>().expect("the tree lives");
    let sending = child.start(own::channel_ends::count_to { count: 10, to });
    let mut sum = 0;
    loop {
        // A wait that is dropped takes no message along.
        let mut given_up = Box::pin(from.recv_async());
        let _ = given_up
            .as_mut()
            .poll(&mut std::task::Context::from_waker(Waker::noop()))
            .map(|number| sum += number.unwrap_or_default());
        drop(given_up);
        match from.recv_async().await {
            Ok(number) => sum += number,
            Err(error) => {
                assert_eq!(error, RecvError::Closed);
                break;
            }
        }
    }
    assert_eq!(sum, 45);
    value(sending.await);
    let halves = || (0..10).map(|number| child.start(own::aliased::halve { number: number * 2 }));
    let select = Select::new(halves());
    let mut sum = 0;
    while let Some((_, half)) = select.wait_async().await {
        sum += value(half);
    }
    assert_eq!(sum, 45);
    let mut select = Select::new(halves());
    let mut sum = 0;
    while let Some((_, half)) = next(&mut select).await {
        sum += value(half);
    }
    assert_eq!(sum, 45);
}

#[test]
fn replies_receivers_and_selects_are_awaited_without_a_runtime() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    block_on(everything(tree.child()));
}

#[test]
fn replies_receivers_and_selects_are_awaited_under_tokio() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("it needs nothing");
    let tasks: Vec<_> = (0..4)
        .map(|_| runtime.spawn(everything(tree.child())))
        .collect();
    for task in tasks {
        runtime.block_on(task).expect("it does not panic");
    }
}

#[test]
fn replies_receivers_and_selects_are_awaited_under_smol() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let executor = smol::LocalExecutor::new();
    let tasks: Vec<_> = (0..4)
        .map(|_| executor.spawn(everything(tree.child())))
        .collect();
    smol::future::block_on(executor.run(async {
        for task in tasks {
            task.await;
        }
    }));
}

#[test]
fn select_yields_items_in_order_of_arrival() {
    let _leaks = Leaks::begin();
    let scratch = open_dir("select");
    let tree = Tree::new();
    let contexts = [tree.child(), tree.child(), tree.child()];
    let path = |number: usize| scratch.path().join(number.to_string());
    let start = |number: usize| contexts[number].start(own::wait_for_file { path: path(number) });
    let select = Select::new((0..3).map(start));
    assert_eq!(
        (
            select.len(),
            select.wait_timeout(Duration::from_millis(5)).err()
        ),
        (3, Some(Elapsed))
    );
    for number in [2, 0, 1] {
        fs::write(path(number), "").expect("the directory is ours");
        let (context, outcome) = select.wait().expect("it is waited for");
        assert!(value(outcome) && context == contexts[number], "{context}");
    }
    assert!(select.is_empty() && select.wait().is_none());
    assert!(
        select
            .wait_timeout(Duration::ZERO)
            .is_ok_and(|item| item.is_none())
    );
}

#[test]
fn select_mixes_sources_of_every_kind_added_and_removed_at_any_time() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let (to, numbers) = tree.router.channel::<u64>().expect("the tree lives");
    let inner = Select::new([child
        .start(own::place {})
        .map_items(|(_, place)| value(place))]);
    let select = Select::default();
    let never = select.add(child.start(own::hang {}).map_items(|_| "never".to_owned()));
    select.add(
        numbers
            .map_items(|number| number.map_or_else(|error| error.to_string(), |n| n.to_string())),
    );
    select.add(inner);
    let (tell, told) = channel();
    let waiting = select.clone();
    let waiter = std::thread::spawn(move || {
        for item in waiting {
            tell.send(item).expect("the test listens");
        }
    });
    let item = || told.recv_timeout(LIMIT).expect("somebody waits");
    assert_eq!(item(), "local");
    for number in [3, 1, 2] {
        to.send(&number).expect("there is a receiver");
        assert_eq!(item(), number.to_string());
    }
    // Added and removed during a wait.
    select.add(
        child
            .start(own::aliased::halve { number: 84 })
            .map_items(|(_, half)| value(half).to_string()),
    );
    assert_eq!(item(), "42");
    drop(to);
    assert!(select.remove(never) && !select.remove(never));
    waiter.join().expect("it does not panic");
    assert!(told.try_recv().is_err() && select.is_empty());
    // A removed source is cancelled.
    value(child.call(own::nothing {}));
}

#[test]
fn select_yields_contexts_as_they_connect_or_fail() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let scratch = open_dir("up");
    let fifo = scratch.path().join("go");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("the directory is ours");
    // The first hop waits for the fifo; its ssh is a script that reads it and fails.
    let script = scratch.path().join("slow-ssh");
    fs::write(
        &script,
        format!(
            "#!/bin/sh\n[ \"$1\" = -G ] && exit\nread line < {}\nexit 7\n",
            fifo.display()
        ),
    )
    .expect("it is ours");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let slow = tree
        .router
        .ssh("slow")
        .program(script.display().to_string())
        .start();
    let quick = tree.router.local().name("quick").start();
    let select =
        Select::new([slow, quick].map(|opened| opened.unwrap_or_else(|error| panic!("{error}"))));
    let (context, outcome) = select.wait().expect("one comes up");
    assert_eq!((context.name(), outcome), ("quick", Ok(())));
    value(context.call(own::nothing {}));
    fs::write(&fifo, "go\n").expect("it is read");
    let (context, outcome) = select.wait().expect("the other fails");
    let error = outcome.expect_err("it ends");
    assert_eq!(
        error.as_connect().map(|error| error.context.as_str()),
        Some(context.name())
    );
    assert!(error.to_string().contains("status 7"), "{error}");
    assert!(select.wait().is_none());
}

#[test]
fn select_all_returns_every_item() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let contexts = [tree.child(), tree.child()];
    let replies = (0..100_u64)
        .map(|number| contexts[number as usize % 2].start(own::aliased::halve { number }));
    let outcomes = Select::new(replies).all();
    let sum: u64 = outcomes
        .iter()
        .filter_map(|(_, half)| half.as_ref().ok())
        .sum();
    let failed = outcomes
        .iter()
        .filter(|(context, half)| half.is_err() && *context == contexts[1])
        .count();
    assert_eq!((outcomes.len(), sum, failed), (100, (0..50).sum(), 50));
}

#[test]
fn several_tasks_can_share_a_select() {
    let _leaks = Leaks::begin();
    let scratch = open_dir("tasks");
    let tree = Tree::new();
    let child = tree.child();
    let path = |number: u32| scratch.path().join(number.to_string());
    let select =
        Select::new((0..2).map(|number| child.start(own::wait_for_file { path: path(number) })));
    let executor = smol::LocalExecutor::new();
    let tasks: Vec<_> = (0..2)
        .map(|_| {
            let mut select = select.clone();
            executor.spawn(async move { next(&mut select).await.is_some() })
        })
        .collect();
    smol::future::block_on(executor.run(async {
        // Both tasks wait before any item is available.
        smol::future::yield_now().await;
        smol::future::yield_now().await;
        fs::write(path(0), "").expect("the directory is ours");
        fs::write(path(1), "").expect("the directory is ours");
        for task in tasks {
            assert!(task.await, "each has one");
        }
    }));
}

#[test]
fn a_function_in_the_controller_is_cancelled_when_its_tree_ends() {
    let _leaks = Leaks::begin();
    let scratch = open_dir("end");
    let tree = Tree::new();
    let dir = scratch.path();
    let reply = tree.router.start(long_running::begin_and_wait {
        dir: dir.into(),
        name: "here".into(),
    });
    becomes("it runs", || dir.join("begun-here").exists());
    drop(tree);
    becomes("it has seen it", || {
        text(&dir.join("ended-here")) == "cancelled"
    });
    assert_eq!(failure(reply.wait()), Error::ShutDown);
}
