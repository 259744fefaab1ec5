//! Large numbers and scarce resources: descriptors, memory, interrupted system calls, stalled
//! readers.

use std::fs;
use std::io::{Read as _, Write as _};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use offshoot::{ConnectErrorKind, Connecting, Context, Error, Reason, stock};
use offshoot_test_agent as own;
use offshoot_tests::Leaks;
use offshoot_tests::process::{eventually, signal};
use offshoot_tests::run::{LIMIT, LONG_LIMIT};
use offshoot_tests::tree::{Tree, below, facts, resident, router};

#[track_caller]
fn up<T, E: std::fmt::Display>(outcome: Result<T, E>) -> T {
    outcome.unwrap_or_else(|error| panic!("{error}"))
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("it is ours").count()
}

/// Returns the descriptor limits of a shell in that context.
fn limit_in(context: &Context) -> String {
    let output = up(context
        .command("sh")
        .args(["-c", "ulimit -Sn; ulimit -Hn"])
        .output());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Starts that many local contexts before waiting for the first.
fn at_once(parent: &Context, count: usize) -> Vec<Context> {
    let opened: Vec<Connecting> = (0..count)
        .map(|_| up(parent.local().timeout(LONG_LIMIT).start()))
        .collect();
    let replies: Vec<_> = opened
        .iter()
        .map(|connecting| connecting.context().start(stock::ping {}))
        .collect();
    for reply in replies {
        up(reply.wait());
    }
    opened
        .into_iter()
        .map(|connecting| up(connecting.wait()))
        .collect()
}

#[test]
fn a_tree_exceeds_a_low_soft_descriptor_limit_and_programs_keep_it() {
    let _leaks = Leaks::begin();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("there is a limit");
    assert!(hard > 4096, "this machine allows {hard} descriptors");
    setrlimit(Resource::RLIMIT_NOFILE, 256, hard).expect("a soft limit may be lowered");
    let router = router();
    let contexts = at_once(&router, 400);
    assert!(descriptors() > 1024, "{} descriptors", descriptors());
    // The same below an agent, which was started with the low limit as well.
    let parent = &contexts[0];
    let deeper = at_once(parent, 100);
    let held = fs::read_dir(format!("/proc/{}/fd", facts(parent).process))
        .expect("it lives")
        .count();
    assert!(
        held > 256,
        "an agent with {} children holds {held}",
        deeper.len()
    );
    for place in [&*router, parent, &deeper[99]] {
        assert_eq!(limit_in(place), format!("256\n{hard}\n"), "in {place}");
    }
    // A limit set explicitly is kept.
    setrlimit(Resource::RLIMIT_NOFILE, 5000, hard).expect("a soft limit may be lowered");
    assert_eq!(
        limit_in(&up(router.local().connect())),
        format!("5000\n{hard}\n")
    );
    drop(router);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).expect("as it was");
}

#[test]
fn one_thread_opens_and_calls_a_hundred_contexts_without_waiting() {
    let _leaks = Leaks::begin();
    let router = router();
    let contexts = at_once(&router, 100);
    let mut processes: Vec<u32> = contexts
        .iter()
        .map(|context| facts(context).process)
        .collect();
    processes.sort_unstable();
    processes.dedup();
    assert_eq!(processes.len(), 100);
}

#[test]
fn interrupted_system_calls_every_200_microseconds_do_no_harm() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    up(child.call(own::storm { microseconds: 200 }));
    own::interrupt(200);
    for round in 0..200 {
        let text = format!("round {round}");
        assert_eq!(up(child.call(stock::echo { text: text.clone() })), text);
    }
    let bytes: Vec<u8> = (0..8 << 20)
        .map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let mut cat = up(child.command("cat").spawn());
    let (mut stdin, mut stdout) = (
        cat.stdin.take().expect("piped"),
        cat.stdout.take().expect("piped"),
    );
    let sent = bytes.clone();
    let writing = std::thread::spawn(move || stdin.write_all(&sent));
    let mut back = Vec::new();
    up(stdout.read_to_end(&mut back));
    up(writing.join().expect("it does not panic"));
    assert!(back == bytes, "the stream has changed on its way");
    assert!(up(cat.wait()).success());
    for _ in 0..20 {
        let grandchild = up(child.local().connect());
        assert_eq!(facts(&grandchild).user, "root");
        up(grandchild.shutdown());
        up(tree.child().shutdown());
    }
    assert_eq!(
        up(child.call(own::increment {
            bytes: vec![1; 1 << 20]
        })),
        vec![2; 1 << 20]
    );
    own::interrupt(0);
}

#[test]
fn a_stalled_child_with_full_pipes_delays_no_other() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let (stopped, other) = (tree.child(), tree.child());
    // Its stdout is filled with unread program output, and then its stdin with calls.
    let flood = up(stopped
        .command("sh")
        .args(["-c", "yes | head -c 4000000"])
        .spawn());
    let process = facts(&stopped).process;
    signal(process, Signal::SIGSTOP);
    let calls: Vec<_> = (0..64)
        .map(|_| {
            stopped.start(own::increment {
                bytes: vec![1; 100_000],
            })
        })
        .collect();
    for _ in 0..100 {
        up(other.call(stock::ping {}));
    }
    up(tree.child().shutdown());
    signal(process, Signal::SIGCONT);
    for call in calls {
        assert_eq!(up(call.wait()), vec![2; 100_000]);
    }
    drop(flood);
}

#[test]
fn an_agent_out_of_memory_ends_alone_and_with_a_reason() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let other = tree.child();
    let words = [
        "/bin/sh",
        "-c",
        "ulimit -v 65536; exec /bin/sh \"$@\"",
        "sh",
    ]
    .map(str::to_owned);
    let small = up(tree.router.local().shell_words(words.into()).connect());
    assert_eq!(up(small.call(own::zeros { count: 1 << 20 })).len(), 1 << 20);
    let error: Error = small
        .call(own::zeros { count: 100 << 20 })
        .expect_err("there is no room")
        .into();
    let Error::Undelivered {
        context,
        reason: Reason::Lost,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(context, "local");
    assert_eq!(
        up(other.call(own::zeros { count: 100 << 20 })).len(),
        100 << 20
    );
    let error = small
        .call(stock::ping {})
        .expect_err("it is gone")
        .to_string();
    assert!(error.starts_with("local: "), "{error}");
}

/// Starts a thousand hops that must fail with this kind, and asserts a bound on memory.
#[track_caller]
fn a_thousand_fail(words: &[&str], timeout: Duration, kind: ConnectErrorKind) {
    let router = router();
    up(router.local().connect());
    let before = resident(std::process::id());
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let hop = || {
        router
            .local()
            .shell_words(words.clone())
            .timeout(timeout)
            .start()
    };
    let opened: Vec<Connecting> = (0..1000).map(|_| up(hop())).collect();
    let mut grown = 0;
    for connecting in opened {
        let error = connecting.wait().expect_err("there is no agent");
        assert_eq!(
            error.as_connect().expect("it is about a hop").kind,
            kind,
            "{error}"
        );
        grown = grown.max(resident(std::process::id()).saturating_sub(before));
    }
    assert!(grown < 64 << 20, "a thousand hops cost {grown} bytes");
    assert!(
        eventually(LONG_LIMIT, || below().len() <= 2),
        "left: {:?}",
        below()
    );
    assert_eq!(facts(&up(router.local().connect())).user, "root");
}

#[test]
fn a_thousand_concurrent_failing_hops_each_return_an_error_and_leave_nothing() {
    let _leaks = Leaks::begin();
    a_thousand_fail(&["/bin/false"], LONG_LIMIT, ConnectErrorKind::Exited);
}

#[test]
fn a_thousand_concurrent_hanging_hops_each_time_out_and_leave_nothing() {
    let _leaks = Leaks::begin();
    a_thousand_fail(
        &["sh", "-c", "exec sleep 1000"],
        Duration::from_secs(3),
        ConnectErrorKind::TimedOut,
    );
}

#[test]
fn three_hundred_short_lived_contexts_leak_no_descriptor() {
    let _leaks = Leaks::begin();
    let router = router();
    let parent = up(router.local().connect());
    let agent = facts(&parent).process;
    let held = || {
        let theirs = fs::read_dir(format!("/proc/{agent}/fd"))
            .expect("it lives")
            .count();
        (descriptors(), theirs)
    };
    let round = |place: &Context| {
        let context = up(place.local().connect());
        assert_eq!(up(context.command("true").output()).status.code, Some(0));
        up(context.shutdown());
    };
    round(&router);
    round(&parent);
    let before = held();
    for _ in 0..150 {
        round(&router);
        round(&parent);
    }
    let mut after = held();
    let same = eventually(LIMIT, || {
        after = held();
        after == before
    });
    assert!(
        same,
        "descriptors here and there: {before:?} and then {after:?}"
    );
}
