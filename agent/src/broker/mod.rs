//! The one thread of a node that waits for the world: links, programs, terminals, signals and the clock.
//!
//! It decides nothing about frames: bytes go into the [`Node`](crate::node::Node), and what comes out is carried to
//! whoever it concerns. Nothing here may block.
pub(crate) mod describe;
pub(crate) mod detached;
pub(crate) mod dispatch;
pub(crate) mod events;
pub(crate) mod inbox;
pub(crate) mod rest;
pub(crate) mod shutdown;

use crate::hop::child::Child;
use crate::program::service::Program;
use crate::runtime::handle::NodeHandle;
use crate::runtime::handle::WAKER;
use crate::runtime::link_writer::LinkWriter;
use crate::runtime::state::BrokerTask;
use crate::runtime::state::NodeState;
use offshoot_proto::Error;
use offshoot_proto::LinkId;
use offshoot_proto::Reason;
use offshoot_proto::Result;
use offshoot_proto::collections::sorted_map::SortedMap;
use offshoot_proto::message::exec::Cause;
use offshoot_sys as sys;
use offshoot_sys::epoll::EpollEvent;
use offshoot_sys::epoll::EpollFlags;
use offshoot_sys::epoll::EpollTimeout;
use offshoot_sys::spawn::Process;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::MutexGuard;
use std::time::Duration;
use std::time::Instant;

/// The most that is read from a descriptor at once.
pub(crate) const READ_SIZE: usize = 64 << 10;

/// How long the farewell of a node may take before force is used.
const PATIENCE: Duration = Duration::from_millis(400);

/// What a descriptor is to the broker.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// Bytes of a link.
    Link(LinkId),
    /// Room to write to a link.
    LinkRoom(LinkId),
    /// What a child's program says on stderr.
    ChildStderr(LinkId),
    /// The terminal of a child's program.
    ChildTerminal(LinkId),
    /// A child's program has ended.
    ChildExit(LinkId),
    /// A stream of a program: 1 stdout, 2 stderr.
    ProgramOutput(u32, u8),
    /// Room to write to a program's stdin.
    ProgramInput(u32),
    /// A program has ended.
    ProgramExit(u32),
    /// What this process itself prints: 1 stdout, 2 stderr.
    OwnOutput(u8),
    /// The order to end came as a signal.
    Signal,
    /// A child process has ended, perhaps an adopted one; or the order to tell what this node is about came as a signal.
    ChildSignal,
}

/// What is due at a time.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Timer {
    /// A child must be up by now, over all its attempts; or its program must have told where it would go.
    Connect(LinkId, bool),
    /// A child has the next turn of those that go its way.
    Turn(LinkId),
    /// Nobody has answered what a child's program had asked when it had written so often to its terminal.
    Unanswered(LinkId, u32),
    /// A child whose link has ended must have said its last words by now.
    Lost(LinkId),
    /// A child's program must have ended by now. The attempt it was set for.
    Kill(LinkId, u8),
    /// Look whether programs have ended: only on kernels without pidfds.
    Poll,
    /// A program must have ended by now.
    EndProgram(u32),
    /// Look at what a program that has ended has left.
    Left(u32),
    /// Children have ended; perhaps adopted ones are among them.
    Reap,
    /// The node must be gone by now.
    Farewell,
    /// Look whether a node that was let go has anything left to do.
    Idle,
}

/// What this node is.
pub(crate) enum NodeRole {
    /// The root, in somebody's program.
    Root,
    /// An agent, with the link to its parent.
    Agent(LinkId),
    /// An agent that was let go.
    Alone,
    /// A process that has joined of its own accord, with the link to its parent. It outlives its place here: nothing but what
    /// it has started through the tree is ended with that.
    Joined(LinkId),
}

impl NodeRole {
    /// Whether this process is an agent, and not somebody's program.
    pub(crate) fn is_agent(&self) -> bool {
        matches!(self, NodeRole::Agent(_) | NodeRole::Alone)
    }

    /// The link to the parent.
    fn up(&self) -> Option<LinkId> {
        match self {
            NodeRole::Agent(up) | NodeRole::Joined(up) => Some(*up),
            NodeRole::Root | NodeRole::Alone => None,
        }
    }
}

/// The broker's own state.
pub(crate) struct Broker {
    pub(crate) shared: Arc<NodeHandle>,
    pub(crate) place: NodeRole,
    pub(crate) sources: SortedMap<u64, (Source, Option<OwnedFd>)>,
    next_token: u64,
    timers: SortedMap<(Instant, u64), Timer>,
    pub(crate) children: SortedMap<LinkId, Child>,
    pub(crate) programs: SortedMap<u32, Program>,
    pub(crate) next_program: u32,
    /// Memory to read into, kept for the next time.
    pub(crate) buffer: Vec<u8>,
    /// There were secrets in what was read last.
    read_secret: bool,
    /// When the node has to look after its links, in its own time.
    due: Option<u64>,
    pub(crate) remembered: Vec<(String, offshoot_bootstrap::Platform)>,
    own_lines: [offshoot_proto::log::Lines; 2],
    heartbeat: u32,
    reaping: bool,
    /// The ends of programs are looked for, because the kernel tells of some of them to nobody.
    unwatched: bool,
    /// A timer is set for the next look.
    pub(crate) polling: bool,
    pub(crate) released: Vec<Process>,
    let_go: bool,
    /// Why this node ends, where it does.
    why: Option<Cause>,
    pub(crate) stopping: bool,
    forced: bool,
    done: bool,
}

impl Broker {
    pub fn new(shared: Arc<NodeHandle>, place: NodeRole) -> Broker {
        Broker {
            shared,
            place,
            sources: SortedMap::default(),
            next_token: WAKER + 1,
            timers: SortedMap::default(),
            children: SortedMap::default(),
            programs: SortedMap::default(),
            next_program: 0,
            buffer: Vec::new(),
            read_secret: false,
            due: None,
            remembered: Vec::new(),
            own_lines: Default::default(),
            heartbeat: 0,
            reaping: false,
            unwatched: false,
            polling: false,
            released: Vec::new(),
            let_go: false,
            why: None,
            stopping: false,
            forced: false,
            done: false,
        }
    }

    /// What this node's threads share.
    pub fn shared(&self) -> &NodeHandle {
        &self.shared
    }

    /// Takes over the two ends of the link to the parent, and what this process prints.
    pub fn attach_parent(&mut self, link: LinkId, input: OwnedFd, output: OwnedFd) -> Result<()> {
        let failed = |error| Error::system("taking over the link to the parent", error);
        sys::set_nonblocking(&input).map_err(failed)?;
        sys::set_nonblocking(&output).map_err(failed)?;
        self.watch(Source::Link(link), input)?;
        let shared = Arc::clone(&self.shared);
        self.attach_output(&mut shared.lock(), link, output);
        Ok(())
    }

    /// Watches what this process itself prints, and the pipes on which SIGTERM and SIGCHLD are reported, SIGUSR2 on the
    /// latter as well.
    pub fn attach_own(&mut self, [stdout, stderr]: [OwnedFd; 2], [end, child]: [OwnedFd; 2]) -> Result<()> {
        for fd in [&stdout, &stderr, &end, &child] {
            sys::set_nonblocking(fd).map_err(|error| Error::system("taking over stdio", error))?;
        }
        self.watch(Source::OwnOutput(1), stdout)?;
        self.watch(Source::OwnOutput(2), stderr)?;
        self.watch(Source::Signal, end)?;
        self.watch(Source::ChildSignal, child)
    }

    pub(crate) fn attach_output(&mut self, core: &mut NodeState, link: LinkId, output: OwnedFd) {
        let token = self.token(Source::LinkRoom(link), None);
        core.io.insert(link, LinkWriter::new(output, token));
    }

    pub(crate) fn token(&mut self, role: Source, fd: Option<OwnedFd>) -> u64 {
        let token = self.next_token;
        self.next_token += 1;
        self.sources.insert(token, (role, fd));
        token
    }

    /// Watches a descriptor for something to read.
    pub(crate) fn watch(&mut self, role: Source, fd: OwnedFd) -> Result<()> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, self.next_token);
        self.shared.epoll.add(&fd, event).map_err(|error| Error::system("watching a descriptor", error))?;
        self.token(role, Some(fd));
        Ok(())
    }

    /// Watches for the end of a program; where the kernel gives no handles or does not watch them, by
    /// looking at all programs now and then.
    pub(crate) fn watch_end(&mut self, role: Source, process: &Process) {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, self.next_token);
        let watched = process.handle().map(|handle| self.shared.epoll.add(handle, event));
        match watched {
            Some(Ok(())) => drop(self.token(role, None)),
            _ => {
                self.unwatched = true;
                self.poll_soon();
            }
        }
    }

    /// Has one timer see to the next look. An agent needs none: SIGCHLD tells it of each end.
    pub(crate) fn poll_soon(&mut self) {
        if !self.place.is_agent() && !std::mem::replace(&mut self.polling, true) {
            self.after(Duration::from_millis(20), Timer::Poll);
        }
    }

    /// Its end was seen.
    pub(crate) fn unwatch_end(shared: &NodeHandle, process: &Process) {
        if let Some(handle) = process.handle() {
            let _ = shared.epoll.delete(handle);
        }
    }

    pub(crate) fn unwatch(&mut self, role: Source) {
        let found = self.sources.iter().find(|(_, (other, _))| *other == role).map(|(token, _)| *token);
        if let Some(token) = found {
            self.unwatch_token(token);
        }
    }

    fn unwatch_token(&mut self, token: u64) {
        if let Some((_, Some(fd))) = self.sources.remove(&token) {
            let _ = self.shared.epoll.delete(fd.as_fd());
        }
    }

    pub(crate) fn after(&mut self, delay: Duration, timer: Timer) {
        let token = self.next_token;
        self.next_token += 1;
        self.timers.insert((Instant::now() + delay, token), timer);
    }

    /// Runs until this node is to end. In an agent the process ends after it.
    pub fn run(mut self) {
        let mut events = [EpollEvent::empty(); 64];
        let mut buffer = vec![0; READ_SIZE];
        while !self.done {
            let first = self.timers.iter().next().map(|((due, _), _)| *due);
            let beat = self.due.map(|due| self.shared.began + Duration::from_millis(due));
            let late = self.shared.next_deadline().map(|due| self.shared.began + Duration::from_millis(due));
            let due = [first, beat, late].into_iter().flatten().min();
            let timeout = due.map(|due| due.saturating_duration_since(Instant::now()));
            let timeout = timeout.map_or(EpollTimeout::NONE, |left| {
                EpollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(EpollTimeout::MAX)
            });
            let count = match self.shared.epoll.wait(&mut events, timeout) {
                Ok(count) => count,
                Err(offshoot_sys::errno::Errno::EINTR) => 0,
                Err(error) => {
                    let text = format!("the broker cannot wait any more: {error}");
                    self.shared.say(tracing::Level::ERROR, text);
                    break;
                }
            };
            for event in &events[..count] {
                self.ready(event.data(), &mut buffer);
            }
            self.expire();
            // Whoever leaves something to settle wakes the broker: most turns need no second look at the node, and a
            // caller that was just answered finds its lock free.
            if events[..count].iter().any(|event| event.data() == WAKER) {
                self.settle();
            }
            self.check_farewell();
        }
        self.last_words();
    }

    fn ready(&mut self, token: u64, buffer: &mut [u8]) {
        if token == WAKER {
            let _ = self.shared.waker.read();
            return;
        }
        let Some((role, fd)) = self.sources.get(&token) else { return };
        let role = *role;
        match role {
            Source::LinkRoom(link) => {
                let shared = Arc::clone(&self.shared);
                let mut core = shared.lock();
                shared.flush_link(&mut core, link);
                self.release(core);
            }
            Source::ChildExit(link) => self.child_exited(link),
            Source::ProgramExit(number) => self.program_exited(number),
            Source::ProgramInput(number) => self.program_writable(number),
            Source::ProgramOutput(number, stream) => self.program_readable(number, stream, buffer),
            _ => {
                let read = fd.as_ref().map_or(Ok(Some(0)), |fd| sys::read(fd, buffer));
                match read {
                    Ok(None) => {}
                    Ok(Some(0)) | Err(_) => {
                        self.unwatch_token(token);
                        self.ended(role);
                    }
                    Ok(Some(count)) => {
                        self.input(role, &buffer[..count]);
                        if std::mem::take(&mut self.read_secret) {
                            offshoot_codec::zero(&mut buffer[..count]);
                        }
                    }
                }
            }
        }
    }

    fn input(&mut self, role: Source, bytes: &[u8]) {
        match role {
            Source::Link(link) => self.link_input(link, bytes),
            Source::ChildStderr(link) => self.child_stderr(link, bytes),
            Source::ChildTerminal(link) => self.child_terminal(link, bytes),
            Source::OwnOutput(stream) => self.own_output(stream, bytes, false),
            Source::Signal => {
                self.let_go = false;
                self.why
                    .get_or_insert_with(|| (Reason::ShutDown, "its agent was told to end by SIGTERM".into()));
                self.stop();
            }
            Source::ChildSignal => {
                self.reap_soon();
                if self.unwatched {
                    self.poll_exits();
                }
                if sys::signal::take_dump() {
                    self.log_dump();
                }
            }
            _ => {}
        }
    }

    fn ended(&mut self, role: Source) {
        match role {
            Source::Link(link) => self.link_ended(link),
            Source::ChildStderr(link) | Source::ChildTerminal(link) => self.child_stream_ended(link, role),
            _ => {}
        }
    }

    fn link_input(&mut self, link: LinkId, bytes: &[u8]) {
        if self.children.get(&link).is_some_and(|child| !child.is_up()) {
            return self.child_stdout(link, bytes);
        }
        self.frames(link, bytes);
    }

    /// Takes bytes of a link, once there are frames on it.
    pub fn frames(&mut self, link: LinkId, bytes: &[u8]) {
        let shared = Arc::clone(&self.shared);
        let mut core = shared.lock();
        core.node.set_time(self.now());
        self.read_secret |= core.node.receive(link, bytes);
        self.release(core);
    }

    /// The time, as the node counts it.
    pub(crate) fn now(&self) -> u64 {
        self.shared.now()
    }

    /// Begins to look after a link.
    pub(crate) fn beat(&mut self, core: &mut NodeState, link: LinkId, seconds: u32) {
        core.node.set_time(self.now());
        core.node.beat(link, u64::from(seconds) * 1000);
        self.due = core.node.next_due();
    }

    /// Carries out what a change of the node has led to, sends what that makes, and releases the lock.
    pub(crate) fn release(&mut self, mut core: MutexGuard<'_, NodeState>) {
        let shared = Arc::clone(&self.shared);
        loop {
            self.handle_events(&mut core);
            shared.flush(&mut core);
            if !core.node.has_events() {
                break;
            }
        }
        core.unseen = !core.orders.is_empty();
        shared.release(core);
    }

    /// Carries out what other threads and this turn have left to do.
    fn settle(&mut self) {
        let shared = Arc::clone(&self.shared);
        loop {
            let mut core = shared.lock();
            let orders = std::mem::take(&mut core.orders);
            shared.send_logs(&mut core);
            self.release(core);
            let idle = orders.is_empty();
            for order in orders {
                match order {
                    BrokerTask::Stop => self.stop(),
                    BrokerTask::Run(work) => work(self),
                }
            }
            if idle {
                break;
            }
        }
    }

    /// Reads from a link, or not for now.
    fn read_link(&mut self, link: LinkId, go_on: bool) {
        let found = self.sources.iter().find(|(_, (role, _))| *role == Source::Link(link));
        if let Some((token, (_, Some(fd)))) = found {
            let flags = if go_on { EpollFlags::EPOLLIN } else { EpollFlags::empty() };
            let _ = self.shared.epoll.modify(fd, &mut EpollEvent::new(flags, *token));
        }
    }

    fn expire(&mut self) {
        if self.shared.next_deadline().is_some_and(|due| due <= self.now()) {
            self.deadlines();
        }
        if self.due.is_some_and(|due| due <= self.now()) {
            let shared = Arc::clone(&self.shared);
            let mut core = shared.lock();
            core.node.expire(self.now());
            self.due = core.node.next_due();
            self.release(core);
        }
        loop {
            let first = self.timers.iter().next().copied();
            let Some((key, timer)) = first.filter(|((due, _), _)| *due <= Instant::now()) else { break };
            self.timers.remove(&key);
            match timer {
                Timer::Connect(link, asking) => self.connect_timed_out(link, asking),
                Timer::Turn(link) => self.turn_due(link),
                Timer::Unanswered(link, times) => self.unanswered(link, times),
                Timer::Lost(link) => self.child_gone(link),
                Timer::Kill(link, attempt) => self.attempt_overdue(link, attempt),
                Timer::Poll => self.poll_exits(),
                Timer::Reap => self.reap_orphans(),
                Timer::EndProgram(number) => self.end_program(number),
                Timer::Left(number) => self.look_at_left(number),
                Timer::Farewell => self.force(),
                Timer::Idle => self.look_for_work(),
            }
        }
    }
}
