//! Event loops: everything that a select can wait for, the asynchronous forms of sending and
//! shutting down, hops by a target and by a method of the program itself.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as Asking, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use offshoot::methods::{Attach, Method, Recipe};
use offshoot::target::{Path, Target, TargetExt as _};
use offshoot::{CallError, Context, Error, IntoSource as _, Reason, Secret, Select, stock};
use offshoot_tests::process::{eventually, signal};
use offshoot_tests::records::Records;
use offshoot_tests::run::LIMIT;
use offshoot_tests::tree::{ended, facts, router};
use offshoot_tests::users::NOPASS;
use offshoot_tests::{Leaks, Sshd};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future on this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match future.as_mut().poll(&mut Asking::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park_timeout(LIMIT),
        }
    }
}

fn local(from: &Context) -> Context {
    from.local()
        .connect()
        .unwrap_or_else(|error| panic!("{error}"))
}

#[derive(PartialEq, Debug)]
enum Event {
    Line(String),
    Broken(io::ErrorKind),
    EndOfLines,
    Exit(Context, Option<i32>),
    Gone(Context, Reason),
    Timer(bool),
    Message(u64),
    EndOfMessages,
}

#[test]
fn a_select_takes_programs_streams_ends_of_contexts_timers_and_channels() {
    let _leaks = Leaks::begin();
    let router = router();
    let context = local(&router);
    let select = Select::default();
    let mut program = context
        .command("sh")
        .args([
            "-c",
            "echo one; echo two >&2; read line; echo $line; exit 3",
        ])
        .spawn()
        .unwrap_or_else(|error| panic!("{error}"));
    let stdout = program.stdout.take().expect("not taken yet");
    let line = |chunk: io::Result<Vec<u8>>| match chunk {
        Ok(bytes) => Event::Line(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => Event::Broken(error.kind()),
    };
    select.add(stdout.map_items(line).with_end(Event::EndOfLines));
    assert_eq!(select.wait(), Some(Event::Line("one\n".into())));
    // As a source the program gets the end of its stdin, and its stderr is discarded.
    select.add(program.map_items(|(context, status)| {
        Event::Exit(context, status.ok().and_then(|status| status.code))
    }));
    let mut rest = vec![
        select.wait().expect("three are to come"),
        select.wait().expect("two are to come"),
        select.wait().expect("one is to come"),
    ];
    let exit = rest
        .iter()
        .position(|event| matches!(event, Event::Exit(..)))
        .expect("it has ended");
    assert_eq!(rest.remove(exit), Event::Exit(context.clone(), Some(3)));
    assert_eq!(rest, [Event::Line("\n".into()), Event::EndOfLines]);
    assert!(select.is_empty());

    let (to, from) = router.channel().unwrap_or_else(|error| panic!("{error}"));
    select.add(
        from.map_items(|number| Event::Message(number.expect("a number")))
            .with_end(Event::EndOfMessages),
    );
    to.send(&7_u64).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(select.wait(), Some(Event::Message(7)));
    drop(to);
    assert_eq!(select.wait(), Some(Event::EndOfMessages));
    assert_eq!(select.wait(), None);

    let gone = context.disconnected().expect("it is below");
    select.add(gone.map_items(|(context, why)| Event::Gone(context, why.reason)));
    let timer = router.timer(Duration::from_millis(20)).expect("it is up");
    select.add(timer.map_items(|passed| Event::Timer(passed.is_ok())));
    assert_eq!(select.wait(), Some(Event::Timer(true)));
    context.shutdown().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        select.wait(),
        Some(Event::Gone(context.clone(), Reason::ShutDown))
    );
    assert_eq!(select.wait(), None);
}

#[test]
fn a_stream_that_breaks_off_is_an_error_in_a_select_and_then_its_end() {
    let _leaks = Leaks::begin();
    let router = router();
    let (writer, reader) = router.pipe().expect("it is up");
    let select = Select::default();
    select.add(
        reader
            .map_items(|chunk| Some(chunk.map_err(|error| error.to_string())))
            .with_end(None),
    );
    writer.fail("no more paper");
    let broken = select.wait().flatten().expect("the error comes first");
    let text = broken.expect_err("nothing was written");
    assert!(text.contains("no more paper"), "{text}");
    assert_eq!(select.wait(), Some(None));
    assert_eq!(select.wait(), None);
}

#[test]
fn a_timer_lasts_as_long_as_asked_and_ends_early_with_its_router() {
    let _leaks = Leaks::begin();
    let router = router();
    for wait in [0_u64, 1, 30] {
        let wait = Duration::from_millis(wait);
        let begun = Instant::now();
        let timer = router.timer(wait).expect("it is up");
        block_on(timer).unwrap_or_else(|error| panic!("{error}"));
        // A lower bound, which holds on every machine: a timer is never early.
        assert!(begun.elapsed() >= wait, "it ended before {wait:?}");
    }
    // A dropped timer leaves nothing, and the end of the tree ends one that lasts.
    drop(router.timer(LIMIT).expect("it is up"));
    let lasting = router.timer(LIMIT * 100).expect("it is up");
    let late = router.within(Duration::from_millis(10));
    let by_deadline = late.timer(LIMIT * 100).expect("there is time left");
    assert!(matches!(by_deadline.wait(), Err(Error::TimedOut { .. })));
    assert!(matches!(late.timer(LIMIT), Err(Error::TimedOut { .. })));
    drop(router);
    assert_eq!(lasting.wait(), Err(Error::ShutDown));
}

#[test]
fn sending_without_blocking_waits_for_room() {
    let _leaks = Leaks::begin();
    let router = router();
    let (to, from) = router.channel().unwrap_or_else(|error| panic!("{error}"));
    let message = |number: u64| (number, vec![0_u64; 1000]);
    let mut sent = 0;
    let waiting = loop {
        let mut next = Box::pin(to.send_async(&message(sent)));
        match next.as_mut().poll(&mut Asking::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => outcome.unwrap_or_else(|error| panic!("{error}")),
            Poll::Pending => break next,
        }
        sent += 1;
    };
    assert!(sent > 10, "{sent}");
    // Dropped before it completed, so that message is not sent.
    drop(waiting);
    // Two clones wait for room at once, and their messages come before the end of the channel even
    // if the senders are gone.
    let other = to.clone();
    let sends = [
        to.send_async(&message(sent)),
        other.send_async(&message(sent)),
    ];
    drop((to, other));
    let senders = sends.map(|send| std::thread::spawn(move || block_on(send)));
    let received: Vec<u64> = (&from)
        .into_iter()
        .map(|message| message.unwrap_or_else(|error| panic!("{error}")).0)
        .collect();
    let expected: Vec<u64> = (0..sent).chain([sent, sent]).collect();
    assert_eq!(received, expected);
    for sender in senders {
        let outcome = sender.join().expect("it does not panic");
        outcome.unwrap_or_else(|error| panic!("{error}"));
    }
    // A receiver that is gone is an error, as for `send`.
    let (to, from) = router.channel::<u64>().expect("it is up");
    drop(from);
    assert!(eventually(LIMIT, || to.is_closed()), "nobody told it");
    assert!(block_on(to.send_async(&1)).is_err());
}

#[expect(
    clippy::mutable_key_type,
    reason = "a context is compared and hashed by its number and its tree, which never change"
)]
#[test]
fn contexts_and_trees_can_be_shut_down_without_blocking() {
    let _leaks = Leaks::begin();
    let router = router();
    let contexts: BTreeSet<Context> = (0..3).map(|_| local(&router)).collect();
    let processes: HashMap<Context, u32> = contexts
        .iter()
        .map(|context| (context.clone(), facts(context).process))
        .collect();
    let in_order: Vec<_> = contexts.iter().map(Context::id).collect();
    assert!(in_order.is_sorted() && contexts.len() == 3 && processes.len() == 3);
    let first = contexts.first().expect("there are three");
    let ending = first.start_shutdown().expect("it is up");
    block_on(ending).unwrap_or_else(|error| panic!("{error}"));
    assert!(ended(processes[first]));
    assert!(first.call(stock::ping {}).is_err());
    // Nobody waits for this end.
    let second = contexts.iter().nth(1).expect("there are three");
    let gone = second.disconnected().expect("it is below");
    drop(second.start_shutdown().expect("it is up"));
    assert_eq!(gone.wait().reason, Reason::ShutDown);
    let own = router.start_shutdown().map(drop);
    assert!(matches!(own, Err(Error::System { .. })), "{own:?}");
    block_on(router.shutdown_async()).unwrap_or_else(|error| panic!("{error}"));
    assert!(processes.values().all(|process| ended(*process)));
}

#[test]
fn signals_arrive_beside_other_items_and_end_nothing() {
    let _leaks = Leaks::begin();
    let router = router();
    let select = Select::default();
    let interrupts = offshoot::ctrl_c().expect("the system has threads");
    select.add(interrupts.map_items(Some));
    let context = local(&router);
    select.add(context.start(stock::ping {}).map_items(|_| None));
    assert_eq!(select.wait(), Some(None));
    assert!(signal(std::process::id(), Signal::SIGINT));
    assert_eq!(select.wait(), Some(Some(Signal::SIGINT as i32)));
    assert!(context.call(stock::ping {}).is_ok());
}

#[test]
fn a_target_of_the_command_line_is_a_hop_of_the_library() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    let config = server.config().display().to_string();
    let text = format!("ssh:{}@web1,config=[{config}]/sudo", NOPASS.name);
    let root = router
        .target(&text)
        .map_err(Error::from)
        .and_then(Path::connect)
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(facts(&root).uid, 0);
    assert_eq!(root.name(), "ssh.web1.sudo.root");
    let error = router
        .target("local/sudo,password-file=[/no/such/file]")
        .expect("it can be read")
        .connect()
        .expect_err("there is no such file");
    assert!(error.to_string().contains("/no/such/file"), "{error}");
    let wrong = router.target("web1//sudo").expect_err("a hop is empty");
    assert!(wrong.to_string().contains("^"), "{wrong}");
    let target: Target = "local/local".parse().expect("a target");
    assert_eq!(target.to_string(), "local/local");
}

/// A method that this crate does not have: a child with an environment of its own.
struct Env(Duration);

impl Method for Env {
    fn recipe(&self, _nonce: &str) -> Recipe {
        let words = ["env", "-i", "PATH=/usr/bin:/bin", "OWN=method", "sh", "-c"];
        let argv = words.map(String::from).to_vec();
        let mut recipe = Recipe::new("env", argv, Attach::Script);
        recipe.timeout_ms = self.0.as_millis() as u64;
        recipe
    }

    fn name(&self) -> String {
        "env".into()
    }

    fn set_timeout(&mut self, timeout: Duration) {
        self.0 = timeout;
    }

    fn set_password(&mut self, _password: Secret) {}
}

#[test]
fn a_method_can_be_written_outside_the_crate() {
    let _leaks = Leaks::begin();
    let router = router();
    let hop = router.hop(Env(LIMIT)).timeout(LIMIT);
    let context = hop.connect().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(context.name(), "env");
    let output = context
        .command("sh")
        .args(["-c", "echo $OWN"])
        .output()
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(output.stdout, b"method\n");
}

/// A hop whose program prints lines without end, and no agent.
struct Flood(Duration);

impl Method for Flood {
    fn recipe(&self, _nonce: &str) -> Recipe {
        let words = ["sh", "-c", "exec yes flooded >&2"];
        let argv = words.map(String::from).to_vec();
        let mut recipe = Recipe::new("flood", argv, Attach::Words);
        recipe.timeout_ms = self.0.as_millis() as u64;
        recipe
    }

    fn name(&self) -> String {
        "flood".into()
    }

    fn set_timeout(&mut self, timeout: Duration) {
        self.0 = timeout;
    }

    fn set_password(&mut self, _password: Secret) {}
}

#[test]
fn a_hop_that_prints_without_end_cannot_fill_the_log() {
    let _leaks = Leaks::begin();
    let records = Records::keep();
    let router = router();
    let begun = Instant::now();
    let hop = router.hop(Flood(Duration::from_secs(2)));
    let error = hop.connect().expect_err("there is no agent").to_string();
    assert!(error.contains("last output: \"flooded\""), "{error}");
    drop(router);
    // At once, and for each second since then.
    let most = 2000 + 1000 * (begun.elapsed().as_secs() as usize + 1);
    let lines = records.with("flood: flooded").len();
    assert!((1000..=most).contains(&lines), "{lines} of {most}");
    assert!(
        !records
            .with("lines were too many and are dropped")
            .is_empty()
    );
}

#[test]
fn errors_become_io_errors_with_their_kind_and_sentence() {
    let _leaks = Leaks::begin();
    let router = router();
    let context = local(&router);
    let work = || -> io::Result<()> {
        context.call(stock::ping {})?;
        context.command("/no/such/program").output()?;
        Ok(())
    };
    let error = work().expect_err("there is no such program");
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(error.to_string().contains("/no/such/program"), "{error}");
    let late: CallError<String> = Error::TimedOut {
        context: "web1".into(),
        after_ms: 5,
    }
    .into();
    assert_eq!(io::Error::from(late).kind(), io::ErrorKind::TimedOut);
    let own = io::Error::from(CallError::Function {
        error: "no paper",
        context: "web1".into(),
        function: "print".into(),
    });
    assert_eq!(own.to_string(), "web1: print: no paper");
}
