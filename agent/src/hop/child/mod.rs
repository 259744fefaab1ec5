//! The children of a node, from the connect request to the end of the hop's program.
pub(crate) mod admission;
pub(crate) mod adopt;
pub(crate) mod bootstrap;
pub(crate) mod spawn;
pub(crate) mod state;
pub(crate) mod teardown;

use crate::hop::child::state::Child;
use crate::runtime::answer::answer;
use crate::runtime::answer::unreadable;
use crate::runtime::build::BUILD;
use crate::runtime::reactor::Reactor;
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
use offshoot_proto::message::connect::ConnectRequest;
use offshoot_proto::message::handshake::Connected;
use offshoot_proto::message::handshake::Hello;
use offshoot_proto::message::outcome::value;
use offshoot_sys::spawn::Process;
use std::time::Duration;

/// The children of a node.
#[derive(Default)]
pub(crate) struct Children {
    by_link: SortedMap<LinkId, Child>,
    /// The platforms of hosts whose first bootstrap was for another one, by the key of the recipe.
    remembered: Vec<(String, Platform)>,
    /// Guards of detached contexts. They only have to be reaped when they exit.
    released: Vec<Process>,
}

impl Children {
    /// Returns true if there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_link.is_empty()
    }

    /// Returns the links of all children.
    pub(crate) fn links(&self) -> Vec<LinkId> {
        self.by_link.keys()
    }

    /// Returns all children, by link.
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

    /// Handles a connect request: adds the child and starts its first attempt.
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
        let mode = if remembered.is_some() || order.recipe.asks_on_pipes {
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

    /// Handles the agent's `Hello`: the child is connected.
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
            why.hint = "rebuild the agents and the program from the same sources".into();
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

    /// Returns the name of the context at the other end of a link, for messages.
    pub(crate) fn name_of(&self, link: LinkId) -> &str {
        self.by_link
            .get(&link)
            .map_or("the parent", |child| &child.order.name)
    }
}

/// Sends `BootInfo` to a child, and its name to the ancestors.
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
