//! The service that runs programs for other contexts: each stream is a flow, and the reply is the
//! exit status.

use crate::program::running::Input;
use crate::program::running::Left;
use crate::program::running::Output;
use crate::program::running::Program;
use crate::program::running::STDERR;
use crate::program::running::STDIN;
use crate::program::running::STDOUT;
use crate::program::start::not_started;
use crate::program::start::start_program;
use crate::runtime::answer::answer;
use crate::runtime::answer::unreadable;
use crate::runtime::reactor::READ_SIZE;
use crate::runtime::reactor::Reactor;
use crate::runtime::reactor::Source;
use crate::runtime::state::Endpoint;
use crate::runtime::state::NodeState;
use crate::runtime::state::Request;
use crate::runtime::wait;
use offshoot_codec as codec;
use offshoot_proto::FlowKey;
use offshoot_proto::Handle;
use offshoot_proto::Reason;
use offshoot_proto::collections::sorted_map::SortedMap;
use offshoot_proto::message::exec::Cause;
use offshoot_proto::message::exec::ExecReply;
use offshoot_proto::message::exec::ExecRequest;
use offshoot_proto::message::exec::ExitStatus;
use offshoot_proto::message::exec::Lifetime;
use offshoot_proto::message::exec::SignalRequest;
use offshoot_proto::message::outcome::value;
use offshoot_sys as sys;
use offshoot_sys::descendants::detach;
use offshoot_sys::epoll::EpollEvent;
use offshoot_sys::epoll::EpollFlags;
use offshoot_sys::execute::NotStarted;
use offshoot_sys::guard::DetachMark;
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// The programs of a node.
pub(crate) struct Programs {
    pub(super) by_number: SortedMap<u32, Program>,
    next_number: u32,
    /// The buffer for reading, reused.
    pub(super) buffer: Vec<u8>,
    /// True if this process is an agent. Orphans of its programs become its own child processes.
    pub(super) in_agent: bool,
    /// True if the agent was detached. Its programs then run on without a reader for their output.
    pub(super) detached: bool,
}

impl Programs {
    /// Returns the empty list of programs.
    pub(crate) fn new(in_agent: bool) -> Self {
        Self {
            by_number: SortedMap::default(),
            next_number: 0,
            buffer: Vec::new(),
            in_agent,
            detached: false,
        }
    }

    /// Returns true if there is no program.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    /// Returns the numbers of all programs.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        self.by_number.keys()
    }

    /// Returns all programs, by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(u32, Program)> {
        self.by_number.iter()
    }

    /// Returns true if this process is one of the programs.
    pub(crate) fn has_process(&self, pid: u32) -> bool {
        self.by_number
            .values()
            .any(|program| program.process.id() == pid)
    }

    /// Notes that this agent was detached.
    pub(crate) fn set_detached(&mut self) {
        self.detached = true;
    }

    /// Asks all programs to end, because this node ends. Does not wait any more for processes that
    /// ended programs have left.
    pub(crate) fn stop(&mut self, reactor: &mut Reactor, core: &mut NodeState, why: &Cause) {
        for (_, program) in self.by_number.iter_mut() {
            program.end(why);
        }
        for number in self.by_number.keys() {
            self.finish_left(reactor, core, number);
            self.forget_finished(number);
        }
    }

    /// Sends SIGKILL to all programs.
    pub(crate) fn kill_all(&self) {
        for program in self.by_number.values() {
            program.signal(offshoot_sys::signal::SIGKILL);
        }
    }

    /// Handles the request to run a program.
    pub(crate) fn exec(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        flow: FlowKey,
        request: &Request,
    ) {
        let order: ExecRequest = match codec::from_own(&request.bytes) {
            Ok(order) => order,
            Err(error) => return unreadable(core, flow, error),
        };
        if let Lifetime::Free(name) = &order.tie {
            let reply = match self.start_free(&order) {
                Ok(process) => {
                    let text = format!("detached: {name} (process {process})");
                    reactor.shared.say(tracing::Level::INFO, text);
                    value(&process)
                }
                Err(why) => not_started(&why),
            };
            return answer(core, flow, reply);
        }
        if request.streams != 3 {
            return core
                .node
                .reset(flow, Reason::Violation, "a program has three streams");
        }
        let stream = |number: u8| FlowKey {
            handle: Handle(flow.handle.0 + 1 + u32::from(number)),
            ..flow
        };
        let number = self.next_number;
        match Self::start(reactor, number, &order, stream) {
            Ok(mut program) => {
                self.next_number = self.next_number.wrapping_add(1);
                program.reply = Some(flow);
                core.endpoints
                    .insert(flow, Endpoint::Program(number, u8::MAX));
                for index in [STDIN, STDOUT, STDERR] {
                    core.endpoints
                        .insert(stream(index), Endpoint::Program(number, index));
                }
                self.by_number.insert(number, program);
                self.keep_inputs();
            }
            Err(why) => {
                for index in [STDIN, STDOUT, STDERR] {
                    core.node.reset(
                        stream(index),
                        Reason::Cancelled,
                        "the program did not start",
                    );
                }
                answer(core, flow, not_started(&why));
            }
        }
    }

    fn start(
        reactor: &mut Reactor,
        number: u32,
        order: &ExecRequest,
        stream: impl Fn(u8) -> FlowKey,
    ) -> Result<Program, NotStarted> {
        let (child_in, stdin) = sys::pipe()?;
        let (stdout, child_out) = sys::pipe()?;
        let (stderr, child_err) = sys::pipe()?;
        for fd in [&stdin, &stdout, &stderr] {
            sys::set_nonblocking(fd)?;
        }
        // Steps that can fail come before the start, so that no failure leaves a running program.
        let outputs = [(stdout, STDOUT), (stderr, STDERR)].map(|(fd, index)| {
            let token = reactor.token(Source::ProgramOutput(number, index));
            Output {
                fd,
                token,
                flow: stream(index),
                watched: true,
            }
        });
        let watched = outputs.iter().try_for_each(|output| {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, output.token);
            reactor
                .shared
                .epoll
                .add(&output.fd, event)
                .map_err(io::Error::from)
        });
        let started = watched.map_err(NotStarted::from);
        let started = started.and_then(|()| start_program(order, [child_in, child_out, child_err]));
        let process = match started {
            Ok(process) => process,
            Err(why) => {
                for output in outputs {
                    reactor.forget(output.token);
                }
                return Err(why);
            }
        };
        let pipes = [&stdin, &outputs[0].fd, &outputs[1].fd];
        let pipes = pipes.map(|fd| sys::procfs::name_of("self", fd.as_raw_fd() as u32));
        let left = Left::new(pipes, order);
        let outputs = outputs.map(Some);
        let token = reactor.token(Source::ProgramInput(number));
        let queue = VecDeque::new();
        let input = Some(Input {
            fd: stdin,
            token,
            flow: stream(STDIN),
            queue,
            at: 0,
            end: false,
            watched: false,
        });
        reactor.watch_end(Source::ProgramExit(number), &process);
        let bound = order.tie == Lifetime::Bound;
        let grace = Duration::from_millis(order.grace.into());
        let (reply, status, ended) = (None, None, None);
        Ok(Program {
            process,
            reply,
            input,
            outputs,
            status,
            bound,
            ended,
            grace,
            left,
        })
    }

    /// Starts a program detached. It is reaped as orphans are.
    fn start_free(&self, order: &ExecRequest) -> Result<u32, NotStarted> {
        if !self.in_agent {
            return Err(io::Error::from_raw_os_error(offshoot_sys::errno::EOPNOTSUPP).into());
        }
        let null = sys::procfs::open("/dev/null", offshoot_sys::open::O_RDWR)?;
        let streams = [null.try_clone()?, null.try_clone()?, null];
        Ok(start_program(order, streams)?.id())
    }

    /// Detaches the program that the flow ran.
    ///
    /// # Errors
    /// Returns the reason if there is no such program, or it cannot be detached.
    pub(crate) fn detach(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        flow: FlowKey,
    ) -> Result<u32, String> {
        let Some(Endpoint::Program(number, u8::MAX)) = core.endpoints.get(&flow) else {
            return Err("it has ended".into());
        };
        let number = *number;
        let process = self.by_number.get(&number).and_then(Program::detachable);
        let process = process.ok_or("it has ended, or was not started as detachable")?;
        detach(process, DetachMark::PROGRAM).map_err(|error| error.to_string())?;
        self.give_up(reactor, core, number);
        Ok(process)
    }

    /// Removes a detached program: closes its streams, and answers its caller without an exit
    /// status.
    pub(crate) fn give_up(&mut self, reactor: &mut Reactor, core: &mut NodeState, number: u32) {
        self.close_input(reactor, core, number);
        for stream in [STDOUT, STDERR] {
            if let Some(output) = self
                .by_number
                .get(&number)
                .and_then(|one| one.outputs[usize::from(stream - 1)].as_ref())
            {
                core.node.send(output.flow, &[], true, false);
                self.close_output(reactor, core, number, stream);
            }
        }
        reactor.unwatch(Source::ProgramExit(number));
        if let Some(flow) = self
            .by_number
            .remove(&number)
            .and_then(|program| program.reply)
        {
            answer(
                core,
                flow,
                value(&ExecReply {
                    status: ExitStatus::new(None, None),
                    ended: None,
                }),
            );
        }
    }

    pub(crate) fn exited(&mut self, reactor: &mut Reactor, core: &mut NodeState, number: u32) {
        let Some(program) = self
            .by_number
            .get_mut(&number)
            .filter(|program| program.status.is_none())
        else {
            return;
        };
        let Some(status) = reactor.take_end(Source::ProgramExit(number), &mut program.process)
        else {
            return;
        };
        program.status = Some(status);
        program.left.heard = wait::now();
        let ended = program.ended.is_some();
        // The processes of a program that was ended from outside are killed before they could see
        // the end of its input.
        if !ended {
            self.close_input(reactor, core, number);
        }
        let mut buffer = vec![0; READ_SIZE];
        for stream in [STDOUT, STDERR] {
            // Output beyond the credit is read when more credit arrives.
            self.drain_output(reactor, core, number, stream, &mut buffer);
        }
        self.begin_left(reactor, core, number);
    }

    /// Handles the request to signal a program. A program that has ended and an unknown number are
    /// no error.
    pub(crate) fn signal(&mut self, core: &mut NodeState, flow: FlowKey, request: &[u8]) {
        let SignalRequest { program, signal } = match codec::from_own(request) {
            Ok(order) => order,
            Err(error) => return unreadable(core, flow, error),
        };
        if let Some(Endpoint::Program(number, u8::MAX)) = core.endpoints.get(&FlowKey {
            handle: program,
            ..flow
        }) && let Some(program) = self.by_number.get_mut(number)
        {
            program.signal(signal);
            if matches!(
                signal,
                offshoot_sys::signal::SIGHUP
                    | offshoot_sys::signal::SIGINT
                    | offshoot_sys::signal::SIGQUIT
                    | offshoot_sys::signal::SIGTERM
                    | offshoot_sys::signal::SIGKILL
            ) {
                // A program that has not ended by itself counts as ended from outside, with all of
                // its processes.
                program.left.everything |= program.status.is_none();
                program.signal(offshoot_sys::signal::SIGCONT);
            }
        }
        answer(core, flow, value(&()));
    }

    /// Kills a program whose time after SIGTERM is over.
    pub(crate) fn kill(&mut self, number: u32) {
        if let Some(program) = self.by_number.get(&number) {
            program.signal(offshoot_sys::signal::SIGKILL);
        }
    }
}
