//! Timers: a time that passes, or a call that ends before.

use crate::context::Context;
use crate::runtime::scope::Scope;
use crate::runtime::slot::ReplySlot;
use crate::runtime::state::Endpoint;
use offshoot_proto::Error;
use offshoot_proto::FlowKey;
use offshoot_proto::Result;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::task::Waker;
use std::time::Duration;

/// A time that passes; see [`Context::timer`]. Dropping it only ends the wait.
pub struct Timer {
    context: Context,
    flow: FlowKey,
    slot: Arc<ReplySlot>,
}

impl Context {
    /// Returns a timer that ends after `duration`, or with an error as soon as the call is
    /// cancelled in which it was made. It can be waited for, awaited, or added to a
    /// [`Select`](crate::select::Select).
    ///
    /// ```no_run
    /// # use offshoot_agent as offshoot;
    /// # use offshoot::{IntoSource, Select, Router, stock::facts};
    /// # use std::time::Duration;
    /// # fn example(router: &Router) -> offshoot::Result<()> {
    /// let select = Select::default();
    /// select.add(router.local().connect()?.start(facts {}).map_items(|(_, facts)| Some(facts)));
    /// select.add(router.timer(Duration::from_secs(5))?.map_items(|_| None));
    /// match select.wait().flatten() {
    ///     Some(facts) => println!("{:?}", facts.map(|facts| facts.host)),
    ///     None => println!("no answer after 5 s"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error as [`Context::check`] does, and [`Error::ShutDown`] if the router has
    /// ended.
    pub fn timer(&self, duration: Duration) -> Result<Timer> {
        let shared = self.node();
        let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        // A millisecond has begun, and only its end is on the node's clock.
        let due = shared.now().saturating_add(ms).saturating_add(1);
        let scope = Arc::new(Scope::new(self.scope().cloned(), due, ms));
        let slot = ReplySlot::new(Some(&scope));
        let flow = shared.with(|core| {
            if core.stopped && self.scope().is_none() {
                return Err(Error::ShutDown);
            }
            // Checked under the node's lock, which the code that ends a call holds, so that no end
            // is missed.
            self.check()?;
            let here = core.node.id();
            let flow = core.node.watch(here);
            core.endpoints
                .insert(flow, Endpoint::Reply(Arc::clone(&slot)));
            core.watch(scope.deadline().0, flow);
            Ok(flow)
        })?;
        Ok(Timer {
            context: self.clone(),
            flow,
            slot,
        })
    }
}

impl Timer {
    /// Waits until the time has passed.
    ///
    /// # Errors
    /// Returns an error as [`Context::check`] does, as soon as the call is cancelled, and
    /// [`Error::ShutDown`] once the router has ended.
    pub fn wait(self) -> Result<()> {
        let ended = self.slot.wait(None);
        self.outcome(ended.unwrap_or(Err(Error::ShutDown)))
    }

    /// Polls for the end, as a `Future` does.
    pub(crate) fn poll_end(&self, waker: &Waker) -> Poll<Result<()>> {
        self.slot.poll(waker).map(|ended| self.outcome(ended))
    }

    /// Returns the outcome of a timer whose slot was filled. Its own time and the call's deadline
    /// end it in the same way.
    fn outcome(&self, ended: Result<Vec<u8>>) -> Result<()> {
        match ended {
            Err(Error::TimedOut { .. }) | Ok(_) => self.context.check(),
            Err(error) => Err(error),
        }
    }
}

impl Future for Timer {
    type Output = Result<()>;
    fn poll(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Result<()>> {
        self.poll_end(cx.waker())
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let mut core = self.context.node().lock();
        core.node.unwatch(self.flow);
        let endpoint = core.forget(self.flow);
        drop((core, endpoint));
    }
}
