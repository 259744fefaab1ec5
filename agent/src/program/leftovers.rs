//! The processes that a program leaves when it ends: those that hold its streams, those that end
//! with it, and those that stay.

use crate::hop::child::Children;
use crate::program::running::Program;
use crate::program::running::STDERR;
use crate::program::running::STDOUT;
use crate::program::service::Programs;
use crate::runtime::answer::answer;
use crate::runtime::reactor::Reactor;
use crate::runtime::reactor::Timer;
use crate::runtime::state::NodeState;
use crate::runtime::wait;
use offshoot_proto::message::exec::ExecReply;
use offshoot_proto::message::outcome::value;
use offshoot_sys::descendants::Seen;
use offshoot_sys::descendants::detach;
use offshoot_sys::descendants::has_no_child_but;
use offshoot_sys::descendants::started_by;
use offshoot_sys::guard::DetachMark;
use offshoot_sys::procfs::holds;
use offshoot_sys::procfs::text;
use std::time::Duration;
use tracing::Level;

/// The pause between two looks at the remaining processes.
const NEXT_LOOK: Duration = Duration::from_millis(20);

/// The number of looks during which a process may still become a daemon: it creates its session
/// only after its parent has ended.
const LOOKS: u8 = 5;

/// The number of looks after which a process that cannot be killed is ignored. Its closed streams
/// or the end of the context may still end it.
const MOST_LOOKS: u8 = 25;

impl Programs {
    /// Handles the end of a program. The processes of a program that was ended from outside are
    /// killed at once; those of a program that ended by itself may write until its streams are
    /// closed.
    pub(crate) fn begin_left(&mut self, reactor: &mut Reactor, core: &mut NodeState, number: u32) {
        let Some(program) = self.by_number.get_mut(&number) else {
            return;
        };
        if program.ended.is_some() || core.stopped {
            program.left.everything = true;
            program.left.due = true;
        } else if program.is_open() {
            let wait = program.left.wait;
            reactor.after(wait, Timer::Left(number));
        }
    }

    /// Runs when the timer of the remaining processes fires: closes the program's streams if they
    /// were silent long enough, and has the processes looked at.
    pub(crate) fn look_at_left(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        number: u32,
    ) {
        let Some(program) = self.by_number.get(&number) else {
            return;
        };
        let quiet_until = program.left.heard + program.left.wait;
        let left = wait::left(quiet_until);
        let (process, pipes) = (program.process.id(), program.left.pipes);
        let open = program
            .outputs
            .iter()
            .flatten()
            .any(|output| output.watched);
        if program.ended.is_none() && open {
            if !left.is_zero() {
                return reactor.after(left, Timer::Left(number));
            }
            for holder in started_by(process)
                .iter()
                .filter(|seen| holds(seen.pid, &pipes[1..]))
            {
                tell_left(
                    reactor,
                    process,
                    holder,
                    "holds a stream without writing, so the stream was closed",
                );
            }
            self.end_streams(reactor, core, number);
        }
        if let Some(program) = self.by_number.get_mut(&number) {
            program.left.due = true;
        }
    }

    /// Closes the streams of a program, even if other processes hold them. Output that waits for
    /// credit is sent first.
    fn end_streams(&mut self, reactor: &mut Reactor, core: &mut NodeState, number: u32) {
        for stream in [STDOUT, STDERR] {
            let program = self.by_number.get(&number);
            let output =
                program.and_then(|program| program.outputs[usize::from(stream - 1)].as_ref());
            if let Some(output) = output.filter(|output| output.watched) {
                core.node.send(output.flow, &[], true, false);
                self.close_output(reactor, core, number, stream);
            }
        }
    }

    /// Kills the processes that end with a program, and marks those that stay as detached.
    fn look(&mut self, reactor: &mut Reactor, core: &mut NodeState, hops: &Children, number: u32) {
        let Some(program) = self
            .by_number
            .get(&number)
            .filter(|program| !program.left.done)
        else {
            return;
        };
        let (process, looks) = (program.process.id(), program.left.looks);
        let everything = program.left.everything;
        let known = |pid| self.has_process(pid) || hops.has_process(pid);
        if core.stopped || !self.in_agent || has_no_child_but(known) {
            return self.finish_left(reactor, core, number);
        }
        let left = started_by(process);
        let of_program =
            |seen: &&Seen| seen.session == process || holds(seen.pid, &program.left.pipes);
        let sessions: Vec<u32> = left
            .iter()
            .filter(of_program)
            .map(|seen| seen.session)
            .collect();
        let mut ending = false;
        for seen in &left {
            let stays = !everything && !sessions.contains(&seen.session);
            if stays {
                // If the process belongs to another user, marking fails; it could not be killed
                // either.
                let _ = detach(seen.pid, DetachMark::PROGRAM);
            }
            ending |= !stays;
            let due = everything || looks >= LOOKS;
            if stays || due && (looks == LOOKS || looks == 0) {
                tell_left(
                    reactor,
                    process,
                    seen,
                    if stays {
                        "keeps running"
                    } else {
                        "was ended with it"
                    },
                );
            }
            if !stays && due {
                seen.signal(offshoot_sys::signal::SIGKILL);
            }
        }
        if !ending || looks > MOST_LOOKS {
            return self.finish_left(reactor, core, number);
        }
        if let Some(program) = self.by_number.get_mut(&number) {
            program.left.looks += 1;
        }
        reactor.after(NEXT_LOOK, Timer::Left(number));
    }

    /// Answers the caller of a program with its exit status, once none of its processes is left.
    pub(crate) fn finish_left(&mut self, reactor: &mut Reactor, core: &mut NodeState, number: u32) {
        let Some(program) = self.by_number.get_mut(&number) else {
            return;
        };
        let Some(status) = program.status else { return };
        program.left.done = true;
        let (reply, ended) = (program.reply.take(), program.ended.take());
        if core.stopped || ended.is_some() {
            self.end_streams(reactor, core, number);
        }
        self.close_input(reactor, core, number);
        // Log records about the program are sent before the reply.
        reactor.shared.send_logs(core);
        if let Some(flow) = reply {
            answer(core, flow, value(&ExecReply { status, ended }));
        }
    }

    /// Removes a program that has ended, has left no process, and has no open stream.
    pub(crate) fn forget_finished(&mut self, number: u32) {
        if self
            .by_number
            .get(&number)
            .is_some_and(|program| program.left.done && !program.is_open())
        {
            self.by_number.remove(&number);
        }
    }

    /// Takes the next step with a program that has ended: looks at its remaining processes, or
    /// removes it. Must be called after every event of the program.
    pub(crate) fn settle(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        hops: &Children,
        number: u32,
    ) {
        let ended = |program: &&mut Program| program.status.is_some();
        let Some(program) = self.by_number.get_mut(&number).filter(ended) else {
            return;
        };
        let first = program.left.looks == 0 && !program.is_open();
        if std::mem::take(&mut program.left.due) || first {
            self.look(reactor, core, hops, number);
        }
        self.forget_finished(number);
    }
}

fn tell_left(reactor: &Reactor, program: u32, seen: &Seen, what: &str) {
    let pid = seen.pid;
    let name = text(&format!("/proc/{pid}/comm"));
    let text = format!(
        "{} (process {pid}) of program {program}: {what}",
        name.trim_end()
    );
    reactor.shared.say(Level::INFO, text);
}
