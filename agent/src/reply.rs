//! Waiting for one answer: by blocking, with a timeout, or as a `Future` under any executor.

use crate::chain::Link;
use crate::context::Context;
use crate::error::{CallError, Error, Reason, Result};
use crate::id::FlowKey;
use crate::remote::{Remote, read_reply};
use crate::scope::{NEVER, Scope, Stand};
use crate::travel::Fare;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

#[derive(Default)]
struct State {
    /// Many wait, and few for an error.
    result: Option<std::result::Result<Vec<u8>, Box<Error>>>,
    taken: bool,
    /// Whom to tell when the answer is there, beside those who wait.
    told: Option<Box<Told>>,
}

#[derive(Default)]
struct Told {
    waker: Option<Waker>,
    notify: Option<Box<dyn FnOnce() + Send>>,
    fares: Vec<Fare>,
}

/// Where one answer arrives.
#[derive(Default)]
pub(crate) struct Slot {
    state: Mutex<State>,
    arrived: Condvar,
    /// What the question was asked for.
    pub scope: Option<Arc<Scope>>,
}

impl Slot {
    pub fn new(scope: Option<&Arc<Scope>>) -> Arc<Slot> {
        Arc::new(Slot { scope: scope.cloned(), ..Slot::default() })
    }

    /// One that has its answer.
    pub fn filled(result: Result<Vec<u8>>) -> Arc<Slot> {
        let slot = Slot::new(None);
        slot.fill(result);
        slot
    }

    /// Whether the answer is there and was not taken.
    pub fn is_filled(&self) -> bool {
        self.lock().result.is_some()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer is there. Only the first counts.
    pub fn fill(&self, result: Result<Vec<u8>>) {
        let mut state = self.lock();
        if state.result.is_some() || state.taken {
            return;
        }
        state.result = Some(result.map_err(Box::new));
        let told = state.told.take();
        drop(state);
        let Told { waker, notify, fares } = told.map(|told| *told).unwrap_or_default();
        fares.into_iter().for_each(|fare| fare());
        self.arrived.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
        if let Some(notify) = notify {
            notify();
        }
    }

    /// Has somebody told when the answer is there.
    pub fn carry(&self, fares: Vec<Fare>) {
        if fares.is_empty() {
            return;
        }
        let mut state = self.lock();
        if state.result.is_none() && !state.taken {
            state.told.get_or_insert_default().fares = fares;
        } else {
            drop(state);
            fares.into_iter().for_each(|fare| fare());
        }
    }

    /// Nobody waits for an answer any more.
    pub fn give_up(&self) {
        let fares = self.lock().told.as_mut().map(|told| std::mem::take(&mut told.fares));
        fares.into_iter().flatten().for_each(|fare| fare());
    }

    /// Has `notify` called when the answer is there, at once if it is.
    pub fn on_arrival(&self, notify: impl FnOnce() + Send + 'static) {
        let mut state = self.lock();
        if state.result.is_some() || state.taken {
            drop(state);
            notify();
        } else {
            state.told.get_or_insert_default().notify = Some(Box::new(notify));
        }
    }

    /// Waits for the answer and takes it; none when the time is up.
    pub fn wait(&self, timeout: Option<Duration>) -> Option<Result<Vec<u8>>> {
        // A time that cannot be written down is never up.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut state = self.lock();
        loop {
            if let Some(result) = state.result.take() {
                state.taken = true;
                return Some(result.map_err(|error| *error));
            }
            if state.taken {
                return Some(Err(Error::ShutDown));
            }
            state = match deadline {
                None => self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return None;
                    }
                    self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// The answer, if it is there; nobody else gets it.
    pub fn take(&self) -> Option<Result<Vec<u8>>> {
        let mut state = self.lock();
        let result = state.result.take();
        state.taken |= result.is_some();
        result.map(|result| result.map_err(|error| *error))
    }

    /// As a `Future` asks.
    pub fn poll(&self, waker: &Waker) -> Poll<Result<Vec<u8>>> {
        let mut state = self.lock();
        match state.result.take() {
            Some(result) => {
                state.taken = true;
                Poll::Ready(result.map_err(|error| *error))
            }
            None => {
                state.told.get_or_insert_default().waker = Some(waker.clone());
                Poll::Pending
            }
        }
    }
}

/// How the answer to a call comes back.
pub(crate) enum Route {
    /// It is there already.
    None,
    /// On a flow of its own.
    Flow(FlowKey),
    /// On that of its chain, as so many-th.
    Chain(Arc<Link>, u32),
}

/// The answer to a call that was started. Dropping it gives the call up, but for a call of a chain, which goes on.
#[must_use = "dropping the reply gives the call up; `cast` starts one that goes on"]
pub struct Reply<F: Remote> {
    context: Context,
    route: Route,
    slot: Arc<Slot>,
    done: bool,
    function: PhantomData<fn() -> F>,
}

impl<F: Remote> Reply<F> {
    pub(crate) fn new(context: Context, route: Route, slot: Arc<Slot>) -> Reply<F> {
        Reply { context, route, slot, done: false, function: PhantomData }
    }

    /// Waits for it.
    ///
    /// # Errors
    /// As [`Context::call`].
    pub fn wait(mut self) -> Result<F::Value, CallError<F::Error>> {
        let reply = self.slot.wait(self.time_left()).unwrap_or_else(|| Err(self.late()));
        self.finish(reply)
    }

    /// Waits for it, but not longer than `timeout`. The call goes on after that; the reply can be waited for again.
    ///
    /// # Errors
    /// As [`Context::call`]; [`Error::TimedOut`] when the time is up.
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
                Err(CallError::Failed(Error::TimedOut { context: self.context.name().into(), after_ms }))
            }
        }
    }

    /// Gives the call up. A function that has not begun does not; one that runs sees it, and what it has started through its
    /// own context ends, wherever that is.
    pub fn cancel(self) {
        if let Route::Chain(chain, number) = &self.route {
            chain.cancel(*number);
        }
    }

    /// The context it comes from.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Whether it is there and was not taken, so that waiting for it takes no time.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.slot.is_filled()
    }

    /// Has `notify` called once the reply is there, at once if it is.
    pub fn on_arrival(&self, notify: impl FnOnce() + Send + 'static) {
        self.slot.on_arrival(notify);
    }

    /// How long may be waited here; what ends other calls in time is the broker.
    fn time_left(&self) -> Option<Duration> {
        let Route::Chain(..) = &self.route else { return None };
        let (due, _) = self.context.scope()?.deadline();
        (due != NEVER).then(|| Duration::from_millis(due.saturating_sub(self.context.node().now())))
    }

    fn late(&self) -> Error {
        match self.context.scope() {
            Some(scope) => scope.error(self.context.name(), Stand::Late),
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
            // A reply nobody waits for must leave nothing behind here.
            self.slot.give_up();
            let nothing_came = self.context.node().with(|core| {
                core.node.reset(flow, Reason::Cancelled, "nobody waits for the reply");
                core.forget(flow).is_some()
            });
            if nothing_came {
                return;
            }
        }
        // What has come, or comes over a chain, may hold ends of streams and senders: they are let go as if it had been taken.
        let (context, slot) = (self.context.clone(), Arc::clone(&self.slot));
        self.slot.on_arrival(move || {
            if let Some(Ok(reply)) = slot.take() {
                drop(read_reply::<F>(&context, reply));
            }
        });
    }
}
