//! A context that is being connected, and its waiters.

use crate::context::Context;
use crate::hop::prompts::{Answer, Prompts, answer_prompts};
use crate::runtime::latch::Latch;
use crate::runtime::slot::ReplySlot;
use offshoot_proto::Error;
use offshoot_proto::Result;
use offshoot_proto::connect::recipe::Recipe;
use offshoot_proto::message::connect::ConnectRequest;
use offshoot_proto::message::handshake::Connected;
use offshoot_proto::message::outcome::read_value;
use offshoot_proto::node::Opening;
use offshoot_proto::{ContextId, Handle};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

impl Context {
    pub(crate) fn open_recipe(
        &self,
        recipe: Recipe,
        name: &str,
        title: Option<String>,
        heartbeat: u32,
        answer: Option<Answer>,
    ) -> Result<Connecting> {
        let name: Arc<str> = self.name_below(name).into();
        recipe.check(&name, title.as_deref())?;
        let prompts = answer.map(|answer| answer_prompts(self, &name, &recipe.hop, answer));
        let prompts = prompts.transpose()?;
        let id = self.allocate()?;
        let announce = self.node().lock().node.id() != ContextId::ROOT;
        let order = ConnectRequest {
            name: name.to_string(),
            title,
            recipe,
            announce,
            heartbeat,
            prompts: prompts.as_ref().map_or(Handle::NONE, Prompts::handle),
        };
        let request = offshoot_codec::to_bytes(&order)
            .map_err(|error| offshoot_proto::error::unsent(&name, error))?;
        let opening = Opening {
            new_context: Some(id),
            secret: true,
            ..Opening::default()
        };
        let (_, slot) = self.ask(self.id(), Handle::CONNECT, request, opening, |core, _| {
            core.names.insert(id, Arc::clone(&name));
        })?;
        Ok(Connecting::new(self.child(id, name), slot, prompts))
    }
}

/// A context that is being connected. Clones wait for the same attempt.
#[derive(Clone)]
pub struct Connecting {
    pub(crate) context: Context,
    pub(crate) outcome: Arc<Latch<Result<()>>>,
}

impl Connecting {
    /// `slot` receives the reply of the parent. Until then, `prompts` are answered.
    pub(crate) fn new(context: Context, slot: Arc<ReplySlot>, prompts: Option<Prompts>) -> Self {
        let outcome = Arc::new(Latch::default());
        let (there, latch) = (context.clone().unscoped(), Arc::clone(&outcome));
        let arrived = Arc::clone(&slot);
        slot.on_arrival(move || {
            let reply = arrived.take().unwrap_or(Err(Error::ShutDown));
            let reply = reply.map_err(|error| match error {
                // The caller waited for this context, so the error names it, and not the parent.
                Error::TimedOut { after_ms, .. } => Error::TimedOut {
                    context: there.name().into(),
                    after_ms,
                },
                error => error,
            });
            let connected = reply.and_then(|reply| read_value::<Connected>(there.name(), &reply));
            // The parent may have put its own name into the error.
            let connected = connected.map_err(|error| match error {
                Error::Connect(_) => error.naming(there.name()),
                error => error,
            });
            let connected = connected.map_err(|error| match prompts {
                Some(prompts) => prompts.explain(error),
                None => error,
            });
            latch.set(connected.and_then(|connected| {
                let agreed = crate::call::signatures::compare(
                    there.node(),
                    there.name(),
                    &connected.functions,
                );
                if agreed.is_err() {
                    there.request_shutdown();
                }
                agreed
            }));
        });
        Self { context, outcome }
    }

    /// Returns the context. It can be used before the hop has succeeded.
    #[must_use]
    pub fn context(&self) -> Context {
        self.context.clone()
    }

    /// Waits until the context is connected.
    ///
    /// # Errors
    /// Returns an error as [`Hop::connect`](crate::hop::Hop::connect) does.
    pub fn wait(self) -> Result<Context> {
        self.outcome.wait().map(|()| self.context)
    }

    /// Waits until the context is connected, at most for `timeout`. The attempt continues after
    /// that and can be waited for again.
    ///
    /// # Errors
    /// Returns an error as [`Hop::connect`](crate::hop::Hop::connect) does, and [`Error::TimedOut`]
    /// if the time is over.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Context> {
        let after_ms = timeout.as_millis() as u64;
        let late = || {
            Err(Error::TimedOut {
                context: self.context.name().into(),
                after_ms,
            })
        };
        self.outcome
            .wait_timeout(timeout)
            .unwrap_or_else(late)
            .map(|()| self.context())
    }

    /// Calls `notify` once the context is connected or has failed, at once if that was before. It
    /// runs on the thread that receives the reply, so it must not block.
    pub fn on_arrival(&self, notify: impl FnOnce() + Send + 'static) {
        self.outcome.then(|_| notify());
    }
}

impl Future for Connecting {
    type Output = Result<Context>;
    fn poll(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        self.outcome
            .poll(cx.waker())
            .map(|outcome| outcome.map(|()| self.context()))
    }
}
