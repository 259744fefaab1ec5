//! The state of one program that runs for another context.

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

/// The numbers of a program's streams.
pub(super) const STDIN: u8 = 0;

pub(super) const STDOUT: u8 = 1;

pub(super) const STDERR: u8 = 2;

pub(super) struct Output {
    pub(super) fd: OwnedFd,
    pub(super) token: u64,
    pub(super) flow: FlowKey,
    /// True if the poller watches it. Without credit for the output it does not.
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

/// A program.
pub(crate) struct Program {
    pub(super) process: Process,
    pub(super) reply: Option<FlowKey>,
    pub(super) input: Option<Input>,
    pub(super) outputs: [Option<Output>; 2],
    /// Its exit status, once it has ended.
    pub(super) status: Option<ExitStatus>,
    pub(super) bound: bool,
    /// The reason, if it was ended from outside.
    pub(super) ended: Option<Cause>,
    pub(super) grace: Duration,
    /// The state of the processes that it leaves.
    pub(super) left: Left,
}

impl Program {
    /// Returns its process id if it can be detached: it runs, and was not started with the kernel's
    /// parent-death signal, which cannot be revoked.
    pub(crate) fn detachable(&self) -> Option<u32> {
        (!self.bound && self.status.is_none()).then(|| self.process.id())
    }

    /// Returns its process id.
    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }

    /// Sends SIGTERM to its process group. The reply will have this reason, unless the program has
    /// ended by itself.
    pub(crate) fn end(&mut self, why: &Cause) {
        if self.process.try_wait().is_none() {
            self.ended.get_or_insert_with(|| why.clone());
        }
        self.signal(offshoot_sys::signal::SIGTERM);
        self.signal(offshoot_sys::signal::SIGCONT);
    }

    /// Returns true if one of its outputs is still open.
    pub(crate) fn is_open(&self) -> bool {
        self.outputs.iter().any(Option::is_some)
    }

    /// Sends a signal to its process group.
    pub(crate) fn signal(&self, signal: i32) {
        self.process.signal_group(signal);
    }
}

/// The state of the processes that a program leaves.
pub(super) struct Left {
    /// The pipes of its three streams.
    pub(super) pipes: [Name; 3],
    /// How long these processes may hold the streams without writing.
    pub(super) wait: Duration,
    /// The time of the last output, or of the program's end.
    pub(super) heard: Instant,
    /// True if all processes that it started end with it.
    pub(super) everything: bool,
    pub(super) looks: u8,
    /// True if the processes are to be looked at now.
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
