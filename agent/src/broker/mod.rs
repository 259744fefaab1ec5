//! The broker: the one thread of a node that waits for events, of links, programs, terminals,
//! signals and the clock.
//!
//! It decides nothing about frames: bytes go into the [`Node`](crate::node::Node), and the events
//! that come out are dispatched. Nothing here may block.
pub(crate) mod describe;
pub(crate) mod detached;
pub(crate) mod dispatch;
pub(crate) mod events;
pub(crate) mod inbox;
pub(crate) mod rest;
pub(crate) mod shutdown;

use crate::hop::child::Children;
use crate::program::service::Programs;
use crate::runtime::handle::NodeHandle;
use crate::runtime::handle::WAKER;
use crate::runtime::reactor::READ_SIZE;
use crate::runtime::reactor::Reactor;
use crate::runtime::reactor::Source;
use crate::runtime::reactor::Timer;
use crate::runtime::role::NodeRole;
use crate::runtime::state::BrokerTask;
use crate::runtime::state::NodeState;
use offshoot_proto::ContextId;
use offshoot_proto::Error;
use offshoot_proto::LinkId;
use offshoot_proto::Reason;
use offshoot_proto::Result;
use offshoot_proto::message::exec::Cause;
use offshoot_sys as sys;
use offshoot_sys::epoll::EpollEvent;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::MutexGuard;
use std::time::Duration;

/// How long an agent waits for its children and programs before it uses force.
const PATIENCE: Duration = Duration::from_millis(400);

/// The broker's own state.
pub(crate) struct Broker {
    pub(crate) shared: Arc<NodeHandle>,
    pub(crate) role: NodeRole,
    pub(crate) reactor: Reactor,
    pub(crate) children: Children,
    pub(crate) programs: Programs,
    /// True if the last bytes read contained secrets.
    read_secret: bool,
    own_lines: [offshoot_proto::log::Lines; 2],
    reaping: bool,
    detached: bool,
    /// The reason for the end of this node.
    why: Option<Cause>,
    pub(crate) stopping: bool,
    forced: bool,
    done: bool,
}

impl Broker {
    pub(crate) fn new(shared: Arc<NodeHandle>, role: NodeRole) -> Self {
        Self {
            reactor: Reactor::new(Arc::clone(&shared), role.is_agent()),
            shared,
            role,
            children: Children::default(),
            programs: Programs::new(role.is_agent()),
            read_secret: false,
            own_lines: Default::default(),
            reaping: false,
            detached: false,
            why: None,
            stopping: false,
            forced: false,
            done: false,
        }
    }

    /// Returns the state that the threads of this node share.
    pub(crate) fn shared(&self) -> &NodeHandle {
        &self.shared
    }

    /// Attaches the link to the parent, and the output of this process.
    pub(crate) fn attach_parent(
        &mut self,
        link: LinkId,
        input: OwnedFd,
        output: OwnedFd,
    ) -> Result<()> {
        let failed = |error| Error::system("taking over the link to the parent", error);
        sys::set_nonblocking(&input).map_err(failed)?;
        sys::set_nonblocking(&output).map_err(failed)?;
        self.reactor.watch(Source::Link(link), input)?;
        self.reactor
            .attach_output(&mut self.shared.lock(), link, output);
        Ok(())
    }

    /// Watches the output of this process, and the pipes that report SIGTERM, and SIGCHLD with
    /// SIGUSR2.
    pub(crate) fn attach_own(
        &mut self,
        [stdout, stderr]: [OwnedFd; 2],
        [end, child]: [OwnedFd; 2],
    ) -> Result<()> {
        for fd in [&stdout, &stderr, &end, &child] {
            sys::set_nonblocking(fd).map_err(|error| Error::system("taking over stdio", error))?;
        }
        self.reactor.watch(Source::OwnOutput(1), stdout)?;
        self.reactor.watch(Source::OwnOutput(2), stderr)?;
        self.reactor.watch(Source::Signal, end)?;
        self.reactor.watch(Source::ChildSignal, child)
    }

    /// Runs until this node ends. The process of an agent exits after that.
    pub(crate) fn run(mut self) {
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
            // A thread that leaves a task also wakes the broker. Without that the lock is left
            // alone, so that a caller that was just answered finds it free.
            if events[..count].iter().any(|event| event.data() == WAKER) {
                self.settle();
            }
            self.check_farewell();
        }
        self.last_words();
    }

    /// Handles a descriptor that is ready. It is read before the node is locked.
    fn ready(&mut self, token: u64, buffer: &mut [u8]) {
        if token == WAKER {
            let _ = self.shared.waker.read();
            return;
        }
        let Some((source, fd)) = self.reactor.source(token) else {
            return;
        };
        let count = match fd.map(|fd| sys::read(fd, buffer)) {
            None => 0,
            Some(Ok(None)) => return,
            Some(Ok(Some(count))) if count > 0 => count,
            Some(Ok(_) | Err(_)) => {
                self.reactor.forget(token);
                0
            }
        };
        let shared = Arc::clone(&self.shared);
        let mut core = shared.lock();
        self.input(&mut core, source, buffer, count);
        self.release(core);
        if std::mem::take(&mut self.read_secret) {
            offshoot_codec::zero(&mut buffer[..count]);
        }
    }

    /// Hands on bytes that were read from a descriptor. 0 bytes mean its end, or a source that is
    /// not read here.
    fn input(&mut self, core: &mut NodeState, source: Source, buffer: &mut [u8], count: usize) {
        let bytes = &buffer[..count];
        match source {
            Source::LinkRoom(link) => self.shared.flush_link(core, link),
            Source::ChildExit(link) => self.children.exited(&mut self.reactor, core, link),
            Source::ProgramExit(number) => {
                self.programs.exited(&mut self.reactor, core, number);
                self.settle_program(core, number);
            }
            Source::ProgramInput(number) => self.programs.feed(&mut self.reactor, core, number),
            Source::ProgramOutput(number, stream) => {
                self.programs
                    .readable(&mut self.reactor, core, number, stream, buffer);
                self.settle_program(core, number);
            }
            Source::OwnOutput(stream) => self.own_output(core, stream, bytes, false),
            Source::Link(link) if count == 0 && self.role.up() == Some(link) => {
                self.order_stop(core, Reason::Lost, "");
            }
            Source::Link(link) | Source::ChildStderr(link) | Source::ChildTerminal(link)
                if count == 0 =>
            {
                self.children
                    .stream_ended(&mut self.reactor, core, link, source);
            }
            Source::Link(link) if self.children.is_connecting(link) => {
                let frames = self.children.stdout(&mut self.reactor, core, link, bytes);
                self.receive(core, link, &frames);
            }
            Source::Link(link) => self.receive(core, link, bytes),
            Source::ChildStderr(link) => self.children.stderr(&mut self.reactor, core, link, bytes),
            Source::ChildTerminal(link) => self.children.terminal(&mut self.reactor, link, bytes),
            Source::Signal if count > 0 => {
                self.detached = false;
                self.order_stop(
                    core,
                    Reason::ShutDown,
                    "its agent was told to end by SIGTERM",
                );
            }
            Source::ChildSignal if count > 0 => {
                self.reap_soon();
                if self.reactor.has_unwatched() {
                    self.poll_exits(core);
                }
                if sys::signal::take_dump() {
                    self.log_dump(core);
                }
            }
            Source::Signal | Source::ChildSignal => {}
        }
    }

    /// Passes bytes of a link to the node, once they are frames.
    pub(crate) fn frames(&mut self, link: LinkId, bytes: &[u8]) {
        let shared = Arc::clone(&self.shared);
        let mut core = shared.lock();
        self.receive(&mut core, link, bytes);
        self.release(core);
    }

    /// Adds a process that connected over a socket as the child `id`. `hello` has the bytes that it
    /// has sent so far.
    ///
    /// # Errors
    /// Returns an error if this node is ending, the id is in use, or the system has no descriptors
    /// left.
    pub(crate) fn take_in(
        &mut self,
        stream: UnixStream,
        id: ContextId,
        name: &str,
        hello: &[u8],
    ) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let mut core = shared.lock();
        let taken = self
            .children
            .take_in(&mut self.reactor, &mut core, stream, id, name, hello);
        self.release(core);
        taken
    }

    fn receive(&mut self, core: &mut NodeState, link: LinkId, bytes: &[u8]) {
        if !bytes.is_empty() {
            core.node.set_time(self.now());
            self.read_secret |= core.node.receive(link, bytes);
        }
    }

    /// Returns the time of the node's clock.
    pub(crate) fn now(&self) -> u64 {
        self.shared.now()
    }

    /// Handles the events of the node, sends the resulting frames, and releases the lock. The
    /// broker's thread releases it in no other way.
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

    /// Carries out the tasks of other threads and of this turn of the loop.
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
        if self
            .shared
            .next_deadline()
            .is_some_and(|due| due <= self.now())
        {
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
            self.fire(timer);
        }
    }

    /// Takes the next step with a program that has ended. Must be called after every event of a
    /// program.
    pub(crate) fn settle_program(&mut self, core: &mut NodeState, number: u32) {
        self.programs
            .settle(&mut self.reactor, core, &self.children, number);
    }

    /// Polls for the ends of all child processes, as the kernel does not report all of them.
    fn poll_exits(&mut self, core: &mut NodeState) {
        self.reactor.polled();
        for link in self.children.links() {
            self.children.exited(&mut self.reactor, core, link);
        }
        for number in self.programs.numbers() {
            self.programs.exited(&mut self.reactor, core, number);
            self.settle_program(core, number);
        }
        if !self.children.is_empty() || !self.programs.is_empty() {
            self.reactor.poll_soon();
        }
    }

    /// Handles a timer that fires.
    fn fire(&mut self, timer: Timer) {
        match timer {
            // These wait, or look at all processes, so they lock the node only for parts of their
            // work.
            Timer::Reap => return self.reap_orphans(),
            Timer::Farewell => return self.force(),
            Timer::Idle => return self.look_for_work(),
            _ => {}
        }
        let shared = Arc::clone(&self.shared);
        let mut core = shared.lock();
        match timer {
            Timer::Connect(link, asking) => {
                self.children
                    .connect_timed_out(&mut self.reactor, &mut core, link, asking)
            }
            Timer::Turn(link) => self.children.admit(&mut self.reactor, &mut core, link),
            Timer::Unanswered(link, times, last) => {
                self.children
                    .unanswered(&mut self.reactor, &mut core, link, (times, last))
            }
            Timer::Lost(link) => self
                .children
                .output_overdue(&mut self.reactor, &mut core, link),
            Timer::Kill(link, attempt) => {
                self.children
                    .attempt_overdue(&mut self.reactor, &mut core, link, attempt)
            }
            Timer::Poll => self.poll_exits(&mut core),
            Timer::EndProgram(number) => self.programs.kill(number),
            Timer::Left(number) => {
                self.programs
                    .look_at_left(&mut self.reactor, &mut core, number);
                self.settle_program(&mut core, number);
            }
            Timer::Reap | Timer::Farewell | Timer::Idle => {}
        }
        self.release(core);
    }
}
