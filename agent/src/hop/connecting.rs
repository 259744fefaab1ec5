//! A context on its way up, and who waits for it; contexts that several ask for by one key.

use crate::context::Context;
use crate::runtime::handle::NodeHandle;
use crate::runtime::latch::Latch;
use crate::runtime::slot::ReplySlot;
use offshoot_proto::ContextId;
use offshoot_proto::Error;
use offshoot_proto::Result;
use offshoot_proto::message::handshake::Connected;
use offshoot_proto::message::outcome::read_value;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::task::Poll;
use std::time::Duration;

/// A context that is being connected. Clones wait for the same attempt.
#[derive(Clone)]
pub struct Connecting {
    context: Context,
    outcome: Arc<Latch<Result<()>>>,
}

impl Connecting {
    /// `slot` is where its parent's answer arrives.
    pub(crate) fn new(context: Context, slot: Arc<ReplySlot>) -> Connecting {
        let outcome = Arc::new(Latch::default());
        let (there, latch) = (context.clone().unscoped(), Arc::clone(&outcome));
        let arrived = Arc::clone(&slot);
        slot.on_arrival(move || {
            let reply = arrived.take().unwrap_or(Err(Error::ShutDown));
            let reply = reply.map_err(|error| match error {
                // It is this one that was waited for, and not the one that was to start it.
                Error::TimedOut { after_ms, .. } => {
                    Error::TimedOut { context: there.name().into(), after_ms }
                }
                error => error,
            });
            let connected = reply.and_then(|reply| read_value::<Connected>(there.name(), &reply));
            // Whoever was to start it may give another's name.
            let connected = connected.map_err(|error| match error {
                Error::Connect(_) => error.naming(there.name()),
                error => error,
            });
            latch.set(connected.and_then(|connected| {
                let agreed =
                    crate::call::signatures::compare(there.node(), there.name(), &connected.functions);
                if agreed.is_err() {
                    there.dismiss();
                }
                agreed
            }));
        });
        Connecting { context, outcome }
    }

    /// The context, to be used already.
    #[must_use]
    pub fn context(&self) -> Context {
        self.context.clone()
    }

    /// Waits until it is up.
    ///
    /// # Errors
    /// As [`Hop::connect`](crate::hop::Hop::connect).
    pub fn wait(self) -> Result<Context> {
        self.outcome.wait().map(|()| self.context)
    }

    /// Waits until it is up, but not longer than `timeout`. The attempt goes on after that and can be waited for again.
    ///
    /// # Errors
    /// As [`Hop::connect`](crate::hop::Hop::connect); [`Error::TimedOut`] when the time is up.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Context> {
        let after_ms = timeout.as_millis() as u64;
        let late = || Err(Error::TimedOut { context: self.context.name().into(), after_ms });
        self.outcome.wait_timeout(timeout).unwrap_or_else(late).map(|()| self.context())
    }

    /// Has `notify` called once it is up or has failed, at once if that is so: on whatever thread found out, which must not be
    /// held up.
    pub fn on_arrival(&self, notify: impl FnOnce() + Send + 'static) {
        self.outcome.then(|_| notify());
    }
}

impl Future for Connecting {
    type Output = Result<Context>;
    fn poll(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        self.outcome.poll(cx.waker()).map(|outcome| outcome.map(|()| self.context()))
    }
}

/// Contexts that are there for whoever asks by the same key. Nothing here holds the node: it is part of that.
#[derive(Default)]
pub(crate) struct ReusedContexts(Mutex<Vec<Entry>>);

struct Entry {
    parent: ContextId,
    key: String,
    id: ContextId,
    name: Arc<str>,
    outcome: Arc<Latch<Result<()>>>,
}

impl Entry {
    /// Whether the next who asks may have it: it is on its way, or up and still there.
    fn is_good(&self, shared: &NodeHandle) -> bool {
        match self.outcome.get() {
            None => true,
            Some(Err(_)) => false,
            Some(Ok(())) => {
                let core = shared.lock();
                let routes = &core.node.router;
                // Of one that was connected from elsewhere this process is not told when it is lost.
                let elsewhere = self.parent != core.node.id() && routes.link_down(self.parent).is_none();
                routes.link_down(self.id).is_some() || elsewhere && routes.lost.why(self.parent).is_none()
            }
        }
    }
}

impl ReusedContexts {
    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The context that `key` means below `parent`; where there is none, or it failed or was lost, `start` begins a new one.
    pub fn get(parent: &Context, key: &str, open: impl FnOnce() -> Result<Connecting>) -> Result<Connecting> {
        let shared = parent.node();
        // Held while a new one is begun, which takes no longer than a number for it: the next shall find this one.
        let mut entries = shared.reused.lock();
        entries.retain(|entry| entry.is_good(shared));
        if let Some(entry) = entries.iter().find(|entry| entry.parent == parent.id() && entry.key == key) {
            let context = parent.child(entry.id, Arc::clone(&entry.name));
            return Ok(Connecting { context, outcome: Arc::clone(&entry.outcome) });
        }
        let opened = open()?;
        entries.push(Entry {
            parent: parent.id(),
            key: key.to_owned(),
            id: opened.context.id(),
            name: opened.context.name().into(),
            outcome: Arc::clone(&opened.outcome),
        });
        Ok(opened)
    }

    /// A context is about to be ended: the next who asks gets another.
    pub fn forget(&self, id: ContextId) {
        self.lock().retain(|entry| entry.id != id);
    }
}
