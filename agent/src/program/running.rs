//! One program that is run for another context.

use crate::runtime::wait;
use offshoot_proto::FlowKey;
use offshoot_proto::message::exec::Cause;
use offshoot_proto::message::exec::ExecRequest;
use offshoot_proto::message::exec::ExitStatus;
use offshoot_sys::procfs::Name;
use offshoot_sys::spawn::Process;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::Duration;
use std::time::Instant;

/// The streams of a program by number.
pub(super) const STDIN: u8 = 0;

pub(super) const STDOUT: u8 = 1;

pub(super) const STDERR: u8 = 2;

pub(super) struct Output {
    pub(super) fd: OwnedFd,
    pub(super) token: u64,
    pub(super) flow: FlowKey,
    /// Whether what comes is read; not where there is no credit for it.
    pub(super) watched: bool,
}

pub(super) struct Input {
    pub(super) fd: OwnedFd,
    pub(super) token: u64,
    pub(super) flow: FlowKey,
    pub(super) queue: VecDeque<Vec<u8>>,
    pub(super) at: usize,
    pub(super) end: bool,
    pub(super) watched: bool,
}

/// One program.
pub(crate) struct Program {
    pub(super) process: Process,
    pub(super) reply: Option<FlowKey>,
    pub(super) input: Option<Input>,
    pub(super) outputs: [Option<Output>; 2],
    /// How it has ended, if it has.
    pub(super) status: Option<ExitStatus>,
    pub(super) bound: bool,
    /// Why it was told to end.
    pub(super) ended: Option<Cause>,
    pub(super) grace: Duration,
    /// What is to be known of what it leaves.
    pub(super) left: Left,
}

impl Program {
    /// Its process, where it may be let go: it runs, and nothing that cannot be undone ties it to
    /// this agent.
    pub(crate) fn detachable(&self) -> Option<u32> {
        (!self.bound && self.status.is_none()).then(|| self.process.id())
    }

    /// Its process.
    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }

    /// Asks it and its process group to end. Whoever waits for it is told why, and of no status.
    pub(crate) fn end(&mut self, why: &Cause) {
        if self.process.try_wait().is_none() {
            self.ended.get_or_insert_with(|| why.clone());
        }
        self.signal(offshoot_sys::signal::SIGTERM);
        self.signal(offshoot_sys::signal::SIGCONT);
    }

    /// Returns true if something may still be read from it.
    pub(crate) fn is_open(&self) -> bool {
        self.outputs.iter().any(Option::is_some)
    }

    /// Sends a signal to its process group.
    pub(crate) fn signal(&self, signal: i32) {
        self.process.signal_group(signal);
    }
}

/// What is to be known of what one program leaves.
pub(super) struct Left {
    /// The pipes that are its streams.
    pub(super) pipes: [Name; 3],
    /// How long others may hold them in silence.
    pub(super) wait: Duration,
    /// When something came last from one of them, or else when the program ended.
    pub(super) heard: Instant,
    /// Whether nothing it has started stays.
    pub(super) everything: bool,
    pub(super) looks: u8,
    /// Whether it is to be looked at now.
    pub(super) due: bool,
    pub(super) done: bool,
}

impl Left {
    pub(super) fn new(pipes: [Name; 3], order: &ExecRequest) -> Self {
        let wait = Duration::from_millis(order.wait_streams.into());
        Self {
            pipes,
            wait,
            heard: wait::now(),
            everything: order.end_all,
            looks: 0,
            due: false,
            done: false,
        }
    }
}
