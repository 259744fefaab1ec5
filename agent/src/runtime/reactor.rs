//! The descriptors and timers that the broker waits for.
//!
//! The reactor names their owners by number only: it never calls a child or a program, and it never
//! locks the node. The broker asks it for events and passes them on.

use crate::runtime::handle::NodeHandle;
use crate::runtime::handle::WAKER;
use crate::runtime::link_writer::LinkWriter;
use crate::runtime::state::NodeState;
use crate::runtime::wait;
use offshoot_proto::Error;
use offshoot_proto::LinkId;
use offshoot_proto::Result;
use offshoot_proto::collections::sorted_map::SortedMap;
use offshoot_proto::message::exec::ExitStatus;
use offshoot_sys::epoll::EpollEvent;
use offshoot_sys::epoll::EpollFlags;
use offshoot_sys::epoll::EpollTimeout;
use offshoot_sys::errno::Errno;
use offshoot_sys::spawn::Process;
use std::os::fd::AsFd as _;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

/// The most bytes of one read.
pub(crate) const READ_SIZE: usize = 64 << 10;

/// The interval of polling for ends of processes that the kernel does not report.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The owner of a descriptor.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// Input of a link.
    Link(LinkId),
    /// Room to write to a link.
    LinkRoom(LinkId),
    /// stderr of a child's program.
    ChildStderr(LinkId),
    /// The terminal of a child's program.
    ChildTerminal(LinkId),
    /// The end of a child's program.
    ChildExit(LinkId),
    /// A stream of a program: 1 stdout, 2 stderr.
    ProgramOutput(u32, u8),
    /// Room to write to a program's stdin.
    ProgramInput(u32),
    /// The end of a program.
    ProgramExit(u32),
    /// Output of this process itself: 1 stdout, 2 stderr.
    OwnOutput(u8),
    /// SIGTERM: the node has to end.
    Signal,
    /// SIGCHLD: a child process has ended, perhaps an adopted one. Or SIGUSR2: a request for a
    /// dump.
    ChildSignal,
}

/// The action of a timer.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Timer {
    /// The time limit of a hop, over all of its attempts. If true, the limit for its program to
    /// report its route.
    Connect(LinkId, bool),
    /// A hop that is queued or pauses may start.
    Turn(LinkId),
    /// No rule has answered the question on the terminal of a child's program. The number counts
    /// the program's writes to it; true at the last chance.
    Unanswered(LinkId, u32, bool),
    /// The wait for the last output of a child, whose link has ended, is over.
    Lost(LinkId),
    /// The time limit for the end of a child's program, in the attempt with this number.
    Kill(LinkId, u8),
    /// Poll for ends of processes that the kernel does not report.
    Poll,
    /// The time of a program after SIGTERM is over.
    EndProgram(u32),
    /// Look at the processes that an ended program has left.
    Left(u32),
    /// Reap orphans.
    Reap,
    /// The time for an orderly end of the node is over.
    Farewell,
    /// Check whether a detached agent still has work.
    Idle,
}

/// The descriptors that are watched and the timers that are set.
pub(crate) struct Reactor {
    pub(crate) shared: Arc<NodeHandle>,
    /// By the poller's token. A descriptor with another owner is not kept here.
    sources: SortedMap<u64, (Source, Option<OwnedFd>)>,
    next_token: u64,
    timers: SortedMap<(Instant, u64), Timer>,
    /// The time of the next keepalive, on the node's clock.
    keepalive: Option<u64>,
    /// True if SIGCHLD reports each end of a process.
    has_signals: bool,
    /// True if there are processes whose end the poller cannot report.
    unwatched: bool,
    /// True if `Timer::Poll` is set.
    polling: bool,
}

impl Reactor {
    /// Returns a reactor. `has_signals` is true if SIGCHLD is reported to this node.
    pub(crate) fn new(shared: Arc<NodeHandle>, has_signals: bool) -> Self {
        Self {
            shared,
            sources: SortedMap::default(),
            next_token: WAKER + 1,
            timers: SortedMap::default(),
            keepalive: None,
            has_signals,
            unwatched: false,
            polling: false,
        }
    }

    /// Waits until a descriptor is ready or a timer fires. Returns the number of events.
    pub(crate) fn wait(&self, events: &mut [EpollEvent]) -> std::result::Result<usize, Errno> {
        let first = self.timers.iter().next().map(|((due, _), _)| *due);
        let node_time = |due| self.shared.began + Duration::from_millis(due);
        let keepalive = self.keepalive.map(node_time);
        let deadline = self.shared.next_deadline().map(node_time);
        let due = [first, keepalive, deadline].into_iter().flatten().min();
        let timeout = due.map(wait::left);
        let timeout = timeout.map_or(EpollTimeout::NONE, |left| {
            EpollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(EpollTimeout::MAX)
        });
        match self.shared.epoll.wait(events, timeout) {
            Err(Errno::EINTR) => Ok(0),
            result => result,
        }
    }

    /// Returns the source of a token, with its descriptor if that is kept here.
    pub(crate) fn source(&self, token: u64) -> Option<(Source, Option<&OwnedFd>)> {
        self.sources
            .get(&token)
            .map(|(source, fd)| (*source, fd.as_ref()))
    }

    /// Returns a duplicate of the descriptor for output of this process: 1 stdout, 2 stderr.
    pub(crate) fn own_output(&self, stream: u8) -> Option<OwnedFd> {
        let (_, fd) = self.find(Source::OwnOutput(stream))?;
        fd?.try_clone().ok()
    }

    fn find(&self, source: Source) -> Option<(u64, Option<&OwnedFd>)> {
        let found = self.sources.iter().find(|(_, (other, _))| *other == source);
        found.map(|(token, (_, fd))| (*token, fd.as_ref()))
    }

    fn insert(&mut self, source: Source, fd: Option<OwnedFd>) -> u64 {
        let token = self.next_token;
        self.next_token += 1;
        self.sources.insert(token, (source, fd));
        token
    }

    /// Returns a new token for a descriptor that the caller keeps, and has the poller watch.
    pub(crate) fn token(&mut self, source: Source) -> u64 {
        self.insert(source, None)
    }

    /// Forgets a token, and closes its descriptor if that is kept here.
    pub(crate) fn forget(&mut self, token: u64) {
        if let Some((_, Some(fd))) = self.sources.remove(&token) {
            let _ = self.shared.epoll.delete(fd.as_fd());
        }
    }

    /// Watches a descriptor for input.
    ///
    /// # Errors
    /// Returns an error if the system cannot watch it.
    pub(crate) fn watch(&mut self, source: Source, fd: OwnedFd) -> Result<()> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, self.next_token);
        self.shared
            .epoll
            .add(&fd, event)
            .map_err(|error| Error::system("watching a descriptor", error))?;
        self.insert(source, Some(fd));
        Ok(())
    }

    /// Closes the descriptor of a source, if there is one.
    pub(crate) fn unwatch(&mut self, source: Source) {
        if let Some((token, _)) = self.find(source) {
            self.forget(token);
        }
    }

    /// Reads from a link again, or pauses reading.
    pub(crate) fn read_link(&self, link: LinkId, go_on: bool) {
        if let Some((token, Some(fd))) = self.find(Source::Link(link)) {
            let flags = if go_on {
                EpollFlags::EPOLLIN
            } else {
                EpollFlags::empty()
            };
            let _ = self
                .shared
                .epoll
                .modify(fd, &mut EpollEvent::new(flags, token));
        }
    }

    /// Takes over the writing end of a link.
    pub(crate) fn attach_output(&mut self, core: &mut NodeState, link: LinkId, output: OwnedFd) {
        let token = self.token(Source::LinkRoom(link));
        core.io.insert(link, LinkWriter::new(output, token));
    }

    /// Closes the writing end of a link.
    pub(crate) fn forget_output(&mut self, core: &mut NodeState, link: LinkId) {
        if let Some(io) = core.io.remove(&link) {
            if let Some(fd) = &io.fd {
                let _ = self.shared.epoll.delete(fd);
            }
            self.forget(io.token);
        }
    }

    /// Watches for the end of a process, by polling if the kernel has no pidfds or cannot watch
    /// them.
    pub(crate) fn watch_end(&mut self, source: Source, process: &Process) {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, self.next_token);
        let watched = process
            .handle()
            .map(|handle| self.shared.epoll.add(handle, event));
        match watched {
            Some(Ok(())) => drop(self.token(source)),
            _ => {
                self.unwatched = true;
                self.poll_soon();
            }
        }
    }

    /// Returns the exit status of a process that has ended, and stops watching it.
    pub(crate) fn take_end(&mut self, source: Source, process: &mut Process) -> Option<ExitStatus> {
        let status = process.try_wait()?;
        if let Some(handle) = process.handle() {
            let _ = self.shared.epoll.delete(handle);
        }
        self.unwatch(source);
        Some(ExitStatus::new(status.code, status.signal))
    }

    /// Returns true if only SIGCHLD reports the end of some process.
    pub(crate) fn has_unwatched(&self) -> bool {
        self.unwatched
    }

    /// Sets the timer for the next poll, once. Not needed if SIGCHLD is reported.
    pub(crate) fn poll_soon(&mut self) {
        if !self.has_signals && !std::mem::replace(&mut self.polling, true) {
            self.after(POLL_INTERVAL, Timer::Poll);
        }
    }

    /// Notes that a poll runs, so that the next one gets its own timer.
    pub(crate) fn polled(&mut self) {
        self.polling = false;
    }

    /// Sets a timer.
    pub(crate) fn after(&mut self, delay: Duration, timer: Timer) {
        let token = self.next_token;
        self.next_token += 1;
        self.timers.insert((wait::now() + delay, token), timer);
    }

    /// Takes the next timer that has fired.
    pub(crate) fn take_due(&mut self) -> Option<Timer> {
        let ((due, token), timer) = self.timers.iter().next().copied()?;
        if due > wait::now() {
            return None;
        }
        self.timers.remove(&(due, token));
        Some(timer)
    }

    /// Returns the number of timers.
    pub(crate) fn timers(&self) -> usize {
        self.timers.iter().count()
    }

    /// Delays all timers.
    pub(crate) fn postpone(&mut self, time: Duration) {
        let timers: Vec<_> = self.timers.iter().copied().collect();
        self.timers.clear();
        for ((due, token), timer) in timers {
            self.timers.insert((due + time, token), timer);
        }
    }

    /// Starts keepalives on a link, in both directions.
    pub(crate) fn keep_alive(&mut self, core: &mut NodeState, link: LinkId, seconds: u32) {
        core.node.set_time(self.shared.now());
        core.node.beat(link, u64::from(seconds) * 1000);
        self.set_keepalive(core);
    }

    /// Notes the time of the next keepalive.
    pub(crate) fn set_keepalive(&mut self, core: &NodeState) {
        self.keepalive = core.node.next_due();
    }

    /// Returns true if a keepalive is due.
    pub(crate) fn is_keepalive_due(&self) -> bool {
        self.keepalive.is_some_and(|due| due <= self.shared.now())
    }
}
