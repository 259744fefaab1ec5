//! Adds a process that connected over a socket as a child. It differs from a child behind a hop in
//! its authority, and this node has not started it, so it cannot kill it.

use crate::hop::child::Children;
use crate::hop::child::announce;
use crate::hop::child::state::Child;
use crate::runtime::reactor::Reactor;
use crate::runtime::reactor::Source;
use crate::runtime::state::NodeState;
use offshoot_bootstrap::Mode;
use offshoot_bootstrap::Platform;
use offshoot_proto::ContextId;
use offshoot_proto::Error;
use offshoot_proto::Handle;
use offshoot_proto::Reason;
use offshoot_proto::Result;
use offshoot_proto::connect::bootstrap::BootstrapWatcher;
use offshoot_proto::connect::recipe::Attach;
use offshoot_proto::connect::recipe::Recipe;
use offshoot_proto::message::connect::ConnectRequest;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

impl Children {
    /// Adds a process of this user as the child `id`. `hello` has the bytes that it has sent so
    /// far.
    ///
    /// # Errors
    /// Returns an error if this node is ending, the id is in use, or the system has no descriptors
    /// left.
    pub(crate) fn take_in(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        stream: UnixStream,
        id: ContextId,
        name: &str,
        hello: &[u8],
    ) -> Result<()> {
        let input = stream
            .try_clone()
            .map_err(|error| Error::system("duplicating a socket", error))?;
        let order = ConnectRequest {
            prompts: Handle::NONE,
            name: name.into(),
            title: None,
            recipe: Recipe::new("join", Vec::new(), Attach::Direct),
            announce: true,
            heartbeat: crate::hop::method::DEFAULT_HEARTBEAT,
        };
        if core.stopped {
            return Err(Error::ShutDown);
        }
        let used = || Error::System {
            action: "numbering a context".into(),
            detail: format!("{id} is in use"),
        };
        let link = core.node.add_child(id).ok_or_else(used)?;
        let own = core.node.id();
        core.node.set_authority(link, own);
        announce(reactor, core, link, id, &order);
        let boot = BootstrapWatcher::new(
            Mode::Optimistic,
            Platform::host().unwrap_or(Platform::X86_64),
        );
        let mut child = Child::new(id, order, boot);
        (child.open_streams, child.up) = (1, true);
        self.by_link.insert(link, child);
        if let Err(error) = reactor.watch(Source::Link(link), input.into()) {
            self.lose(reactor, core, link, Reason::Lost, &error.to_string());
            return Err(error);
        }
        reactor.attach_output(core, link, OwnedFd::from(stream));
        core.node.set_time(reactor.shared.now());
        core.node.receive(link, hello);
        Ok(())
    }
}
