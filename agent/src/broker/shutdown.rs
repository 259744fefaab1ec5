//! The shutdown of a node: ends its children and programs, within a time limit.

use crate::broker::Broker;
use crate::broker::PATIENCE;
use crate::call::chain_service as chains;
use crate::runtime::link_writer::LinkWriter;
use crate::runtime::reactor::READ_SIZE;
use crate::runtime::reactor::Source;
use crate::runtime::reactor::Timer;
use crate::runtime::role::NodeRole;
use crate::runtime::scope::CallState;
use crate::runtime::state::Endpoint;
use crate::runtime::state::NodeState;
use crate::runtime::state::Wake;
use crate::runtime::wait;
use offshoot_proto::Error;
use offshoot_proto::LinkId;
use offshoot_proto::Reason;
use offshoot_proto::log::LogRecord;
use offshoot_sys as sys;
use offshoot_sys::descendants::end_descendants;
use offshoot_sys::descendants::processes;
use offshoot_sys::guard as life;
use offshoot_sys::poll::PollFd;
use offshoot_sys::poll::PollFlags;
use offshoot_sys::poll::PollTimeout;
use offshoot_sys::poll::poll;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

/// How long orphans that have exited may remain zombies.
const REAP_DELAY: Duration = Duration::from_millis(500);

/// How long an agent, after its time limit, waits for the last output of its children, and for its
/// parent to read its own.
const LAST_WORDS: Duration = Duration::from_millis(150);

/// How long the root waits for its children before it uses force.
const ROOT_PATIENCE: Duration = Duration::from_millis(2000);

impl Broker {
    /// Starts the shutdown: tells the children and programs to end, and refuses new requests.
    pub(crate) fn stop(&mut self) {
        if self.detached {
            // After a detach, both the parent's order and the end of the link may arrive. They end
            // only the link.
            if let NodeRole::Agent(up) = self.role {
                self.leave(up);
            }
            return;
        }
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let mut core = shared.lock();
        core.stopped = true;
        shared
            .workers
            .give_up(&shared.life, &mut core, self.role.is_agent());
        if let NodeRole::Joined(up) = self.role {
            // The root is told now, and callers that wait for contexts above fail now. Children end
            // in their own time.
            self.reactor.unwatch(Source::Link(up));
            shared.flush_link(&mut core, up);
            self.reactor.forget_output(&mut core, up);
            core.node.link_lost(
                up,
                Reason::Lost,
                "this process has left the tree, or its parent has ended",
            );
        }
        for link in self.children.links() {
            self.children.shut_down(&mut self.reactor, &mut core, link);
        }
        self.release(core);
        let why = self.why.take().unwrap_or((Reason::ShutDown, String::new()));
        let mut core = shared.lock();
        self.programs.stop(&mut self.reactor, &mut core, &why);
        self.release(core);
        let patience = if self.role.is_agent() {
            PATIENCE
        } else {
            ROOT_PATIENCE
        };
        self.reactor.after(patience, Timer::Farewell);
    }

    /// Ends the loop once the shutdown is complete. An agent's process exits then, so it waits for
    /// its functions; in other programs, `Router` waits for them.
    pub(crate) fn check_farewell(&mut self) {
        if !self.stopping || !self.children.is_empty() || !self.programs.is_empty() {
            return;
        }
        let may_clean_up = self.role.is_agent() && !self.forced;
        if !may_clean_up || self.shared.workers.are_idle() {
            self.done = true;
        }
    }

    /// Uses force, because the time for an orderly end is over.
    pub(crate) fn force(&mut self) {
        self.programs.kill_all();
        let agent = self.role.is_agent();
        if !agent || self.forced {
            let shared = Arc::clone(&self.shared);
            let mut core = shared.lock();
            for link in self.children.links() {
                self.children.kill(&mut self.reactor, &mut core, link);
            }
            self.release(core);
        }
        if std::mem::replace(&mut self.forced, true) {
            // A process that cannot be killed is left to the end of its streams, and to this
            // agent's guard.
            self.done = true;
        } else {
            // Killed processes still have to be reaped, and children that used all of their time
            // still send their last output.
            self.reactor.after(
                if agent { LAST_WORDS } else { ROOT_PATIENCE / 2 },
                Timer::Farewell,
            );
        }
    }

    /// Runs after the loop: fails all waiters, and sends an agent's remaining output. Its guard
    /// kills the processes that are left, or if there is no guard, the agent does.
    pub(crate) fn last_words(&mut self) {
        let shared = Arc::clone(&self.shared);
        if let NodeRole::Agent(up) = self.role {
            self.say_the_rest(up);
        }
        let mut core = shared.lock();
        core.stopped = true;
        // Later requests are refused.
        self.stopping = true;
        let endpoints: Vec<_> = core.endpoints.drain().collect();
        for (flow, endpoint) in endpoints {
            match endpoint {
                Endpoint::Reply(slot) => core.wakes.push(Wake::Reply(slot, Err(Error::ShutDown))),
                Endpoint::Stream(stream) => {
                    stream.fail(Error::ShutDown);
                    core.wakes.push(Wake::Stream(stream));
                }
                Endpoint::Busy(Some(scope)) => {
                    core.cancel(&scope, CallState::Cancelled);
                }
                Endpoint::Chain(chain) => chains::closed(&mut core, &chain),
                Endpoint::Handler(handler) => handler.closed(&mut core, flow, &Error::ShutDown),
                _ => {}
            }
        }
        core.withdraw_all();
        if !self.role.is_agent() {
            core.io.clear();
        }
        self.release(core);
        shared.states.clear();
        if self.role.is_agent() && !life::guarded() {
            end_descendants();
        }
    }

    /// Sends the remaining output and log records of this process to the parent, as far as the
    /// parent reads them.
    pub(crate) fn say_the_rest(&mut self, up: LinkId) {
        let mut buffer = vec![0; READ_SIZE];
        let shared = Arc::clone(&self.shared);
        for stream in [1, 2] {
            let Some(own) = self.reactor.own_output(stream) else {
                continue;
            };
            // One read only: a pipe holds no more, and a function may print without end.
            let count = sys::read(&own, &mut buffer).ok().flatten().unwrap_or(0);
            let mut core = shared.lock();
            self.own_output(&mut core, stream, &buffer[..count], true);
            self.release(core);
        }
        let end = wait::now() + LAST_WORDS * 2;
        let mut core = shared.lock();
        shared.send_logs(&mut core);
        self.release(core);
        loop {
            // Functions may still need the lock, so it is not held during the wait.
            let mut core = shared.lock();
            shared.flush_link(&mut core, up);
            let blocked = core.io.get(&up).and_then(LinkWriter::blocked);
            self.release(core);
            let left = wait::left(end).min(LAST_WORDS);
            let Some(fd) = blocked.filter(|_| !left.is_zero()) else {
                return;
            };
            let mut room = [PollFd::new(fd.as_fd(), PollFlags::POLLOUT)];
            if !matches!(
                poll(
                    &mut room,
                    PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO)
                ),
                Ok(1)
            ) {
                return;
            }
        }
    }

    /// Schedules a search for orphans. It looks at all processes, so it does not run for every exit
    /// of a child.
    pub(crate) fn reap_soon(&mut self) {
        if !std::mem::replace(&mut self.reaping, true) {
            self.reactor.after(REAP_DELAY, Timer::Reap);
        }
    }

    /// Reaps processes that became children of this agent when their parents ended. Children that
    /// user functions started are in the agent's session and are left to these functions; hops and
    /// programs are reaped by their own code.
    pub(crate) fn reap_orphans(&mut self) {
        self.reaping = false;
        let me = std::process::id();
        for process in processes()
            .into_iter()
            .filter(|process| process.parent == me && process.ended)
        {
            let pid = process.pid;
            let ours = self.children.has_process(pid) || self.programs.has_process(pid);
            if !ours && sys::in_other_session(pid) {
                sys::reap(pid);
            }
        }
    }

    /// Sends output of this process to the root as log records, one for each line. `last` includes
    /// an unfinished line.
    pub(crate) fn own_output(
        &mut self,
        core: &mut NodeState,
        stream: u8,
        bytes: &[u8],
        last: bool,
    ) {
        let index = usize::from(stream == 2);
        let mut lines = self.own_lines[index].feed(bytes);
        if last {
            lines.extend(self.own_lines[index].rest());
        }
        let name = if stream == 2 { "stderr" } else { "stdout" };
        if !lines.is_empty() && self.shared.logs.wants(tracing::Level::INFO, name) {
            for line in lines {
                // Replaced bytes become longer, so a line may need several records.
                let mut rest = line.as_str();
                while !rest.is_empty() {
                    let record = LogRecord::of(tracing::Level::INFO, name, rest);
                    rest = &rest[record.message.len()..];
                    self.shared.log_now(core, record);
                }
            }
        }
    }
}
