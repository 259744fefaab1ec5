//! Handlers that a program adds at its own part of the tree.

use crate::call::handler::{Handler, MessageOrigin, Registration};
use crate::context::Context;
use crate::router::Router;
use offshoot_proto::routing::Policy;
use offshoot_proto::{Error, Handle, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

impl Router {
    /// Calls `act` on a worker for each message to a new handle of this process, from contexts that
    /// `policy` admits. The value that `act` returns is the reply. Other contexts send messages
    /// with [`Context::request`]. Every handle has a policy.
    ///
    /// A message from a context that is not an ancestor has at most 1 MiB, and must not be trusted.
    ///
    /// # Errors
    /// Returns an error if the tree is shut down.
    pub fn add_handler<T, R>(
        &self,
        policy: Policy,
        act: impl Fn(&Context, MessageOrigin, T) -> R + Send + Sync + 'static,
    ) -> Result<Registration>
    where
        T: DeserializeOwned + Send + 'static,
        R: Serialize + 'static,
    {
        self.add(None, policy, act)
    }

    /// Adds a handler at a handle that both sides know, with a number from [`Handle::FIRST_CUSTOM`]
    /// to 2,147,483,647.
    ///
    /// # Errors
    /// Returns an error if the handle is taken or reserved for the tree.
    pub fn add_handler_at<T, R>(
        &self,
        handle: Handle,
        policy: Policy,
        act: impl Fn(&Context, MessageOrigin, T) -> R + Send + Sync + 'static,
    ) -> Result<Registration>
    where
        T: DeserializeOwned + Send + 'static,
        R: Serialize + 'static,
    {
        self.add(Some(handle), policy, act)
    }

    fn add<T, R>(
        &self,
        handle: Option<Handle>,
        policy: Policy,
        act: impl Fn(&Context, MessageOrigin, T) -> R + Send + Sync + 'static,
    ) -> Result<Registration>
    where
        T: DeserializeOwned + Send + 'static,
        R: Serialize + 'static,
    {
        self.node().with(|core| {
            if core.stopped {
                return Err(Error::ShutDown);
            }
            let handle = match handle {
                None => Handle(core.new_number(Handle::NONE)),
                Some(handle) if handle.is_handlers() && core.offered.get(&handle).is_none() => {
                    handle
                }
                Some(Handle(number)) => {
                    let (first, end) = (Handle::FIRST_CUSTOM.0, Handle::FIRST_HUB.0);
                    let detail = format!("it is taken, or not from {first} to {}", end - 1);
                    return Err(Error::System {
                        action: format!("adding the handle {number}"),
                        detail,
                    });
                }
            };
            let handler = Handler::new(self.node(), act);
            core.offer(handle, policy, Arc::new(handler));
            Ok(Registration::new(self.node(), handle))
        })
    }
}
