//! Handles of a program's own: messages of any type that come to a number in this process, and what they are answered with.

use crate::context::Context;
use crate::error::{Error, Result, codec_error};
use crate::id::{ContextId, FlowKey, Handle};
use crate::node::Opening;
use crate::remote::{failed, read_value, value};
use crate::router::Policy;
use crate::scope::{NEVER, Scope};
use crate::shared::{Core, Endpoint, Offered, Request, Shared};
use crate::travel;
use crate::tree::Router;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::sync::{Arc, Weak};

/// Who has sent a message, to whom it is given.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The context that has sent it.
    pub from: ContextId,
    /// The context on whose behalf.
    pub auth: ContextId,
}

struct Handler<T, R, F> {
    act: F,
    message: PhantomData<fn(T) -> R>,
}

impl<T, R, F> Offered for Handler<T, R, F>
where
    T: DeserializeOwned + Send + 'static,
    R: Serialize + 'static,
    F: Fn(&Context, Sent, T) -> R + Send + Sync + 'static,
{
    fn opened(
        self: Arc<Self>,
        shared: &Arc<Shared>,
        core: &mut Core,
        flow: FlowKey,
        mut request: Request,
        _: bool,
    ) {
        let id = core.node.id();
        let scope = Arc::new(Scope::new(None, NEVER, 0));
        let here = Context::new(shared, id, core.name_of(id)).in_scope(&scope);
        core.endpoints.insert(flow, Endpoint::Busy(Some(Arc::clone(&scope))));
        let (node, size) = (Arc::clone(shared), request.bytes.len());
        let work = move || {
            let sent = Sent { from: flow.peer, auth: request.auth };
            let act = || match travel::arrive(&here, &Arc::new(std::mem::take(&mut request.bytes)), 0) {
                Ok(message) => value(&(self.act)(&here, sent, message)),
                Err(error) => failed(&codec_error(here.name(), error)),
            };
            let perform = || match scope.refusal(here.name()) {
                Some(error) => failed(&error),
                None => crate::broker::contained(here.name(), act),
            };
            let (reply, fares) = travel::reply(perform);
            scope.end(crate::scope::Stand::Over);
            let to = crate::broker::Answer::Flow(flow);
            if !node.with(|core| crate::broker::deliver(&node, core, to, reply)) {
                travel::stay(fares);
            }
        };
        if !shared.workers.run(None, size, Box::new(work)) {
            core.node.reset(
                flow,
                crate::error::Reason::QueueFull,
                "too many calls wait for their turn there",
            );
            core.forget(flow);
        }
    }
}

/// A handle that a program has added. Dropping it takes the handle away.
#[derive(Debug)]
#[must_use = "dropping it takes the handle away"]
pub struct Registration {
    shared: Weak<Shared>,
    handle: Handle,
}

impl Registration {
    /// The number, by which others send to it. It may travel.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.with(|core| core.withdraw(self.handle));
        }
    }
}

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
        act: impl Fn(&Context, Sent, T) -> R + Send + Sync + 'static,
    ) -> Result<Registration>
    where
        T: DeserializeOwned + Send + 'static,
        R: Serialize + 'static,
    {
        self.add(None, policy, act)
    }

    /// The same at a handle that both sides know, of a number from [`Handle::FIRST_CUSTOM`] on.
    ///
    /// # Errors
    /// When the handle is taken or is one of the tree's own.
    pub fn add_handler_at<T, R>(
        &self,
        handle: Handle,
        policy: Policy,
        act: impl Fn(&Context, Sent, T) -> R + Send + Sync + 'static,
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
        act: impl Fn(&Context, Sent, T) -> R + Send + Sync + 'static,
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
                None => core.new_handle(),
                Some(handle) if handle >= Handle::FIRST_CUSTOM && core.offered.get(&handle).is_none() => {
                    handle
                }
                Some(Handle(number)) => {
                    let detail = format!("it is taken, or below {}", Handle::FIRST_CUSTOM.0);
                    return Err(Error::System { action: format!("adding the handle {number}"), detail });
                }
            };
            core.offer(handle, policy, Arc::new(Handler { act, message: PhantomData }));
            Ok(Registration { shared: Arc::downgrade(self.node()), handle })
        })
    }
}

impl Context {
    /// Sends a message to a handle of that context that was added by [`Router::add_handler`], and waits for the answer.
    ///
    /// # Errors
    /// When there is no such handle, it is not for this context, or the answer is none of type `R`.
    pub fn request<T: Serialize, R: DeserializeOwned>(&self, handle: Handle, message: &T) -> Result<R> {
        let leaving = travel::leave(Vec::new(), message).map_err(|error| codec_error(self.name(), error))?;
        let opening = Opening { secret: leaving.secret, ..Opening::default() };
        let (_, slot) = match self.ask(self.id(), handle, leaving.message, opening, |_, _| {}) {
            Ok(sent) => sent,
            Err(error) => {
                travel::stay(leaving.fares);
                return Err(error);
            }
        };
        slot.carry(leaving.fares);
        let reply = slot.wait(None).unwrap_or(Err(Error::ShutDown));
        let reply = reply.map_err(|error| error.naming(self.name()))?;
        travel::arriving(self, || read_value(self.name(), &reply))
    }
}
