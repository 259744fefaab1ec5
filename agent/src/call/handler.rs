//! Handlers of a program: messages of any type, addressed to a handle of this process, and their
//! replies.

use crate::call::decode::read_value_from;
use crate::context::Context;
use crate::context::transfer;
use crate::runtime::extensions::locked;
use crate::runtime::handle::NodeHandle;
use crate::runtime::scope::NEVER;
use crate::runtime::scope::Scope;
use crate::runtime::state::CustomService;
use crate::runtime::state::Endpoint;
use crate::runtime::state::FlowHandler;
use crate::runtime::state::NodeState;
use crate::runtime::state::Request;
use offshoot_proto::ContextId;
use offshoot_proto::Error;
use offshoot_proto::FlowKey;
use offshoot_proto::Handle;
use offshoot_proto::Reason;
use offshoot_proto::Result;
use offshoot_proto::error::{about_value, unsent};
use offshoot_proto::flow::Longest;
use offshoot_proto::flow::longest_of;
use offshoot_proto::message::outcome::failed;
use offshoot_proto::message::outcome::value;
use offshoot_proto::node::Opening;
use offshoot_proto::routing::Origin;
use offshoot_proto::routing::Policy;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::Weak;

/// The origin of a message, as its handler gets it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MessageOrigin {
    /// The context that sent the message.
    pub from: ContextId,
    /// The context on whose behalf it was sent.
    pub auth: ContextId,
}

pub(crate) struct Handler<T, R, F> {
    /// The node, which holds the handler.
    shared: Weak<NodeHandle>,
    act: F,
    /// Messages of which only a part has arrived.
    begun: Mutex<BTreeMap<FlowKey, Begun>>,
    message: PhantomData<fn(T) -> R>,
}

struct Begun {
    request: Request,
    /// Bytes that have arrived and were not credited yet.
    owed: usize,
    /// The most bytes of the message.
    limit: usize,
}

impl<T, R, F> Handler<T, R, F>
where
    T: DeserializeOwned + Send + 'static,
    R: Serialize + 'static,
    F: Fn(&Context, MessageOrigin, T) -> R + Send + Sync + 'static,
{
    /// Returns the handler that calls `act`.
    pub(crate) fn new(shared: &Arc<NodeHandle>, act: F) -> Self {
        Self {
            shared: Arc::downgrade(shared),
            act,
            begun: Mutex::default(),
            message: PhantomData,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<FlowKey, Begun>> {
        locked(&self.begun)
    }

    /// Calls `act` on a worker for a whole message.
    fn whole(
        self: Arc<Self>,
        shared: &Arc<NodeHandle>,
        core: &mut NodeState,
        flow: FlowKey,
        mut request: Request,
    ) {
        if core.stopped {
            core.forget(flow);
            return core.node.reset(flow, Reason::ShutDown, "");
        }
        let id = core.node.id();
        let scope = Arc::new(Scope::new(Some(Arc::clone(&shared.life)), NEVER, 0));
        let here = Context::new(shared, id, core.name_of(id)).in_scope(&scope);
        core.endpoints
            .insert(flow, Endpoint::Busy(Some(Arc::clone(&scope))));
        let (node, size, until) = (Arc::clone(shared), request.bytes.len(), Arc::clone(&scope));
        let work = move || {
            let sent = MessageOrigin {
                from: flow.peer,
                auth: request.auth,
            };
            let from = (
                Origin {
                    peer: flow.peer,
                    auth: request.auth,
                },
                here.name(),
            );
            let bytes = Arc::new(std::mem::take(&mut request.bytes));
            let act = || match transfer::decode_incoming(&here, from, &bytes, 0) {
                Ok(message) => value(&(self.act)(&here, sent, message)),
                Err(error) => {
                    let of = std::any::type_name::<T>();
                    failed(&about_value(error, "a message of type ", of))
                }
            };
            let perform = || match scope.refusal(here.name()) {
                Some(error) => failed(&error),
                None => crate::call::contained::contained(here.name(), act),
            };
            let (reply, callbacks) = transfer::encode_reply(flow.peer, perform);
            scope.end(crate::runtime::scope::CallState::Finished);
            let to = crate::call::answer::Answer::Flow(flow);
            if !node.with(|core| crate::call::answer::deliver(&node, core, to, reply)) {
                transfer::abandon(callbacks);
            }
        };
        // The scope removes a cancelled message from the queue.
        if !shared
            .workers
            .hire(&shared.waker)
            .run(Some(&until), size, Box::new(work))
        {
            core.node.reset(
                flow,
                Reason::QueueFull,
                "too many calls wait for their turn there",
            );
            core.forget(flow);
        }
    }

    /// Handles a part of a message that has arrived.
    fn look(self: &Arc<Self>, core: &mut NodeState, flow: FlowKey, end: bool) {
        let mut begun = self.lock();
        let Some(theirs) = begun.get(&flow) else {
            return;
        };
        let offered = core.offered.get(&theirs.request.service).is_some();
        if !offered || theirs.request.bytes.len() > theirs.limit {
            begun.remove(&flow);
            match offered {
                true => core.node.reset(flow, Reason::TooLarge, "the request"),
                false => core
                    .node
                    .reset(flow, Reason::NoHandle, "the service was withdrawn"),
            }
            core.forget(flow);
        } else if end && let Some(theirs) = begun.remove(&flow) {
            core.node
                .take(flow, theirs.owed, theirs.request.bytes.len());
            Self::pay(core, &mut begun);
            drop(begun);
            // The broker that delivers the message holds the node.
            if let Some(shared) = self.shared.upgrade() {
                Arc::clone(self).whole(&shared, core, flow, theirs.request);
            }
            return;
        }
        Self::pay(core, &mut begun);
    }

    /// Gives credit to the messages that may grow.
    fn pay(core: &mut NodeState, begun: &mut BTreeMap<FlowKey, Begun>) {
        let longest = Longest::of(
            begun
                .iter()
                .map(|(flow, begun)| (*flow, begun.request.bytes.len())),
        );
        for (flow, begun) in begun {
            if begun.owed > 0 && longest.lets(*flow, begun.request.bytes.len()) {
                core.node.take(
                    *flow,
                    std::mem::take(&mut begun.owed),
                    begun.request.bytes.len(),
                );
            }
        }
    }
}

impl<T, R, F> CustomService for Handler<T, R, F>
where
    T: DeserializeOwned + Send + 'static,
    R: Serialize + 'static,
    F: Fn(&Context, MessageOrigin, T) -> R + Send + Sync + 'static,
{
    fn opened(self: Arc<Self>, core: &mut NodeState, flow: FlowKey, request: Request, end: bool) {
        let obeyed = core
            .node
            .permits(Policy::Ancestors, flow.peer, request.auth);
        let limit = longest_of(obeyed);
        let owed = request.bytes.len();
        core.endpoints.insert(
            flow,
            Endpoint::Handler(Arc::new(Gathering(Arc::clone(&self))) as _),
        );
        self.lock().insert(
            flow,
            Begun {
                request,
                owed,
                limit,
            },
        );
        self.look(core, flow, end);
    }
}

/// A handler as the receiver of the rest of a message.
struct Gathering<T, R, F>(Arc<Handler<T, R, F>>);

impl<T, R, F> FlowHandler for Gathering<T, R, F>
where
    T: DeserializeOwned + Send + 'static,
    R: Serialize + 'static,
    F: Fn(&Context, MessageOrigin, T) -> R + Send + Sync + 'static,
{
    fn data(&self, core: &mut NodeState, flow: FlowKey, bytes: Vec<u8>, end: bool) {
        if let Some(begun) = self.0.lock().get_mut(&flow) {
            begun.request.bytes.extend_from_slice(&bytes);
            begun.owed += bytes.len();
        }
        core.node.reuse(flow, bytes);
        self.0.look(core, flow, end);
    }

    fn closed(&self, core: &mut NodeState, flow: FlowKey, _: &Error) {
        let mut begun = self.0.lock();
        begun.remove(&flow);
        Handler::<T, R, F>::pay(core, &mut begun);
    }
}

/// A handle that a program has added. Dropping it removes the handle; messages that are being
/// handled still get their replies.
#[derive(Debug)]
#[must_use = "dropping it removes the handle"]
pub struct Registration {
    shared: Weak<NodeHandle>,
    handle: Handle,
}

impl Registration {
    pub(crate) fn new(shared: &Arc<NodeHandle>, handle: Handle) -> Self {
        Self {
            shared: Arc::downgrade(shared),
            handle,
        }
    }

    /// Returns the handle, by which other contexts send messages. It can be sent to them.
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

impl Context {
    /// Sends a message to a handle of the context, added by
    /// [`Router::add_handler`](crate::Router::add_handler), and waits for the reply.
    ///
    /// # Errors
    /// Returns an error if there is no such handle, this context may not use it, or the reply is
    /// not an `R`. A number that no handler can have is refused here: it may come from a peer that
    /// wants the message to reach a service of the tree itself.
    pub fn request<T: Serialize, R: DeserializeOwned>(
        &self,
        handle: Handle,
        message: &T,
    ) -> Result<R> {
        if !handle.is_handlers() {
            return Err(Error::Undelivered {
                context: self.name().into(),
                reason: Reason::NoHandle,
                detail: format!("no handler can have the number {}", handle.0),
            });
        }
        let leaving =
            transfer::encode_outgoing(Vec::new(), message, (self.id(), true)).map_err(|error| {
                let error = unsent(self.name(), error);
                about_value(error, "a message of type ", std::any::type_name::<T>())
            })?;
        let opening = Opening {
            secret: leaving.secret,
            ..Opening::default()
        };
        let (_, slot) = match self.ask(self.id(), handle, leaving.message, opening, |_, _| {}) {
            Ok(sent) => sent,
            Err(error) => {
                transfer::abandon(leaving.callbacks);
                return Err(error);
            }
        };
        slot.carry(leaving.callbacks);
        let reply = slot.wait(None).unwrap_or(Err(Error::ShutDown));
        let reply = reply.map_err(|error| error.naming(self.name()))?;
        read_value_from(self, &reply)
    }
}
