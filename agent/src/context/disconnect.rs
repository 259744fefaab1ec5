//! The end of a context, as other contexts see it: shut down or lost.

use crate::context::Context;
use crate::context::reused::ReusedContexts;
use crate::runtime::extensions::locked;
use crate::runtime::handle::NodeHandle;
use crate::runtime::latch::Latch;
use crate::runtime::slot::ReplySlot;
use crate::runtime::state::Endpoint;
use offshoot_proto::ContextId;
use offshoot_proto::DeadLetter;
use offshoot_proto::Error;
use offshoot_proto::FlowKey;
use offshoot_proto::Handle;
use offshoot_proto::Reason;
use offshoot_proto::Result;
use offshoot_proto::message::outcome::read_value;
use offshoot_proto::node::Opening;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::Weak;
use std::task::Poll;
use std::time::Duration;

/// The longest that [`Context::shutdown`] waits.
pub(crate) const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(10);

/// The reason why a context is gone.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct DisconnectReason {
    /// The kind of the reason.
    pub reason: Reason,
    /// The details, or an empty text.
    pub detail: String,
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.detail.as_str() {
            "" => self.reason.fmt(f),
            detail => write!(f, "{}: {detail}", self.reason),
        }
    }
}

impl DisconnectReason {
    fn of(error: Error) -> Self {
        match error {
            Error::Undelivered { reason, detail, .. } => Self { reason, detail },
            error => Self {
                reason: Reason::ShutDown,
                detail: error.to_string(),
            },
        }
    }
}

/// The future end of a context; see [`Context::disconnected`]. Dropping it only ends the wait.
pub struct Disconnection {
    context: Context,
    watch: Arc<Watch>,
    kept: bool,
}

/// One wait. It is part of the node, so it must not hold the node.
struct Watch {
    id: ContextId,
    shared: Weak<NodeHandle>,
    flow: Mutex<Option<FlowKey>>,
    departure: Latch<DisconnectReason>,
}

impl Watch {
    fn flow(&self) -> MutexGuard<'_, Option<FlowKey>> {
        locked(&self.flow)
    }

    /// Starts to wait for the end of the context. Returns the reason if it is gone already.
    fn begin(self: &Arc<Self>, shared: &NodeHandle) -> Option<Error> {
        let mut core = shared.lock();
        if core.stopped {
            return Some(Error::ShutDown);
        }
        if core.node.router.link_down(self.id).is_none() && self.id != core.node.id() {
            let why = core.node.router.lost.why(self.id);
            let (reason, text) = why.map_or((Reason::NoRoute, ""), |(reason, text)| (reason, text));
            let letter = DeadLetter {
                reason,
                by: core.node.id(),
                text: text.into(),
            };
            return Some(letter.into_error(&core.name_of(self.id), ""));
        }
        let slot = ReplySlot::new(None);
        let flow = core.node.watch(self.id);
        core.endpoints
            .insert(flow, Endpoint::Reply(Arc::clone(&slot)));
        *self.flow() = Some(flow);
        drop(core);
        let (watch, arrived) = (Arc::clone(self), Arc::clone(&slot));
        slot.on_arrival(move || {
            let told = arrived
                .wait(Some(Duration::ZERO))
                .unwrap_or(Err(Error::ShutDown));
            // A context may end the flow itself: only the node knows whether the context is gone.
            let shared = watch.shared.upgrade();
            let gone = shared.map_or(Some(Error::ShutDown), |shared| watch.begin(&shared));
            if let Some(known) = gone {
                watch
                    .departure
                    .set(DisconnectReason::of(told.err().unwrap_or(known)));
            }
        });
        None
    }
}

impl Disconnection {
    /// Waits until the context is gone, and returns the reason.
    #[must_use]
    pub fn wait(&self) -> DisconnectReason {
        self.watch.departure.wait()
    }

    /// Waits until the context is gone, at most for `timeout`. Returns none if it is still there.
    #[must_use]
    pub fn wait_timeout(&self, timeout: Duration) -> Option<DisconnectReason> {
        self.watch.departure.wait_timeout(timeout)
    }

    /// Returns the context.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Calls `notify` when the context is gone, at once if it is gone already. The thread that
    /// calls it is one of the tree and must not be blocked. `notify` is called even if all other
    /// references to the context were dropped.
    pub fn on_arrival(mut self, notify: impl FnOnce(DisconnectReason) + Send + 'static) {
        self.kept = true;
        self.watch.departure.then(notify);
    }
}

impl Future for Disconnection {
    type Output = DisconnectReason;
    fn poll(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<DisconnectReason> {
        self.watch.departure.poll(cx.waker())
    }
}

impl Drop for Disconnection {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let mut core = self.context.node().lock();
        let endpoint = self.watch.flow().take().and_then(|flow| {
            core.node.unwatch(flow);
            core.forget(flow)
        });
        drop((core, endpoint));
    }
}

/// A context that is being shut down; see [`Context::start_shutdown`]. As a `Future` it has no time
/// limit.
pub struct ShuttingDown {
    context: Context,
    flow: FlowKey,
    slot: Arc<ReplySlot>,
}

impl ShuttingDown {
    /// Waits until the context is gone, at most for `timeout`.
    ///
    /// # Errors
    /// Returns an error if the parent of the context refuses the request, and [`Error::TimedOut`]
    /// after `timeout`.
    pub fn wait_timeout(self, timeout: Duration) -> Result<()> {
        match self.slot.wait(Some(timeout)) {
            Some(reply) => self.outcome(reply),
            None => Err(Error::TimedOut {
                context: self.context.name().into(),
                after_ms: timeout.as_millis() as u64,
            }),
        }
    }

    fn outcome(&self, reply: Result<Vec<u8>>) -> Result<()> {
        let name = self.context.name();
        match reply {
            Ok(reply) => read_value(name, &reply),
            // The context ended with its parent.
            Err(
                Error::Undelivered {
                    reason: Reason::NoRoute | Reason::Lost | Reason::ShutDown,
                    ..
                }
                | Error::ShutDown,
            ) => Ok(()),
            Err(error) => Err(error.naming(name)),
        }
    }
}

impl Future for ShuttingDown {
    type Output = Result<()>;
    fn poll(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Result<()>> {
        self.slot.poll(cx.waker()).map(|reply| self.outcome(reply))
    }
}

impl Drop for ShuttingDown {
    fn drop(&mut self) {
        let flow = self.flow;
        // Does nothing if the reply has arrived.
        self.context.node().with(|core| {
            if core.forget(flow).is_some() {
                core.node
                    .reset(flow, Reason::Cancelled, "its caller does not wait any more");
            }
        });
    }
}

impl Context {
    /// Returns the future end of this context, with the reason: lost, shut down by any context, or
    /// never connected. For a context that is gone already it is ready at once. Every context is
    /// gone when the router ends.
    ///
    /// # Errors
    /// Returns an error for contexts that are not below this process, which is not told of their
    /// end. The context of this process itself is gone when the router has ended.
    pub fn disconnected(&self) -> Result<Disconnection> {
        let watch = Arc::new(Watch {
            id: self.id(),
            shared: Arc::downgrade(self.node()),
            flow: Mutex::new(None),
            departure: Latch::default(),
        });
        match watch.begin(self.node()) {
            Some(Error::Undelivered {
                reason: Reason::NoRoute,
                ..
            }) => {
                return Err(Error::System {
                    action: format!("waiting for the end of {}", self.name()),
                    detail:
                        "it is not below this process, which does not learn of its end: wait in the process that started it"
                            .into(),
                });
            }
            Some(error) => watch.departure.set(DisconnectReason::of(error)),
            None => {}
        }
        Ok(Disconnection {
            context: self.clone(),
            watch,
            kept: false,
        })
    }

    /// Shuts down the context and everything below it: its functions are cancelled, and its
    /// programs end unless they are detached. Returns when the context is gone. A context that is
    /// gone already is no error. The context of this process cannot be shut down this way.
    ///
    /// # Errors
    /// Returns an error if the request cannot be sent or the parent of the context refuses it, and
    /// [`Error::TimedOut`] after ten seconds.
    pub fn shutdown(&self) -> Result<()> {
        self.shutdown_within(SHUTDOWN_PATIENCE)
    }

    /// Shuts down the context and waits at most for `timeout`. After a timeout the shutdown
    /// continues.
    ///
    /// # Errors
    /// Returns an error as [`Context::shutdown`] does.
    pub fn shutdown_within(&self, timeout: Duration) -> Result<()> {
        self.start_shutdown()?.wait_timeout(timeout)
    }

    /// Starts to shut down the context, as [`Context::shutdown`] does, and returns at once. The
    /// shutdown goes on if the returned value is dropped.
    ///
    /// # Errors
    /// Returns an error if the request cannot be sent.
    pub fn start_shutdown(&self) -> Result<ShuttingDown> {
        let Some(parent) = self.parent() else {
            let detail = match self.own() == *self {
                true => "it is this process",
                false => {
                    "which context started it is not known here: end it by the context that connect gave"
                }
            };
            return Err(Error::System {
                action: format!("ending {}", self.name()),
                detail: detail.into(),
            });
        };
        // Here and not in the broker: a caller that connects the context again holds this lock.
        ReusedContexts::of(self.node()).forget(self.id());
        let (flow, slot) = self.send_disconnect(parent)?;
        Ok(ShuttingDown {
            context: self.clone(),
            flow,
            slot,
        })
    }

    /// Requests the shutdown of the context without waiting for it.
    pub(crate) fn request_shutdown(&self) {
        if let Some(parent) = self.parent() {
            // If the request cannot be sent, the tree has ended.
            let _ = self.send_disconnect(parent);
        }
    }

    fn send_disconnect(&self, parent: ContextId) -> Result<(FlowKey, Arc<ReplySlot>)> {
        let request = offshoot_codec::own(&self.id());
        self.node().request(
            parent,
            Handle::DISCONNECT,
            request,
            Opening::default(),
            |_, _| {},
        )
    }
}
