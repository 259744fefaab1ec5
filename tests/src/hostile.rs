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
use crate::run::LIMIT;
use crate::scratch::ScratchDir;
use crate::tree::{ended, facts, resident};

/// The most memory by which a controller or an agent may grow because of one child.
pub const GROWTH: u64 = 24 << 20;
/// The time over which processor use is measured, and the most that an idle node may use of it.
const QUIET: Duration = Duration::from_millis(400);
const QUIET_CPU: Duration = Duration::from_millis(60);
/// The most records that one child may log: 2,000 at once and 1,000 each second, plus those of the
/// node about it.
const RECORDS: u64 = 2_200;
const RECORDS_EACH_SECOND: u64 = 1_100;
/// The longest record: 8 KiB of text, which may triple when sanitized, and its fields.
const RECORD_BYTES: usize = 26 << 10;
/// The longest that an attack may take.
const ACT: Duration = Duration::from_secs(120);

/// Statistics of the log of this process, and its first records.
#[derive(Default)]
struct Tally {
    records: u64,
    longest: usize,
    first: Vec<String>,
}

static TALLY: Mutex<Tally> = Mutex::new(Tally {
    records: 0,
    longest: 0,
    first: Vec::new(),
});

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

/// The expected fate of the hostile child's link.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Outlook {
    /// The link is closed.
    Ends,
    /// The link stays, within its bounds.
    Stays,
    /// The hop fails.
    NotUp,
}

/// The position of the hostile child.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// Directly below the controller.
    Below,
    /// Behind an honest agent.
    Behind,
}

/// A running attack, with the hostile child connected or refused.
pub struct Attack {
    /// The root, which is under attack.
    pub router: Router,
    /// Honest contexts: one below the controller and, if the hostile child is behind an agent, that
    /// agent and another child of it.
    pub honest: Vec<Context>,
    /// The hostile child.
    pub hostile: Context,
    /// The error, if its hop failed.
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
    ONCE.get_or_init(|| {
        tracing::subscriber::set_global_default(Counting)
            .expect("this program has set no other subscriber")
    });
    tally(|tally| *tally = Tally::default());
}

impl Attack {
    /// Connects honest contexts and the hostile one with the attack `how`; `program` is the path of
    /// `hostile`. A call to the hostile child is sent at once.
    ///
    /// # Panics
    /// Panics if an honest one does not come up.
    pub fn begin(program: &str, how: &str, place: Place, heartbeat: u32) -> Self {
        Self::with(None, program, how, place, heartbeat)
    }

    /// Like [`Attack::begin`], with agents that have the functions of `offshoot-test-agent`.
    ///
    /// # Panics
    /// Panics if an honest one does not come up.
    pub fn with_functions(program: &str, how: &str, place: Place) -> Self {
        Self::with(Some(crate::tree::own_agents()), program, how, place, 0)
    }

    fn with(
        agents: Option<ScratchDir>,
        program: &str,
        how: &str,
        place: Place,
        heartbeat: u32,
    ) -> Self {
        watch_log();
        let builder = Router::builder().log_level(2);
        let builder = match &agents {
            Some(agents) => builder.agents(agents.path()),
            None => builder,
        };
        let router = builder
            .start()
            .expect("the system has descriptors and threads");
        let child = |of: &Context| {
            of.local()
                .connect()
                .unwrap_or_else(|error| panic!("{error}"))
        };
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
        let memory = pids
            .chain([std::process::id()])
            .map(|pid| (pid, resident(pid)))
            .collect();
        let scratch = ScratchDir::new("attack");
        let status = scratch.path().join("status").display().to_string();
        let words = [program, how, &status, "/bin/sh"].map(str::to_owned).into();
        // Endless noise ends at the timeout, so it is short. Others come up, on a busy machine
        // late.
        let timeout = if how.starts_with("endless") {
            Duration::from_secs(3)
        } else {
            LIMIT
        };
        let hop = parent
            .local()
            .shell_words(words)
            .heartbeat(heartbeat)
            .timeout(timeout);
        let opened = hop.start().expect("the order can be sent");
        let hostile = opened.context();
        let pending = hostile.start(stock::echo {
            text: "?".repeat(10_000),
        });
        let refused = opened.wait().err().map(|error| error.to_string());
        let what = format!("{how} {place:?}");
        Self {
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

    /// Calls honest contexts until the attack is over. Up to 2 MiB of the smallest frames, 80,000
    /// of them, are queued before a call at a shared agent.
    ///
    /// # Panics
    /// Panics if one does not answer in time, or the act does not end.
    pub fn hold_out(&self) {
        let mut rounds = 0;
        let over = || {
            let status = self.status();
            let process = status
                .lines()
                .find_map(|line| line.strip_prefix("begun ")?.parse().ok());
            self.refused.is_some() || status.contains("over ") || process.is_some_and(ended)
        };
        while !over() || rounds < 20 {
            rounds += 1;
            for context in &self.honest {
                let answer = context.start(stock::ping {}).wait_timeout(LIMIT);
                answer.unwrap_or_else(|error| {
                    panic!(
                        "{}: {context:?}: {error}: {:?}",
                        self.what,
                        self.memory
                            .keys()
                            .map(|pid| (pid, resident(*pid)))
                            .collect::<Vec<_>>()
                    )
                });
            }
            assert!(
                self.begun.elapsed() < ACT,
                "{}: it goes on and on: {}",
                self.what,
                self.status()
            );
        }
    }

    /// Asserts the fate of the hostile child's link.
    ///
    /// # Panics
    /// Panics if something else has.
    pub fn expect(&mut self, outlook: Outlook) {
        let mut pending = self.pending.take().expect("asked once");
        let Self { what, refused, .. } = &*self;
        let number = self.hostile.id().to_string();
        match outlook {
            Outlook::NotUp => {
                let why = refused
                    .clone()
                    .unwrap_or_else(|| panic!("{what}: it is up"));
                assert!(why.starts_with(self.hostile.name()), "{what}: {why}");
            }
            Outlook::Ends => {
                assert_eq!(*refused, None, "{what}");
                // The pending call fails, and so does a new one.
                let error = pending
                    .wait_timeout(LIMIT)
                    .map(|_| "a value")
                    .expect_err("the hostile child is gone");
                let error = error.to_string();
                let gone = eventually(LIMIT, || {
                    let again = self
                        .hostile
                        .start(stock::ping {})
                        .wait_timeout(Duration::from_millis(20));
                    again.is_err_and(|error| !error.to_string().contains("no answer"))
                });
                assert!(
                    gone,
                    "{what}: its link is still there; the first call gave {error}"
                );
                let named =
                    |line: &String| line.contains(&number) || line.contains(self.hostile.name());
                let said = self.said();
                assert!(
                    named(&error),
                    "{what}: the error does not name {number}: {error}"
                );
                assert!(
                    said.iter().all(named),
                    "{what}: the log does not name {number}: {said:#?}"
                );
            }
            Outlook::Stays => {
                assert_eq!(*refused, None, "{what}");
                // It may answer or not, but it is still in the tree.
                let still = self
                    .hostile
                    .start(stock::ping {})
                    .wait_timeout(Duration::from_millis(100));
                if let Err(error) = still {
                    assert!(
                        error.to_string().contains("no answer"),
                        "{what}: {error}: {:#?}",
                        self.said()
                    );
                }
            }
        }
    }

    /// Returns the first log records.
    pub fn said(&self) -> Vec<String> {
        tally(|tally| tally.first.clone())
    }

    /// Asserts that memory and log are within their bounds and no broker spins.
    ///
    /// # Panics
    /// Panics if one has not.
    pub fn expect_bounds(&self) {
        let what = &self.what;
        for (pid, before) in &self.memory {
            let now = resident(*pid);
            assert!(
                now < before + GROWTH,
                "{what}: {pid} has grown from {before} to {now} bytes"
            );
        }
        let (records, longest) = tally(|tally| (tally.records, tally.longest));
        let allowed = RECORDS + (self.begun.elapsed().as_secs() + 1) * RECORDS_EACH_SECOND;
        assert!(
            records <= allowed,
            "{what}: {records} records: {:#?}",
            self.said().first()
        );
        assert!(
            longest <= RECORD_BYTES,
            "{what}: a record of {longest} bytes"
        );
        for pid in self.memory.keys() {
            // The last frames may still be processed.
            let idle = eventually(LIMIT, || {
                let before = broker_time(*pid);
                let _ = eventually(QUIET, || false);
                broker_time(*pid) - before < QUIET_CPU
            });
            assert!(idle, "{what}: the broker of {pid} spins");
        }
    }

    /// Asserts that the router is dropped in time, and kills the processes that the hostile child
    /// has left outside of the tree.
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
        for pid in status
            .lines()
            .filter_map(|line| line.strip_prefix("child ")?.parse().ok())
        {
            signal(pid, nix::sys::signal::Signal::SIGKILL);
        }
        assert!(took < LIMIT, "{}: the end took {took:?}", self.what);
    }
}

/// Returns the processor time of the broker of a process: its thread `offshoot`, the main thread of
/// an agent.
fn broker_time(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives");
    let broker = tasks.flatten().map(|task| task.path()).find(|task| {
        fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "offshoot")
    });
    let statistics = fs::read_to_string(broker.expect("it has a broker").join("schedstat"));
    let statistics = statistics.expect("the kernel counts");
    let nanoseconds = statistics
        .split(' ')
        .next()
        .and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.expect("the kernel writes a number"))
}
