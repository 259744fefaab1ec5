//! The streams of programs: bytes between their pipes and the flows of their callers.

use crate::program::running::STDERR;
use crate::program::running::STDIN;
use crate::program::running::STDOUT;
use crate::program::service::Programs;
use crate::program::start::unwatched;
use crate::runtime::reactor::READ_SIZE;
use crate::runtime::reactor::Reactor;
use crate::runtime::reactor::Timer;
use crate::runtime::state::NodeState;
use crate::runtime::wait;
use offshoot_proto::DeadLetter;
use offshoot_proto::Reason;
use offshoot_sys as sys;
use offshoot_sys::epoll::EpollEvent;
use offshoot_sys::epoll::EpollFlags;
use std::os::fd::AsRawFd;
use std::time::Duration;

impl Programs {
    /// Queues bytes for a program's stdin.
    pub(crate) fn input(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        number: u32,
        bytes: Vec<u8>,
        end: bool,
    ) {
        let Some(input) = self
            .by_number
            .get_mut(&number)
            .and_then(|program| program.input.as_mut())
        else {
            return;
        };
        if !bytes.is_empty() {
            input.queue.push_back(bytes);
        }
        input.end |= end;
        self.feed(reactor, core, number);
    }

    /// Writes queued bytes to a program's stdin until it blocks.
    pub(crate) fn feed(&mut self, reactor: &mut Reactor, core: &mut NodeState, number: u32) {
        let Some(program) = self.by_number.get_mut(&number) else {
            return;
        };
        let Some(input) = &mut program.input else {
            return;
        };
        let mut blocked = false;
        while let Some(front) = input.queue.front() {
            match sys::write(&input.fd, &front[input.at..]) {
                Ok(Some(count)) => {
                    core.node.consume(input.flow, count);
                    input.at += count;
                    if input.at == front.len() {
                        input.queue.pop_front();
                        input.at = 0;
                    }
                }
                Ok(None) => {
                    blocked = true;
                    break;
                }
                Err(_) => {
                    // The program has closed its stdin. The sender gets an error as from a pipe.
                    core.node.reset(
                        input.flow,
                        Reason::Cancelled,
                        "the program closed its stdin",
                    );
                    core.forget(input.flow);
                    input.queue.clear();
                    input.end = true;
                }
            }
        }
        if blocked != input.watched {
            let done = if blocked {
                reactor.shared.epoll.add(
                    &input.fd,
                    EpollEvent::new(EpollFlags::EPOLLOUT, input.token),
                )
            } else {
                reactor.shared.epoll.delete(&input.fd)
            };
            input.watched = blocked && done.is_ok();
            if let (true, Err(error)) = (blocked, done) {
                // Without the poller, this node would never learn that the program reads again.
                core.node.reset(input.flow, Reason::Lost, &unwatched(error));
                core.forget(input.flow);
                input.queue.clear();
                input.end = true;
            }
        }
        // A program that is being ended must not see the end of its input: it could take a part for
        // the whole and finish its work.
        if input.end && input.queue.is_empty() && program.ended.is_none() {
            reactor.forget(input.token);
            core.endpoints.remove(&input.flow);
            program.input = None;
            self.keep_inputs();
        }
    }

    /// Handles output of a program.
    pub(crate) fn readable(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        number: u32,
        stream: u8,
        buffer: &mut [u8],
    ) {
        self.pump(reactor, core, number, stream, buffer);
    }

    /// Handles new credit for a stream of a program, or room on its link.
    pub(crate) fn room(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        number: u32,
        stream: u8,
    ) {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(READ_SIZE, 0);
        let program = self
            .by_number
            .get(&number)
            .filter(|program| program.status.is_some());
        let output = program.and_then(|program| program.outputs[usize::from(stream - 1)].as_ref());
        if output.is_some_and(|output| !output.watched) {
            // The time of silence begins only now, because without credit nothing was read.
            reactor.after(Duration::ZERO, Timer::Left(number));
        }
        self.drain_output(reactor, core, number, stream, &mut buffer);
        self.buffer = buffer;
    }

    /// Reads a program's output: once, or up to its end if the program has ended.
    pub(super) fn drain_output(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        number: u32,
        stream: u8,
        buffer: &mut [u8],
    ) {
        while self.pump(reactor, core, number, stream, buffer)
            && self
                .by_number
                .get(&number)
                .is_some_and(|program| program.status.is_some())
        {}
    }

    /// Reads and sends a piece of a program's output, as far as there is credit. Returns true if
    /// there may be more.
    fn pump(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        number: u32,
        stream: u8,
        buffer: &mut [u8],
    ) -> bool {
        let Some(program) = self.by_number.get_mut(&number) else {
            return false;
        };
        let slot = &mut program.outputs[usize::from(stream - 1)];
        let Some(output) = slot else { return false };
        let room = match core.node.room(output.flow) {
            Some(room) => room,
            // A detached program must not fail at a write, so its output is read and discarded.
            None if self.detached => buffer.len(),
            None => {
                self.close_output(reactor, core, number, stream);
                return false;
            }
        };
        let room = room.min(buffer.len());
        if room == 0 {
            if std::mem::take(&mut output.watched) {
                let _ = reactor.shared.epoll.delete(&output.fd);
            }
            return false;
        }
        if !output.watched
            && let Err(error) = reactor.shared.epoll.add(
                &output.fd,
                EpollEvent::new(EpollFlags::EPOLLIN, output.token),
            )
        {
            core.node
                .reset(output.flow, Reason::Lost, &unwatched(error));
            self.close_output(reactor, core, number, stream);
            return false;
        }
        output.watched = true;
        let read = sys::read(&output.fd, &mut buffer[..room]);
        match read {
            Ok(Some(count)) if count > 0 => {
                core.node.send(output.flow, &buffer[..count], false, false);
                program.left.heard = wait::now();
                true
            }
            // Another process may hold the pipe open. An agent that ends does not wait for it.
            Ok(None) if program.status.is_none() || !core.stopped => false,
            Ok(_) | Err(_) => {
                core.node.send(output.flow, &[], true, false);
                self.close_output(reactor, core, number, stream);
                false
            }
        }
    }

    pub(crate) fn close_output(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        number: u32,
        stream: u8,
    ) {
        let Some(program) = self.by_number.get_mut(&number) else {
            return;
        };
        let Some(output) = program.outputs[usize::from(stream - 1)].take() else {
            return;
        };
        if output.watched {
            let _ = reactor.shared.epoll.delete(&output.fd);
        }
        core.endpoints.remove(&output.flow);
        reactor.forget(output.token);
    }

    pub(crate) fn close_input(&mut self, reactor: &mut Reactor, core: &mut NodeState, number: u32) {
        if let Some(input) = self
            .by_number
            .get_mut(&number)
            .and_then(|program| program.input.take())
        {
            core.node
                .reset(input.flow, Reason::Cancelled, "the program has ended");
            core.forget(input.flow);
            if input.watched {
                let _ = reactor.shared.epoll.delete(&input.fd);
            }
            reactor.forget(input.token);
            drop(input);
            self.keep_inputs();
        }
    }

    /// Passes the inputs of all programs to the guard, which holds them open. So if this agent is
    /// killed, no program sees the end of its input before the guard ends it.
    pub(super) fn keep_inputs(&self) {
        let inputs = self
            .by_number
            .values()
            .filter_map(|program| Some(program.input.as_ref()?.fd.as_raw_fd()));
        let inputs: Vec<_> = inputs.collect();
        offshoot_sys::guard::keep_open(&inputs);
    }

    /// Handles a stream of a program that the peer has reset or lost.
    pub(crate) fn stream_closed(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        number: u32,
        stream: u8,
        letter: DeadLetter,
    ) {
        let alone = self.detached;
        match stream {
            STDIN if alone => self.close_input(reactor, core, number),
            STDOUT | STDERR if alone => self.room(reactor, core, number, stream),
            STDOUT | STDERR => self.close_output(reactor, core, number, stream),
            _ => {
                let Some(program) = self.by_number.get_mut(&number) else {
                    return;
                };
                if stream != STDIN {
                    program.reply = None;
                }
                if !alone && program.status.is_none() {
                    // The caller does not wait any more, so the program must not run on. Or its
                    // input has failed, and it could take a part for the whole.
                    program.end(&(letter.reason, letter.text));
                    let grace = program.grace;
                    reactor.after(grace, Timer::EndProgram(number));
                }
            }
        }
    }
}
