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
    /// Has `act` called, on a worker, for each message that comes to a new handle of this process from those whom `policy`
    /// admits; what it returns is the answer. Messages are sent by [`Context::request`]. There is no handle without a policy.
    ///
    /// A message of one that is not an ancestor may have 1 MiB, and is to be taken for a stranger's.
    ///
    /// # Errors
    /// When the tree is shut down.
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

    /// The same at a handle that both sides know, of a number from [`Handle::FIRST_CUSTOM`] on and below 2,147,483,648.
    ///
    /// # Errors
    /// When the handle is taken or is one of the tree's own.
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
                Some(handle) if handle.is_handlers() && core.offered.get(&handle).is_none() => handle,
                Some(Handle(number)) => {
                    let (first, end) = (Handle::FIRST_CUSTOM.0, Handle::FIRST_HUB.0);
                    let detail = format!("it is taken, or not from {first} to {}", end - 1);
                    return Err(Error::System { action: format!("adding the handle {number}"), detail });
                }
            };
            let handler = Handler::new(self.node(), act);
            core.offer(handle, policy, Arc::new(handler));
            Ok(Registration::new(self.node(), handle))
        })
    }
}
