//! The reply to a call: waited for by blocking, with a timeout, or as a `Future` under any
//! executor.

use crate::call::chain_replies::ChainFlow;
use crate::call::decode::read_reply;
use crate::call::function::Remote;
use crate::context::Context;
use crate::runtime::scope::CallState;
use crate::runtime::scope::NEVER;
use crate::runtime::slot::ReplySlot;
use offshoot_proto::CallError;
use offshoot_proto::Error;
use offshoot_proto::FlowKey;
use offshoot_proto::Reason;
use offshoot_proto::Result;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::task::Waker;
use std::time::Duration;

/// The route of a reply.
pub(crate) enum Route {
    /// The reply is here already.
    None,
    /// On a flow of its own.
    Flow(FlowKey),
    /// On the flow of its chain, with this number.
    Chain(Arc<ChainFlow>, u32),
}

/// The future reply to a call. Dropping it cancels the call, except a call of a chain, which
/// continues.
#[must_use = "dropping the reply cancels the call, unless it is part of a chain; `cast` starts a call that continues"]
pub struct Reply<F: Remote> {
    context: Context,
    route: Route,
    slot: Arc<ReplySlot>,
    done: bool,
    function: PhantomData<fn() -> F>,
}

impl<F: Remote> Reply<F> {
    pub(crate) fn new(context: Context, route: Route, slot: Arc<ReplySlot>) -> Self {
        Self {
            context,
            route,
            slot,
            done: false,
            function: PhantomData,
        }
    }

    /// Waits for the reply.
    ///
    /// # Errors
    /// Returns an error as [`Context::call`] does.
    pub fn wait(mut self) -> Result<F::Value, CallError<F::Error>> {
        let reply = self
            .slot
            .wait(self.time_left())
            .unwrap_or_else(|| Err(self.late()));
        self.finish(reply)
    }

    /// Waits for the reply, at most for `timeout`. After a timeout the call continues, and the
    /// reply can be waited for again.
    ///
    /// # Errors
    /// Returns an error as [`Context::call`] does, and [`Error::TimedOut`] after `timeout`.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<F::Value, CallError<F::Error>> {
        let left = self.time_left().filter(|left| *left <= timeout);
        match self.slot.wait(Some(left.unwrap_or(timeout))) {
            Some(reply) => self.finish(reply),
            None if left.is_some() => {
                let late = Err(self.late());
                self.finish(late)
            }
            None => {
                let after_ms = timeout.as_millis() as u64;
                Err(CallError::Failed(Error::TimedOut {
                    context: self.context.name().into(),
                    after_ms,
                }))
            }
        }
    }

    /// Cancels the call. A function that has not begun does not run. A running function is not
    /// interrupted: [`Context::check`] tells it that it was cancelled, and everything that it has
    /// started through its own context ends, in any context.
    pub fn cancel(self) {
        if let Route::Chain(chain, number) = &self.route {
            chain.cancel(*number);
            self.slot.give_up(self.context.name());
        }
    }

    /// Returns the context that was called.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Returns true if the reply has arrived and was not taken, so that waiting for it takes no
    /// time.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.slot.is_filled()
    }

    /// Calls `notify` when the reply arrives, at once if it is here. The thread that calls it is
    /// one of the tree and must not be blocked. A later `notify` replaces an earlier one.
    pub fn on_arrival(&self, notify: impl FnOnce() + Send + 'static) {
        self.slot.on_arrival(notify);
    }

    /// Returns the time left for a call of a chain; the broker ends all other calls at their
    /// deadline.
    fn time_left(&self) -> Option<Duration> {
        let Route::Chain(..) = &self.route else {
            return None;
        };
        let (due, _) = self.context.scope()?.deadline();
        (due != NEVER).then(|| Duration::from_millis(due.saturating_sub(self.context.node().now())))
    }

    fn late(&self) -> Error {
        match self.context.scope() {
            Some(scope) => scope.error(self.context.name(), CallState::TimedOut),
            None => Error::ShutDown,
        }
    }

    fn finish(&mut self, reply: Result<Vec<u8>>) -> Result<F::Value, CallError<F::Error>> {
        self.done = true;
        let reply = reply.map_err(|error| error.naming(self.context.name()))?;
        read_reply::<F>(&self.context, reply)
    }
}

impl<F: Remote> Future for Reply<F> {
    type Output = Result<F::Value, CallError<F::Error>>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        let waker: &Waker = cx.waker();
        match self.slot.poll(waker) {
            Poll::Ready(reply) => Poll::Ready(self.finish(reply)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<F: Remote> Drop for Reply<F> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        if let Route::Flow(flow) = self.route {
            // A reply that is dropped must leave nothing behind in the node.
            self.slot.give_up(self.context.name());
            let nothing_came = self.context.node().with(|core| {
                core.node
                    .reset(flow, Reason::Cancelled, "its caller does not wait any more");
                core.forget(flow).is_some()
            });
            if nothing_came {
                return;
            }
        }
        // A reply that has arrived, or arrives over a chain, may hold ends of streams and senders:
        // decoding and dropping it closes them.
        let (context, slot) = (self.context.clone(), Arc::clone(&self.slot));
        self.slot.on_arrival(move || {
            if let Some(Ok(reply)) = slot.take() {
                drop(read_reply::<F>(&context, reply));
            }
        });
    }
}
