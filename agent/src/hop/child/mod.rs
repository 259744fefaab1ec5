//! The children of a node: from the order to connect, over all attempts, to the end of the hop's
//! program.
pub(crate) mod admission;
pub(crate) mod adopt;
pub(crate) mod bootstrap;
pub(crate) mod spawn;
pub(crate) mod state;

use crate::hop::child::state::Child;
use crate::runtime::answer::answer;
use crate::runtime::answer::unreadable;
use crate::runtime::build::BUILD;
use crate::runtime::reactor::Reactor;
use crate::runtime::reactor::Source;
use crate::runtime::reactor::Timer;
use crate::runtime::state::NodeState;
use crate::runtime::state::Request;
use offshoot_bootstrap::Mode;
use offshoot_bootstrap::Platform;
use offshoot_codec as codec;
use offshoot_proto::ConnectError;
use offshoot_proto::ConnectErrorKind;
use offshoot_proto::ContextId;
use offshoot_proto::FlowKey;
use offshoot_proto::LinkId;
use offshoot_proto::Reason;
use offshoot_proto::collections::sorted_map::SortedMap;
use offshoot_proto::connect::bootstrap::BootstrapWatcher;
use offshoot_proto::connect::recipe::Attach;
use offshoot_proto::message::connect::ConnectRequest;
use offshoot_proto::message::handshake::Connected;
use offshoot_proto::message::handshake::Hello;
use offshoot_proto::message::outcome::failed;
use offshoot_proto::message::outcome::value;
use offshoot_sys::guard::DetachMark;
use offshoot_sys::guard::mark_of;
use offshoot_sys::spawn::Process;
use std::time::Duration;

/// How long the program of a hop may take to end once its streams have.
const EXIT_PATIENCE: Duration = Duration::from_millis(500);

/// How long a link that has ended waits for the last words of its program.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// The children of a node.
#[derive(Default)]
pub(crate) struct Children {
    by_link: SortedMap<LinkId, Child>,
    /// The platforms of hops whose first bootstrap was for another one, by the hop's key.
    remembered: Vec<(String, Platform)>,
    /// Guards of detached contexts, to be collected when they end.
    released: Vec<Process>,
}

impl Children {
    /// Returns true if there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_link.is_empty()
    }

    /// Returns the links of all.
    pub(crate) fn links(&self) -> Vec<LinkId> {
        self.by_link.keys()
    }

    /// Returns all of them, by link.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(LinkId, Child)> {
        self.by_link.iter()
    }

    /// Returns true if this is the link of a child whose agent is not up yet.
    pub(crate) fn is_connecting(&self, link: LinkId) -> bool {
        self.by_link.get(&link).is_some_and(|child| !child.up)
    }

    /// Returns true if this process is the program of a child's hop.
    pub(crate) fn has_process(&self, pid: u32) -> bool {
        let is_process = |child: &Child| {
            child
                .process
                .as_ref()
                .is_some_and(|process| process.id() == pid)
        };
        self.by_link.values().any(is_process)
    }

    /// The order to connect: the child exists from now on.
    pub(crate) fn connect(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        flow: FlowKey,
        request: &Request,
    ) {
        let Some((context, link)) = request.child else {
            return;
        };
        let order: ConnectRequest = match codec::from_own(&request.bytes) {
            Ok(order) => order,
            Err(error) => {
                core.node
                    .link_lost(link, Reason::ConnectFailed, "the order cannot be read");
                return unreadable(core, flow, error);
            }
        };
        announce(reactor, core, link, context, &order);

        let remembered = self
            .remembered
            .iter()
            .find(|(key, _)| *key == order.recipe.key)
            .map(|(_, platform)| *platform);
        let platform = remembered.or(Platform::host()).unwrap_or(Platform::X86_64);
        let mode = if remembered.is_some() {
            Mode::Wait
        } else {
            Mode::Optimistic
        };
        let boot = BootstrapWatcher::new(mode, platform);
        let asks = order.recipe.at_once > 0;
        reactor.after(
            Duration::from_millis(order.recipe.timeout_ms),
            Timer::Connect(link, asks),
        );
        let mut child = Child::new(context, order, boot);
        child.reply = Some(flow);
        self.by_link.insert(link, child);
        self.attempt(reactor, core, link, platform, mode);
    }

    /// The agent has said who it is: the child is connected.
    pub(crate) fn hello(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        link: LinkId,
        bytes: &[u8],
    ) {
        let Some(child) = self.by_link.get_mut(&link) else {
            return;
        };
        let hello: Hello = match codec::from_own(bytes) {
            Ok(hello) => hello,
            Err(_) => Hello {
                build: !BUILD,
                process: 0,
                machine: String::new(),
                version: String::new(),
                functions: Vec::new(),
            },
        };
        if hello.build != BUILD {
            let mut why = ConnectError::new(
                ConnectErrorKind::Protocol,
                "its agent was built from other sources than this program",
            );
            why.hint = "build the agents and the program anew from the same sources".into();
            return self.fail(reactor, core, link, why);
        }
        core.node.link_up(link);
        if let Some(flow) = child.reply.take() {
            let attempts = child.boot.bootstraps();
            let Hello {
                process,
                machine,
                functions,
                ..
            } = hello;
            answer(
                core,
                flow,
                value(&Connected {
                    process,
                    machine,
                    attempts,
                    functions,
                }),
            );
        }
        let seconds = child.order.heartbeat;
        reactor.keep_alive(core, link, seconds);
    }

    /// Who is at the other end of a link, for messages.
    pub(crate) fn name_of(&self, link: LinkId) -> &str {
        self.by_link
            .get(&link)
            .map_or("the parent", |child| &child.order.name)
    }

    /// Gives a hop up before it was taken.
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
        error.context = child.order.name.clone();
        error.hop = child.order.recipe.hop.clone();
        let text = error.to_string();
        if let Some(flow) = child.reply.take() {
            answer(core, flow, failed(&error.into()));
        }
        core.node.link_lost(link, Reason::ConnectFailed, &text);
        self.close(reactor, core, link);
    }

    /// A child that was up is no more.
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
            (error.context, error.hop) = (child.order.name.clone(), child.order.recipe.hop.clone());
            answer(core, flow, failed(&error.into()));
        }
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

    /// Closes what leads to a child and sees that its program ends.
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
            self.next_turn(reactor, link);
        }
        let Some(child) = self.by_link.get_mut(&link) else {
            return;
        };
        child.forget_secrets();
        child.terminal = None;
        child.slave = None;
        child.open_streams = 0;
        match &child.process {
            // A context that was let go: its guard is none of ours to end any more, only to
            // collect.
            Some(process)
                if child.exit.is_none()
                    && mark_of(process.id()) == Some(DetachMark::context(process.id())) =>
            {
                self.released.extend(child.process.take());
                self.finish(reactor, core, link);
            }
            Some(process) if child.exit.is_none() => {
                if !child.up {
                    process.signal(offshoot_sys::signal::SIGTERM);
                }
                // An agent that was up has a guard, which ends it in time and must not be killed
                // before it has.
                let patience = if child.up {
                    EXIT_PATIENCE * 2
                } else {
                    EXIT_PATIENCE
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
        if child.up && !child.over && (child.parting || matches!(source, Source::Link(_))) {
            // A guard says nothing, and takes its time to end what is below it.
            let may_speak = child.process.is_some() && child.order.recipe.attach != Attach::Direct;
            if child.dismissed || child.is_read() || !may_speak {
                self.part(reactor, core, link);
            } else if !std::mem::replace(&mut child.parting, true) {
                reactor.after(LAST_WORDS, Timer::Lost(link));
            }
        } else if !child.over && child.exit.is_none() && child.open_streams == 0 {
            let attempt = child.boot.attempts();
            reactor.after(EXIT_PATIENCE, Timer::Kill(link, attempt));
        }
        self.attempt_over(reactor, core, link);
    }

    /// The link of a child that was up has ended, and what its program has said was read.
    fn part(&mut self, reactor: &mut Reactor, core: &mut NodeState, link: LinkId) {
        let Some(child) = self.by_link.get_mut(&link) else {
            return;
        };
        if child.dismissed {
            return self.lose(
                reactor,
                core,
                link,
                Reason::ShutDown,
                "it was ended on purpose",
            );
        }
        let mut why = String::from("its link has ended");
        // A guard ends as its agent has: 139 is a function's bad access, 137 a kill.
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

    /// The link of a child has ended, and it has had its time for last words.
    pub(crate) fn gone(&mut self, reactor: &mut Reactor, core: &mut NodeState, link: LinkId) {
        if self
            .by_link
            .get(&link)
            .is_some_and(|child| child.parting && !child.over)
        {
            self.part(reactor, core, link);
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
            .is_some_and(|child| child.parting && child.is_read())
        {
            self.part(reactor, core, link);
        } else if streams > 0 {
            // What is left in its streams is read first; but something else may hold them open for
            // ever.
            reactor.after(EXIT_PATIENCE, Timer::Kill(link, attempt));
        }
        self.attempt_over(reactor, core, link);
    }

    /// The program of a hop did not end by itself.
    pub(crate) fn kill(&mut self, reactor: &mut Reactor, core: &mut NodeState, link: LinkId) {
        let Some(child) = self.by_link.get_mut(&link) else {
            return;
        };
        if child.process.is_none() && !child.over {
            // Nothing is known of it but its link.
            self.lose(
                reactor,
                core,
                link,
                Reason::ShutDown,
                "it did not leave when it was told to",
            );
        } else if child.exit.is_none() {
            // One that has changed user may not be ours to kill: its closed streams end it, if it
            // was not let go.
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

    /// A child's program has ended and nothing of it is left.
    fn finish(&mut self, reactor: &mut Reactor, core: &mut NodeState, link: LinkId) {
        let Some(child) = self.by_link.remove(&link) else {
            return;
        };
        if child.process.is_some() {
            reactor.unwatch(Source::ChildExit(link));
        }
        for flow in child.waiting {
            answer(core, flow, value(&()));
        }
    }

    /// The order to end one child.
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
        self.dismiss(reactor, core, link);
    }

    /// Nobody waits any more for a hop that is being taken.
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
            self.dismiss(reactor, core, link);
        }
    }

    /// Tells a child to end, and closes the way to it.
    pub(crate) fn dismiss(&mut self, reactor: &mut Reactor, core: &mut NodeState, link: LinkId) {
        let up = self.by_link.get(&link).is_some_and(Child::is_up);
        if !up {
            let error = ConnectError::new(ConnectErrorKind::Cancelled, "it was given up");
            return self.fail(reactor, core, link, error);
        }
        if let Some(child) = self.by_link.get_mut(&link) {
            child.dismissed = true;
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

/// Tells a child who it is, and those above of it.
fn announce(
    reactor: &Reactor,
    core: &mut NodeState,
    link: LinkId,
    id: ContextId,
    order: &ConnectRequest,
) {
    core.names.insert(id, order.name.as_str().into());
    if order.announce {
        core.node.announce(id);
    }
    let mut ancestors = vec![core.node.id()];
    ancestors.extend_from_slice(core.node.router.ancestors());
    let boot = offshoot_proto::message::boot::BootInfo {
        id,
        ancestors,
        name: order.name.clone(),
        filter: reactor.shared.logs.filter(),
        heartbeat: order.heartbeat,
    };
    core.node.boot(link, &boot);
}
