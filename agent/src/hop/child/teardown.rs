//! The end of a child: failed and lost hops, the last output of their programs, and the time limits
//! after which these are killed.

use crate::hop::child::Children;
use crate::hop::child::state::Child;
use crate::runtime::answer::answer;
use crate::runtime::answer::unreadable;
use crate::runtime::reactor::Reactor;
use crate::runtime::reactor::Source;
use crate::runtime::reactor::Timer;
use crate::runtime::state::NodeState;
use offshoot_codec as codec;
use offshoot_proto::ConnectError;
use offshoot_proto::ConnectErrorKind;
use offshoot_proto::ContextId;
use offshoot_proto::FlowKey;
use offshoot_proto::LinkId;
use offshoot_proto::Reason;
use offshoot_proto::connect::recipe::Attach;
use offshoot_proto::message::outcome::failed;
use offshoot_proto::message::outcome::value;
use offshoot_sys::guard::DetachMark;
use offshoot_sys::guard::mark_of;
use std::time::Duration;

/// How long the program of a hop may run after its streams have ended.
const EXIT_PATIENCE: Duration = Duration::from_millis(500);

/// How long it may run if it has to clean up: until Docker has removed a container.
const CLEAN_UP_PATIENCE: Duration = Duration::from_secs(10);

/// How long the last output of a hop's program is awaited after its link has ended.
const LAST_WORDS: Duration = Duration::from_millis(300);

impl Children {
    /// Fails a hop whose agent is not up: answers the request and closes the link.
    pub(crate) fn fail(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        link: LinkId,
        mut error: ConnectError,
    ) {
        let Some(child) = self.by_link.get_mut(&link) else {
            return;
        };
        // The errors of calls to this context and to those behind it name the context before this.
        (error.context, error.hop) = (child.order.name.clone(), String::new());
        let text = error.to_string();
        error.hop = child.boot.dialogue.with_place(&child.order.recipe.hop);
        if let Some(flow) = child.reply.take() {
            answer(core, flow, failed(&error.into()));
        }
        core.node.link_lost(link, Reason::ConnectFailed, &text);
        self.close(reactor, core, link);
    }

    /// Handles the loss of a child that was up: closes its link with this reason.
    pub(crate) fn lose(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        link: LinkId,
        reason: Reason,
        why: &str,
    ) {
        if let Some(child) = self.by_link.get_mut(&link)
            && let Some(flow) = child.reply.take()
        {
            let mut error = ConnectError::new(ConnectErrorKind::Protocol, why);
            error.context.clone_from(&child.order.name);
            error.hop = child.boot.dialogue.with_place(&child.order.recipe.hop);
            error.hint = child.order.recipe.hint.clone();
            answer(core, flow, failed(&error.into()));
        }
        // The contexts behind it are lost with it, and their errors have to name this hop.
        let why = match self.by_link.get(&link) {
            Some(child) => &[child.order.name.as_str(), ": ", why].concat(),
            None => why,
        };
        match self
            .by_link
            .get(&link)
            .is_some_and(|child| child.boot.is_stopped())
        {
            true => core.node.link_lost(link, Reason::Stopped, why),
            false => core.node.link_lost(link, reason, why),
        }
        self.close(reactor, core, link);
    }

    /// Closes the streams of a child and makes its program end.
    fn close(&mut self, reactor: &mut Reactor, core: &mut NodeState, link: LinkId) {
        reactor.unwatch(Source::Link(link));
        reactor.unwatch(Source::ChildTerminal(link));
        reactor.unwatch(Source::ChildStderr(link));
        reactor.forget_output(core, link);
        let Some(child) = self.by_link.get_mut(&link) else {
            return;
        };
        child.over = true;
        if !child.up {
            self.admit_next(reactor, link);
        }
        let Some(child) = self.by_link.get_mut(&link) else {
            return;
        };
        child.forget_secrets();
        child.terminal = None;
        child.slave = None;
        child.open_streams = 0;
        match &child.process {
            // A detached context: its guard must not be killed, only reaped.
            Some(process)
                if child.exit.is_none()
                    && mark_of(process.id()) == Some(DetachMark::context(process.id())) =>
            {
                self.released.extend(child.process.take());
                self.finish(reactor, core, link);
            }
            Some(process) if child.exit.is_none() => {
                let patience = match (child.order.recipe.cleans_up, child.up) {
                    (true, _) => CLEAN_UP_PATIENCE,
                    // An agent that was up has a guard, which kills the rest of its processes and
                    // therefore must not be killed before that is done.
                    (false, true) => EXIT_PATIENCE * 2,
                    (false, false) => {
                        process.signal_group(offshoot_sys::signal::SIGTERM);
                        EXIT_PATIENCE
                    }
                };
                let attempt = child.boot.attempts();
                reactor.after(patience, Timer::Kill(link, attempt));
            }
            _ => self.finish(reactor, core, link),
        }
    }

    pub(crate) fn stream_ended(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        link: LinkId,
        source: Source,
    ) {
        let Some(child) = self.by_link.get_mut(&link) else {
            return;
        };
        child.open_streams = child.open_streams.saturating_sub(1);
        if child.up && !child.over && (child.awaiting_output || matches!(source, Source::Link(_))) {
            // A local child has a guard as its program, which prints nothing and takes time to end
            // the processes below it.
            let may_speak = child.process.is_some() && child.order.recipe.attach != Attach::Direct;
            if child.shutting_down || child.is_read() || !may_speak {
                self.report_lost(reactor, core, link);
            } else if !std::mem::replace(&mut child.awaiting_output, true) {
                reactor.after(LAST_WORDS, Timer::Lost(link));
            }
        } else if !child.over && child.exit.is_none() && child.open_streams == 0 {
            let attempt = child.boot.attempts();
            reactor.after(EXIT_PATIENCE, Timer::Kill(link, attempt));
        }
        self.attempt_over(reactor, core, link);
    }

    /// Reports a child as lost with its exit status and its last output, once its link has ended
    /// and its output was read.
    fn report_lost(&mut self, reactor: &mut Reactor, core: &mut NodeState, link: LinkId) {
        let Some(child) = self.by_link.get_mut(&link) else {
            return;
        };
        if child.shutting_down {
            return self.lose(
                reactor,
                core,
                link,
                Reason::ShutDown,
                "it was ended on purpose",
            );
        }
        let mut why = String::from("its link has ended");
        // A guard exits as its agent did: 139 is a segmentation fault in a function, 137 a SIGKILL.
        if let Some(status) = child.exit {
            why.push_str(&format!(
                ", its program with status {}",
                status.shell_code()
            ));
        }
        if let Some(last) = child.boot.said().pop() {
            why.push_str(&format!("; last output: \"{last}\""));
        }
        self.lose(reactor, core, link, Reason::Lost, &why);
    }

    /// Handles the end of the wait for the last output of a child.
    pub(crate) fn output_overdue(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        link: LinkId,
    ) {
        if self
            .by_link
            .get(&link)
            .is_some_and(|child| child.awaiting_output && !child.over)
        {
            self.report_lost(reactor, core, link);
        }
    }

    pub(crate) fn exited(&mut self, reactor: &mut Reactor, core: &mut NodeState, link: LinkId) {
        let Some(child) = self.by_link.get_mut(&link) else {
            reactor.unwatch(Source::ChildExit(link));
            return self
                .released
                .retain_mut(|process| process.try_wait().is_none());
        };
        let Some(process) = child.process.as_mut().filter(|_| child.exit.is_none()) else {
            return;
        };
        let Some(status) = reactor.take_end(Source::ChildExit(link), process) else {
            return;
        };
        child.exit = Some(status);
        let (over, streams, attempt) = self.by_link.get(&link).map_or((true, 0, 0), |child| {
            (child.over, child.open_streams, child.boot.attempts())
        });
        if over {
            self.finish(reactor, core, link);
        } else if self
            .by_link
            .get(&link)
            .is_some_and(|child| child.awaiting_output && child.is_read())
        {
            self.report_lost(reactor, core, link);
        } else if streams > 0 {
            // The rest of its output is read first, but not for ever: another process may hold the
            // streams open.
            reactor.after(EXIT_PATIENCE, Timer::Kill(link, attempt));
        }
        self.attempt_over(reactor, core, link);
    }

    /// Kills the program of a hop that did not end by itself.
    pub(crate) fn kill(&mut self, reactor: &mut Reactor, core: &mut NodeState, link: LinkId) {
        let Some(child) = self.by_link.get_mut(&link) else {
            return;
        };
        if child.process.is_none() && !child.over {
            // The child joined by itself: this node has its link, but no process to kill.
            self.lose(
                reactor,
                core,
                link,
                Reason::ShutDown,
                "it did not leave when it was told to",
            );
        } else if child.exit.is_none() {
            // A program that changed its user may not be killable from here. The end of its streams
            // makes it exit, unless it was detached.
            let killed = child
                .process
                .as_ref()
                .is_none_or(|process| process.signal(offshoot_sys::signal::SIGKILL));
            if !killed && child.over {
                self.finish(reactor, core, link);
            }
        } else {
            child.open_streams = 0;
            child.terminal = None;
            child.slave = None;
            self.attempt_over(reactor, core, link);
        }
    }

    /// Removes a child whose program has ended, and answers those that wait for its end.
    fn finish(&mut self, reactor: &mut Reactor, core: &mut NodeState, link: LinkId) {
        let Some(child) = self.by_link.remove(&link) else {
            return;
        };
        if let Some(process) = &child.process {
            reactor.unwatch(Source::ChildExit(link));
            // Only an agent ends the processes that it has started.
            if !child.up {
                process.signal_group(offshoot_sys::signal::SIGKILL);
            }
        }
        for flow in child.waiting {
            answer(core, flow, value(&()));
        }
    }

    /// Handles the request to end one child.
    pub(crate) fn disconnect(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        flow: FlowKey,
        request: &[u8],
    ) {
        let context: ContextId = match codec::from_own(request) {
            Ok(context) => context,
            Err(error) => return unreadable(core, flow, error),
        };
        let found = self
            .by_link
            .iter_mut()
            .find(|(_, child)| child.context == context);
        let Some((link, child)) = found else {
            return answer(core, flow, value(&()));
        };
        child.waiting.push(flow);
        let link = *link;
        self.shut_down(reactor, core, link);
    }

    /// Cancels a hop whose caller does not wait any more.
    pub(crate) fn give_up_hop(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        order: FlowKey,
    ) {
        let link = self
            .by_link
            .iter()
            .find(|(_, child)| child.reply == Some(order))
            .map(|(link, _)| *link);
        if let Some(link) = link {
            self.shut_down(reactor, core, link);
        }
    }

    /// Sends `Shutdown` to a child and closes the link after it. Fails a hop that is not up yet.
    pub(crate) fn shut_down(&mut self, reactor: &mut Reactor, core: &mut NodeState, link: LinkId) {
        let up = self.by_link.get(&link).is_some_and(Child::is_up);
        if !up {
            let error = ConnectError::new(ConnectErrorKind::Cancelled, "the hop was cancelled");
            return self.fail(reactor, core, link, error);
        }
        if let Some(child) = self.by_link.get_mut(&link) {
            child.shutting_down = true;
        }
        core.node
            .control(link, offshoot_proto::wire::Kind::Shutdown, Vec::new());
        if let Some(io) = core.io.get_mut(&link) {
            io.close_when_empty = true;
        }
        let attempt = self
            .by_link
            .get(&link)
            .map_or(0, |child| child.boot.attempts());
        reactor.after(EXIT_PATIENCE * 3, Timer::Kill(link, attempt));
    }
}
