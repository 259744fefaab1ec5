//! A program's `tracing` subscriber that is slow, reentrant, panics or hangs. It delays nothing but
//! the log.

use std::fmt::Debug;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use offshoot::{Context, Router, stock};
use offshoot_test_agent as own;
use offshoot_tests::Leaks;
use offshoot_tests::process::eventually;
use offshoot_tests::run::{LIMIT, offshoot_binary};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// A gate that blocks the subscriber at each record of a context.
#[derive(Default)]
struct Gate {
    shut: Mutex<bool>,
    changed: Condvar,
    /// The number of records that have reached the gate.
    came: AtomicUsize,
    passed: AtomicUsize,
    each: Mutex<Option<Box<dyn Fn() + Send>>>,
    /// Messages of offshoot itself.
    notices: Mutex<Vec<String>>,
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

struct Gated(&'static Gate);

impl Subscriber for Gated {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        ["offshoot::remote", "offshoot_agent"].contains(&metadata.target())
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        if event.metadata().target() == "offshoot_agent" {
            let mut message = Message(String::new());
            event.record(&mut message);
            return lock(&self.0.notices).push(message.0);
        }
        self.0.came.fetch_add(1, Ordering::SeqCst);
        let mut shut = lock(&self.0.shut);
        while *shut {
            shut = self
                .0
                .changed
                .wait(shut)
                .unwrap_or_else(PoisonError::into_inner);
        }
        drop(shut);
        if let Some(each) = &*lock(&self.0.each) {
            each();
        }
        self.0.passed.fetch_add(1, Ordering::SeqCst);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gate {
    /// Returns the gate of this program, open and with counters at zero.
    fn open() -> &'static Self {
        static GATE: OnceLock<&'static Gate> = OnceLock::new();
        let gate = *GATE.get_or_init(|| {
            let gate: &'static Self = Box::leak(Box::default());
            tracing::subscriber::set_global_default(Gated(gate))
                .expect("a test program has one log");
            gate
        });
        gate.shut(false);
        *lock(&gate.each) = None;
        lock(&gate.notices).clear();
        gate.came.store(0, Ordering::SeqCst);
        gate.passed.store(0, Ordering::SeqCst);
        gate
    }

    fn shut(&self, shut: bool) {
        *lock(&self.shut) = shut;
        self.changed.notify_all();
    }

    /// Waits until that many records have passed.
    fn passed(&self, count: usize) {
        let seen = || self.passed.load(Ordering::SeqCst);
        assert!(
            eventually(LIMIT, || seen() >= count),
            "{} of {count} records have passed",
            seen()
        );
    }
}

fn tree() -> Router {
    let builder = Router::builder()
        .package("offshoot-test-agent")
        .log_level(3);
    builder.start().unwrap_or_else(|error| panic!("{error}"))
}

fn local(router: &Router) -> Context {
    router
        .local()
        .connect()
        .unwrap_or_else(|error| panic!("{error}"))
}

fn log(context: &Context, count: usize) {
    context
        .call(own::log_much { count })
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn calls_and_hops_continue_while_the_subscriber_blocks() {
    let _leaks = Leaks::begin();
    let gate = Gate::open();
    let router = tree();
    let [talkative, quiet] = [local(&router), local(&router)];
    gate.shut(true);
    log(&talkative, 5);
    assert!(
        eventually(LIMIT, || gate.came.load(Ordering::SeqCst) == 1),
        "the subscriber was called"
    );
    // The subscriber is blocked: each call would block too if it held the node's lock or thread.
    let others = std::thread::spawn(move || {
        for _ in 0..100 {
            quiet
                .call(stock::ping {})
                .unwrap_or_else(|error| panic!("{error}"));
            talkative
                .call(stock::ping {})
                .unwrap_or_else(|error| panic!("{error}"));
        }
        local(&router)
            .shutdown()
            .unwrap_or_else(|error| panic!("{error}"));
        router
    });
    let went_on = eventually(LIMIT, || others.is_finished());
    gate.shut(false);
    assert!(went_on, "a call waits for the subscriber");
    let _router = others.join().expect("the calls have answers");
    gate.passed(5);
}

#[test]
fn a_subscriber_may_call_into_the_tree() {
    let _leaks = Leaks::begin();
    let gate = Gate::open();
    let router = tree();
    let [talkative, quiet] = [local(&router), local(&router)];
    let (id, asked) = (talkative.id(), quiet.clone());
    *lock(&gate.each) = Some(Box::new(move || {
        let name = asked.router().by_id(id).name().to_owned();
        assert!(name.starts_with("local"), "{name}");
        asked
            .call(stock::ping {})
            .unwrap_or_else(|error| panic!("{error}"));
    }));
    log(&talkative, 3);
    gate.passed(3);
    *lock(&gate.each) = None;
}

#[test]
fn a_panicking_subscriber_stops_neither_the_tree_nor_the_log() {
    let _leaks = Leaks::begin();
    let gate = Gate::open();
    let router = tree();
    let context = local(&router);
    *lock(&gate.each) = Some(Box::new(|| panic!("a subscriber that panics")));
    log(&context, 2);
    assert!(eventually(LIMIT, || gate.came.load(Ordering::SeqCst) == 2));
    *lock(&gate.each) = None;
    log(&context, 1);
    gate.passed(1);
    context
        .call(stock::ping {})
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_tree_ends_while_the_subscriber_blocks() {
    let _leaks = Leaks::begin();
    let gate = Gate::open();
    let router = tree();
    let context = local(&router);
    gate.shut(true);
    log(&context, 3);
    assert!(eventually(LIMIT, || gate.came.load(Ordering::SeqCst) == 1));
    let end = std::thread::spawn(move || drop((context, router)));
    let ended = eventually(LIMIT, || end.is_finished());
    assert_eq!(
        gate.passed.load(Ordering::SeqCst),
        0,
        "the subscriber has not gone on"
    );
    gate.shut(false);
    assert!(ended, "the end of the tree waits for the subscriber");
    gate.passed(3);
}

#[test]
fn records_dropped_while_the_subscriber_blocks_are_counted() {
    let _leaks = Leaks::begin();
    let gate = Gate::open();
    let router = tree();
    let context = local(&router);
    gate.shut(true);
    // One and a half times the queue; an agent may send 2,000 at once.
    let line = "x".repeat(8000);
    for _ in 0..400 {
        let bytes = format!("{line}\n").into_bytes();
        context
            .call(own::print {
                bytes,
                to_stderr: false,
            })
            .unwrap_or_else(|error| panic!("{error}"));
    }
    context.shutdown().unwrap_or_else(|error| panic!("{error}"));
    gate.shut(false);
    drop(router);
    let passed = gate.passed.load(Ordering::SeqCst);
    let counted: Vec<usize> = lock(&gate.notices)
        .iter()
        .filter_map(|text| {
            text.strip_suffix(
                " log records were too many for the log of this program and are dropped",
            )
        })
        .map(|count| count.parse().expect("it says how many"))
        .collect();
    assert_eq!(passed + counted.iter().sum::<usize>(), 400, "{counted:?}");
    assert!((200..400).contains(&passed), "{passed} have passed");
}

#[test]
fn a_program_finishes_while_nobody_reads_the_log_of_the_command() {
    let _leaks = Leaks::begin();
    let mut command = Command::new(offshoot_binary());
    command
        .args(["run", "local", "--", "cat"])
        .env("OFFSHOOT_LOG", "io");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut offshoot = command.spawn().expect("it is there");
    let (mut input, output) = (
        offshoot.stdin.take().unwrap(),
        offshoot.stdout.take().unwrap(),
    );
    // Each line takes at least four frames, and the log of that many lines exceeds a pipe.
    let echoing = std::thread::spawn(move || {
        let mut output = BufReader::new(output);
        for number in 0..1000 {
            writeln!(input, "line {number}").expect("it is read");
            let mut line = String::new();
            output.read_line(&mut line).expect("it is written");
            assert_eq!(line, format!("line {number}\n"));
        }
    });
    let echoed = eventually(LIMIT, || echoing.is_finished());
    if !echoed {
        offshoot.kill().expect("it is ours");
    }
    echoing.join().expect("every line came back");
    assert!(eventually(LIMIT, || offshoot
        .try_wait()
        .is_ok_and(|status| status.is_some())));
    assert_eq!(offshoot.wait().expect("it has ended").code(), Some(0));
    let mut log = [0; 4096];
    let count = offshoot
        .stderr
        .take()
        .unwrap()
        .read(&mut log)
        .expect("the log is there");
    assert!(
        String::from_utf8_lossy(&log[..count]).contains("offshoot::io"),
        "it has logged"
    );
}
