//! What a program leaves when it ends: who holds its streams still, what is ended with it, and what
//! stays.

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

/// How long until the next look at what is left.
const NEXT_LOOK: Duration = Duration::from_millis(20);

/// How many looks what is about to become a daemon has time for: it makes its session when its
/// parent has ended.
const LOOKS: u8 = 5;

/// After how many looks what cannot be ended is left to its closed streams and to the end of the
/// context.
const MOST_LOOKS: u8 = 25;

impl Programs {
    /// A program has ended. What was ended takes all along at once; of one that has ended by
    /// itself, the streams end first.
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

    /// The time has come to look at it, or at who holds its streams in silence.
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
                    "holds a stream in silence, which is at its end now",
                );
            }
            self.end_streams(reactor, core, number);
        }
        if let Some(program) = self.by_number.get_mut(&number) {
            program.left.due = true;
        }
    }

    /// Ends the streams of a program, whoever holds them; what waits for credit goes its way.
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

    /// Ends what is to end with a program that has ended, and lets go of what is to stay.
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
                // What it has no right to mark it has no right to end.
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
                        "goes on"
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

    /// Nothing is left: whoever waits for the program is told how it ended.
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
        // What was said of it comes before its end.
        reactor.shared.send_logs(core);
        if let Some(flow) = reply {
            answer(core, flow, value(&ExecReply { status, ended }));
        }
    }

    /// Forgets a program that has ended, of which nothing is left and whose streams are at their
    /// end.
    pub(crate) fn forget_finished(&mut self, number: u32) {
        if self
            .by_number
            .get(&number)
            .is_some_and(|program| program.left.done && !program.is_open())
        {
            self.by_number.remove(&number);
        }
    }

    /// Takes the next step with a program that has ended, whatever has happened to it: looks at
    /// what it has left, or forgets it.
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
