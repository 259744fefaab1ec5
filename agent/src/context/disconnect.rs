//! The end of a context as others see it: ended by order, or lost, and who is told.

use crate::context::Context;
use crate::context::reused::ReusedContexts;
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
use std::sync::PoisonError;
use std::sync::Weak;
use std::task::Poll;
use std::time::Duration;

/// How long [`Context::shutdown`] waits.
pub const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(10);

/// Why a context is gone.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct DisconnectReason {
    /// What happened to it.
    pub reason: Reason,
    /// The particulars.
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
    fn of(error: Error) -> DisconnectReason {
        match error {
            Error::Undelivered { reason, detail, .. } => DisconnectReason { reason, detail },
            error => DisconnectReason { reason: Reason::ShutDown, detail: error.to_string() },
        }
    }
}

/// The end of a context that may be still to come; see [`Context::disconnected`]. Dropping it ends nothing but the wait.
pub struct Disconnection {
    context: Context,
    watch: Arc<Watch>,
    kept: bool,
}

/// One wait. Nothing here holds the node: it is part of that.
struct Watch {
    id: ContextId,
    shared: Weak<NodeHandle>,
    flow: Mutex<Option<FlowKey>>,
    departure: Latch<DisconnectReason>,
}

impl Watch {
    fn flow(&self) -> MutexGuard<'_, Option<FlowKey>> {
        self.flow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the context that this is about; where it is gone, gives what is known of that.
    fn begin(self: &Arc<Self>, shared: &NodeHandle) -> Option<Error> {
        let mut core = shared.lock();
        if core.stopped {
            return Some(Error::ShutDown);
        }
        if core.node.router.link_down(self.id).is_none() && self.id != core.node.id() {
            let why = core.node.router.lost.why(self.id);
            let (reason, text) = why.map_or((Reason::NoRoute, ""), |(reason, text)| (reason, text));
            let letter = DeadLetter { reason, by: core.node.id(), text: text.into() };
            return Some(letter.into_error(&core.name_of(self.id), &core.name_of(core.node.id())));
        }
        let slot = ReplySlot::new(None);
        let flow = core.node.watch(self.id);
        core.endpoints.insert(flow, Endpoint::Reply(Arc::clone(&slot)));
        *self.flow() = Some(flow);
        drop(core);
        let (watch, arrived) = (Arc::clone(self), Arc::clone(&slot));
        slot.on_arrival(move || {
            let told = arrived.wait(Some(Duration::ZERO)).unwrap_or(Err(Error::ShutDown));
            // Only the node knows that a context is gone: what the context itself says to end the flow is not the end of it.
            let shared = watch.shared.upgrade();
            let gone = shared.map_or(Some(Error::ShutDown), |shared| watch.begin(&shared));
            if let Some(known) = gone {
                watch.departure.set(DisconnectReason::of(told.err().unwrap_or(known)));
            }
        });
        None
    }
}

impl Disconnection {
    /// Waits until the context is gone, and says why.
    #[must_use]
    pub fn wait(&self) -> DisconnectReason {
        self.watch.departure.wait()
    }

    /// The same, but not longer than `timeout`; none when the time is up.
    #[must_use]
    pub fn wait_timeout(&self, timeout: Duration) -> Option<DisconnectReason> {
        self.watch.departure.wait_timeout(timeout)
    }

    /// The context this is about.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Has `notify` called when the context is gone, at once if it is: on whatever thread found out, which must not be held
    /// up. This is called even if nobody holds the context any more.
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

impl Context {
    /// What says when this context is gone, and why: lost, ended on purpose by whoever, never connected. A context that is gone
    /// already says so at once, and every one does when the router ends.
    ///
    /// # Errors
    /// For contexts that are neither below this process nor its own, for it is not told of them. Its own is gone when the router
    /// has ended.
    pub fn disconnected(&self) -> Result<Disconnection> {
        let watch = Arc::new(Watch {
            id: self.id(),
            shared: Arc::downgrade(self.node()),
            flow: Mutex::new(None),
            departure: Latch::default(),
        });
        match watch.begin(self.node()) {
            Some(Error::Undelivered { reason: Reason::NoRoute, .. }) => {
                return Err(Error::System {
                    action: format!("waiting for the end of {}", self.name()),
                    detail:
                        "it is not below this process, which is not told of that: wait where it was started"
                            .into(),
                });
            }
            Some(error) => watch.departure.set(DisconnectReason::of(error)),
            None => {}
        }
        Ok(Disconnection { context: self.clone(), watch, kept: false })
    }

    /// Ends the context with everything below it, and returns when it is gone. A context that is gone already, by
    /// itself or with its parent, is no error. The place where this program runs cannot be ended this way.
    ///
    /// # Errors
    /// When the order cannot be sent or its parent refuses it; [`Error::TimedOut`] after ten seconds.
    pub fn shutdown(&self) -> Result<()> {
        self.shutdown_within(SHUTDOWN_PATIENCE)
    }

    /// The same with another bound. The order stands when the time is up.
    ///
    /// # Errors
    /// As [`Context::shutdown`].
    pub fn shutdown_within(&self, timeout: Duration) -> Result<()> {
        let Some(parent) = self.parent() else {
            let detail = match self.own() == *self {
                true => "it is this process",
                false => {
                    "which context started it is not known here: end it by the context that connect gave"
                }
            };
            return Err(Error::System { action: format!("ending {}", self.name()), detail: detail.into() });
        };
        // Not by the broker: who asks for one anew has this locked until there is one.
        ReusedContexts::of(self.node()).forget(self.id());
        let (flow, slot) = self.send_disconnect(parent)?;
        match slot.wait(Some(timeout)) {
            Some(Ok(reply)) => read_value(self.name(), &reply),
            // It went with its parent.
            Some(Err(
                Error::Undelivered { reason: Reason::NoRoute | Reason::Lost | Reason::ShutDown, .. }
                | Error::ShutDown,
            )) => Ok(()),
            Some(Err(error)) => Err(error.naming(self.name())),
            None => {
                self.node().with(|core| {
                    core.node.reset(flow, Reason::Cancelled, "nobody waits for the reply");
                    core.forget(flow);
                });
                let after_ms = timeout.as_millis() as u64;
                Err(Error::TimedOut { context: self.name().into(), after_ms })
            }
        }
    }

    /// Has the context ended, and does not wait.
    pub(crate) fn request_shutdown(&self) {
        if let Some(parent) = self.parent() {
            // Where the order cannot be sent there is no tree any more.
            let _ = self.send_disconnect(parent);
        }
    }

    fn send_disconnect(&self, parent: ContextId) -> Result<(FlowKey, Arc<ReplySlot>)> {
        let request = offshoot_codec::own(&self.id());
        self.node().request(parent, Handle::DISCONNECT, request, Opening::default(), |_, _| {})
    }
}
