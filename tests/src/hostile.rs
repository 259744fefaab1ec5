//! A hostile child beside honest ones, and the bounds on what it may cost them: time, memory,
//! processor, log, and the end of the tree.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use offshoot::{Context, Reply, Router, stock};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::process::{eventually, signal};
use crate::records::Line;
use crate::scratch::ScratchDir;
use crate::tree::{ended, facts, resident};

/// The longest that a call to an honest context may take beside a flood, on a busy machine: up to 2
/// MiB of the smallest frames, 80,000 of them, are before it at an agent that it shares with the
/// hostile child.
pub const ANSWER: Duration = Duration::from_secs(20);
/// The most that a controller or an agent may grow by because of one child.
pub const GROWTH: u64 = 24 << 20;
/// The longest that dropping a router takes (3.5 s), and as much again as a busy machine may add.
pub const END: Duration = Duration::from_secs(5);
/// How long the processor is looked at, and the most of it that a node may use meanwhile that has
/// nothing to do.
const QUIET: Duration = Duration::from_millis(400);
const QUIET_CPU: Duration = Duration::from_millis(60);
/// The most records one child may have logged: 2,000 at once and 1,000 each second, and what a node
/// says of it itself.
const RECORDS: u64 = 2_200;
const RECORDS_EACH_SECOND: u64 = 1_100;
/// The most that one of them holds: 8 KiB of text, which may grow threefold as it is made harmless,
/// and its fields.
const RECORD_BYTES: usize = 26 << 10;
/// The longest that the hostile child may take for its act.
const ACT: Duration = Duration::from_secs(120);

/// What the log of this process has brought: how much, and the first of it.
#[derive(Default)]
struct Tally {
    records: u64,
    longest: usize,
    first: Vec<String>,
}

static TALLY: Mutex<Tally> = Mutex::new(Tally { records: 0, longest: 0, first: Vec::new() });

fn tally<T>(look: impl FnOnce(&mut Tally) -> T) -> T {
    look(&mut TALLY.lock().unwrap_or_else(PoisonError::into_inner))
}

struct Counting;

impl Subscriber for Counting {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= tracing::Level::INFO
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        tally(|tally| {
            tally.records += 1;
            tally.longest = tally.longest.max(line.0.len());
            if tally.first.len() < 300 {
                tally.first.push(line.0.chars().take(400).collect());
            }
        });
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// What becomes of the hostile child's link.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Outlook {
    /// It is ended for what it brought.
    Ends,
    /// It stays, within its bounds.
    Stays,
    /// The hop fails.
    NotUp,
}

/// Where the hostile child is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// Directly below the controller.
    Below,
    /// Behind an honest agent.
    Behind,
}

/// One attack, with the hostile child up or refused.
pub struct Attack {
    /// The root, which is under attack.
    pub router: Router,
    /// Honest: below the controller, and, where the hostile child is behind an agent, that agent
    /// and another child of it.
    pub honest: Vec<Context>,
    /// The hostile child.
    pub hostile: Context,
    /// Why there is none.
    pub refused: Option<String>,
    pending: Option<Reply<stock::echo>>,
    memory: BTreeMap<u32, u64>,
    begun: Instant,
    what: String,
    scratch: ScratchDir,
    _agents: Option<ScratchDir>,
}

fn watch_log() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| tracing::subscriber::set_global_default(Counting).expect("nobody else has a log"));
    tally(|tally| *tally = Tally::default());
}

impl Attack {
    /// Brings up honest contexts, and the hostile one that is to do `how`; `program` is the built
    /// `hostile`. A call to it is on its way at once.
    ///
    /// # Panics
    /// Panics if an honest one does not come up.
    pub fn begin(program: &str, how: &str, place: Place, heartbeat: u32) -> Attack {
        Attack::with(None, program, how, place, heartbeat)
    }

    /// The same where all agents have the functions of `offshoot-test-agent`.
    ///
    /// # Panics
    /// Panics if an honest one does not come up.
    pub fn with_functions(program: &str, how: &str, place: Place) -> Attack {
        Attack::with(Some(crate::tree::own_agents()), program, how, place, 0)
    }

    fn with(agents: Option<ScratchDir>, program: &str, how: &str, place: Place, heartbeat: u32) -> Attack {
        watch_log();
        let builder = Router::builder().log_level(2);
        let builder = match &agents {
            Some(agents) => builder.agents(agents.path()),
            None => builder,
        };
        let router = builder.start().expect("the system has descriptors and threads");
        let child = |of: &Context| of.local().connect().unwrap_or_else(|error| panic!("{error}"));
        let mut honest = vec![child(&router)];
        let parent = match place {
            Place::Below => (*router).clone(),
            Place::Behind => {
                honest.push(child(&router));
                honest.push(child(&honest[1]));
                honest[1].clone()
            }
        };
        let pids = honest.iter().map(|context| facts(context).process);
        let memory = pids.chain([std::process::id()]).map(|pid| (pid, resident(pid))).collect();
        let scratch = ScratchDir::new("attack");
        let status = scratch.path().join("status").display().to_string();
        let words = [program, how, &status, "/bin/sh"].map(str::to_owned).into();
        // Endless noise ends at the timeout, so it is short. Others come up, on a busy machine late.
        let timeout = Duration::from_secs(if how.starts_with("endless") { 3 } else { 10 });
        let hop = parent.local().shell_words(words).heartbeat(heartbeat).timeout(timeout);
        let opened = hop.open().expect("the order can be sent");
        let hostile = opened.context();
        let pending = hostile.start(stock::echo { text: "?".repeat(10_000) });
        let refused = opened.wait().err().map(|error| error.to_string());
        let what = format!("{how} {place:?}");
        Attack {
            router,
            honest,
            hostile,
            refused,
            pending: Some(pending),
            memory,
            begun: Instant::now(),
            what,
            scratch,
            _agents: agents,
        }
    }

    fn status(&self) -> String {
        fs::read_to_string(self.scratch.path().join("status")).unwrap_or_default()
    }

    /// Calls honest contexts until the hostile one has done what it wanted, or for that long where
    /// it never ends.
    ///
    /// # Panics
    /// Panics if one does not answer in time, or the act does not end.
    pub fn hold_out(&self) {
        let mut rounds = 0;
        let over = || {
            let status = self.status();
            let process = status.lines().find_map(|line| line.strip_prefix("begun ")?.parse().ok());
            self.refused.is_some() || status.contains("over ") || process.is_some_and(ended)
        };
        while !over() || rounds < 20 {
            rounds += 1;
            for context in &self.honest {
                let answer = context.start(stock::ping {}).wait_timeout(ANSWER);
                answer.unwrap_or_else(|error| {
                    panic!(
                        "{}: {context:?}: {error}: {:?}",
                        self.what,
                        self.memory.keys().map(|pid| (pid, resident(*pid))).collect::<Vec<_>>()
                    )
                });
            }
            assert!(self.begun.elapsed() < ACT, "{}: it goes on and on: {}", self.what, self.status());
        }
    }

    /// Asserts what has become of the hostile child's link.
    ///
    /// # Panics
    /// Panics if something else has.
    pub fn expect(&mut self, outlook: Outlook) {
        let mut pending = self.pending.take().expect("asked once");
        let Attack { what, refused, .. } = &*self;
        let number = self.hostile.id().to_string();
        match outlook {
            Outlook::NotUp => {
                let why = refused.clone().unwrap_or_else(|| panic!("{what}: it is up"));
                assert!(why.starts_with(self.hostile.name()), "{what}: {why}");
            }
            Outlook::Ends => {
                assert_eq!(*refused, None, "{what}");
                // The call that was on its way comes back, and so does a new one.
                let error = pending.wait_timeout(ANSWER).map(|_| "a value").expect_err("nobody answers");
                let error = error.to_string();
                let gone = eventually(ANSWER, || {
                    let again = self.hostile.start(stock::ping {}).wait_timeout(Duration::from_millis(20));
                    again.is_err_and(|error| !error.to_string().contains("no answer"))
                });
                assert!(gone, "{what}: its link is still there; the first call gave {error}");
                let named = |line: &String| line.contains(&number) || line.contains(self.hostile.name());
                let said = self.said();
                assert!(named(&error), "{what}: the error does not name {number}: {error}");
                assert!(said.iter().all(named), "{what}: the log does not name {number}: {said:#?}");
            }
            Outlook::Stays => {
                assert_eq!(*refused, None, "{what}");
                // Whatever it answers or does not answer: it is still in the tree.
                let still = self.hostile.start(stock::ping {}).wait_timeout(Duration::from_millis(100));
                if let Err(error) = still {
                    assert!(error.to_string().contains("no answer"), "{what}: {error}: {:#?}", self.said());
                }
            }
        }
    }

    /// The first that was logged.
    pub fn said(&self) -> Vec<String> {
        tally(|tally| tally.first.clone())
    }

    /// Asserts that memory and log have kept within their bounds and nobody spins.
    ///
    /// # Panics
    /// Panics if one has not.
    pub fn expect_bounds(&self) {
        let what = &self.what;
        for (pid, before) in &self.memory {
            let now = resident(*pid);
            assert!(now < before + GROWTH, "{what}: {pid} has grown from {before} to {now} bytes");
        }
        let (records, longest) = tally(|tally| (tally.records, tally.longest));
        let allowed = RECORDS + (self.begun.elapsed().as_secs() + 1) * RECORDS_EACH_SECOND;
        assert!(records <= allowed, "{what}: {records} records: {:#?}", self.said().first());
        assert!(longest <= RECORD_BYTES, "{what}: a record of {longest} bytes");
        for pid in self.memory.keys() {
            // What came in last may still be at work.
            let idle = eventually(ANSWER, || {
                let before = broker_time(*pid);
                let _ = eventually(QUIET, || false);
                broker_time(*pid) - before < QUIET_CPU
            });
            assert!(idle, "{what}: the broker of {pid} spins");
        }
    }

    /// Asserts that the end comes in time, and ends what the hostile child has left behind outside
    /// of the tree.
    ///
    /// # Panics
    /// Panics if it does not.
    pub fn end(self) {
        let what = &self.what;
        for context in &self.honest {
            assert_eq!(facts(context).user, "root", "{what}");
        }
        let status = self.status();
        let begun = Instant::now();
        drop(self.router);
        let took = begun.elapsed();
        for pid in status.lines().filter_map(|line| line.strip_prefix("child ")?.parse().ok()) {
            signal(pid, nix::sys::signal::Signal::SIGKILL);
        }
        assert!(took < END, "{}: the end took {took:?}", self.what);
    }
}

/// The processor time that the broker of a process has used: its thread `offshoot`, which in an
/// agent is the first.
fn broker_time(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives");
    let broker = tasks
        .flatten()
        .map(|task| task.path())
        .find(|task| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "offshoot"));
    let statistics = fs::read_to_string(broker.expect("it has a broker").join("schedstat"));
    let statistics = statistics.expect("the kernel counts");
    let nanoseconds = statistics.split(' ').next().and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.expect("the kernel writes a number"))
}
