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
use crate::runtime::reactor::READ_SIZE;
use crate::runtime::reactor::Reactor;
use crate::runtime::reactor::Source;
use crate::runtime::reactor::Timer;
use crate::runtime::role::NodeRole;
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
use offshoot_sys::spawn::Process;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::MutexGuard;
use std::time::Duration;

/// How long the farewell of a node may take before force is used.
const PATIENCE: Duration = Duration::from_millis(400);

/// The broker's own state.
pub(crate) struct Broker {
    pub(crate) shared: Arc<NodeHandle>,
    pub(crate) role: NodeRole,
    pub(crate) reactor: Reactor,
    pub(crate) children: SortedMap<LinkId, Child>,
    pub(crate) programs: SortedMap<u32, Program>,
    pub(crate) next_program: u32,
    /// Memory to read into, kept for the next time.
    pub(crate) buffer: Vec<u8>,
    /// There were secrets in what was read last.
    read_secret: bool,
    pub(crate) remembered: Vec<(String, offshoot_bootstrap::Platform)>,
    own_lines: [offshoot_proto::log::Lines; 2],
    reaping: bool,
    pub(crate) released: Vec<Process>,
    detached: bool,
    /// Why this node ends, where it does.
    why: Option<Cause>,
    pub(crate) stopping: bool,
    forced: bool,
    done: bool,
}

impl Broker {
    pub fn new(shared: Arc<NodeHandle>, role: NodeRole) -> Broker {
        Broker {
            reactor: Reactor::new(Arc::clone(&shared), role.is_agent()),
            shared,
            role,
            children: SortedMap::default(),
            programs: SortedMap::default(),
            next_program: 0,
            buffer: Vec::new(),
            read_secret: false,
            remembered: Vec::new(),
            own_lines: Default::default(),
            reaping: false,
            released: Vec::new(),
            detached: false,
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
        self.reactor.watch(Source::Link(link), input)?;
        self.reactor.attach_output(&mut self.shared.lock(), link, output);
        Ok(())
    }

    /// Watches what this process itself prints, and the pipes on which SIGTERM and SIGCHLD are reported, SIGUSR2 on the
    /// latter as well.
    pub fn attach_own(&mut self, [stdout, stderr]: [OwnedFd; 2], [end, child]: [OwnedFd; 2]) -> Result<()> {
        for fd in [&stdout, &stderr, &end, &child] {
            sys::set_nonblocking(fd).map_err(|error| Error::system("taking over stdio", error))?;
        }
        self.reactor.watch(Source::OwnOutput(1), stdout)?;
        self.reactor.watch(Source::OwnOutput(2), stderr)?;
        self.reactor.watch(Source::Signal, end)?;
        self.reactor.watch(Source::ChildSignal, child)
    }

    /// Runs until this node is to end. In an agent the process ends after it.
    pub fn run(mut self) {
        let mut events = [EpollEvent::empty(); 64];
        let mut buffer = vec![0; READ_SIZE];
        while !self.done {
            let count = match self.reactor.wait(&mut events) {
                Ok(count) => count,
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
        let Some((source, fd)) = self.reactor.source(token) else { return };
        match source {
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
                let read = fd.map_or(Ok(Some(0)), |fd| sys::read(fd, buffer));
                match read {
                    Ok(None) => {}
                    Ok(Some(0)) | Err(_) => {
                        self.reactor.forget(token);
                        self.ended(source);
                    }
                    Ok(Some(count)) => {
                        self.input(source, &buffer[..count]);
                        if std::mem::take(&mut self.read_secret) {
                            offshoot_codec::zero(&mut buffer[..count]);
                        }
                    }
                }
            }
        }
    }

    fn input(&mut self, source: Source, bytes: &[u8]) {
        match source {
            Source::Link(link) => self.link_input(link, bytes),
            Source::ChildStderr(link) => self.child_stderr(link, bytes),
            Source::ChildTerminal(link) => self.child_terminal(link, bytes),
            Source::OwnOutput(stream) => self.own_output(stream, bytes, false),
            Source::Signal => {
                self.detached = false;
                self.why
                    .get_or_insert_with(|| (Reason::ShutDown, "its agent was told to end by SIGTERM".into()));
                self.stop();
            }
            Source::ChildSignal => {
                self.reap_soon();
                if self.reactor.has_unwatched() {
                    self.poll_exits();
                }
                if sys::signal::take_dump() {
                    self.log_dump();
                }
            }
            _ => {}
        }
    }

    fn ended(&mut self, source: Source) {
        match source {
            Source::Link(link) => self.link_ended(link),
            Source::ChildStderr(link) | Source::ChildTerminal(link) => self.child_stream_ended(link, source),
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

    fn expire(&mut self) {
        if self.shared.next_deadline().is_some_and(|due| due <= self.now()) {
            self.deadlines();
        }
        if self.reactor.is_keepalive_due() {
            let shared = Arc::clone(&self.shared);
            let mut core = shared.lock();
            core.node.expire(self.now());
            self.reactor.set_keepalive(&core);
            self.release(core);
        }
        while let Some(timer) = self.reactor.take_due() {
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
