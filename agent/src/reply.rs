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

/// How far an answer is. Many are outstanding at once, to be told to nobody but one who waits, and few come to an error.
enum Stage {
    Coming(Option<Box<Expected>>),
    Here(std::result::Result<Vec<u8>, Box<Error>>),
    Taken,
}

impl Stage {
    /// The answer, if it is there; nobody else gets it.
    fn take(&mut self) -> Option<Result<Vec<u8>>> {
        match std::mem::replace(self, Stage::Taken) {
            Stage::Here(result) => Some(result.map_err(|error| *error)),
            other => {
                *self = other;
                None
            }
        }
    }

    /// What is to be known when it comes, if it does.
    fn expected(&mut self) -> Option<&mut Expected> {
        match self {
            Stage::Coming(expected) => Some(expected.get_or_insert_default()),
            Stage::Here(_) | Stage::Taken => None,
        }
    }
}

/// An answer that comes in pieces, or has to be told when it is there.
#[derive(Default)]
struct Expected {
    so_far: Vec<u8>,
    waker: Option<Waker>,
    notify: Option<Box<dyn FnOnce() + Send>>,
    fares: Vec<Fare>,
}

/// Where one answer arrives.
pub(crate) struct Slot {
    stage: Mutex<Stage>,
    arrived: Condvar,
    /// What the question was asked for.
    pub scope: Option<Arc<Scope>>,
}

impl Slot {
    pub fn new(scope: Option<&Arc<Scope>>) -> Arc<Slot> {
        let stage = Mutex::new(Stage::Coming(None));
        Arc::new(Slot { stage, arrived: Condvar::new(), scope: scope.cloned() })
    }

    /// One that has its answer.
    pub fn filled(result: Result<Vec<u8>>) -> Arc<Slot> {
        let slot = Slot::new(None);
        slot.fill(result);
        slot
    }

    /// Whether the answer is there and was not taken.
    pub fn is_filled(&self) -> bool {
        matches!(*self.lock(), Stage::Here(_))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A piece of the answer, the last one with `end`: gives the whole of it then, and what the piece lay in if that is free. None
    /// when it is longer than `limit`.
    pub fn gather(&self, piece: Vec<u8>, end: bool, limit: usize) -> Option<[Vec<u8>; 2]> {
        let mut stage = self.lock();
        let alone = matches!(*stage, Stage::Coming(None)) && end;
        let Some(expected) = stage.expected().filter(|_| !alone) else {
            return (piece.len() <= limit).then_some([piece, Vec::new()]);
        };
        if expected.so_far.len() + piece.len() > limit {
            return None;
        }
        let spare = if expected.so_far.is_empty() {
            expected.so_far = piece;
            Vec::new()
        } else {
            expected.so_far.extend_from_slice(&piece);
            piece
        };
        Some([if end { std::mem::take(&mut expected.so_far) } else { Vec::new() }, spare])
    }

    /// The answer is there. Only the first counts.
    pub fn fill(&self, result: Result<Vec<u8>>) {
        let mut stage = self.lock();
        let Stage::Coming(expected) = &mut *stage else { return };
        let expected = expected.take();
        let Expected { waker, notify, fares, .. } = expected.map(|expected| *expected).unwrap_or_default();
        let error = result.as_ref().err().filter(|_| !fares.is_empty()).cloned();
        *stage = Stage::Here(result.map_err(Box::new));
        drop(stage);
        fares.into_iter().for_each(|fare| fare(error.as_ref()));
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
        let mut stage = self.lock();
        if let Some(expected) = stage.expected() {
            expected.fares = fares;
        } else {
            let error = match &*stage {
                Stage::Here(Err(error)) => Some(Error::clone(error)),
                _ => None,
            };
            drop(stage);
            fares.into_iter().for_each(|fare| fare(error.as_ref()));
        }
    }

    /// Nobody waits any more for an answer of the context called `name`.
    pub fn give_up(&self, name: &str) {
        let fares = match &mut *self.lock() {
            Stage::Coming(Some(expected)) => std::mem::take(&mut expected.fares),
            _ => return,
        };
        let error = Error::Cancelled { context: name.into() };
        fares.into_iter().for_each(|fare| fare(Some(&error)));
    }

    /// Has `notify` called when the answer is there, at once if it is.
    pub fn on_arrival(&self, notify: impl FnOnce() + Send + 'static) {
        let mut stage = self.lock();
        if let Some(expected) = stage.expected() {
            // What is not called any more is dropped without the lock: it may hold what needs the node.
            let before = expected.notify.replace(Box::new(notify));
            drop(stage);
            drop(before);
        } else {
            drop(stage);
            notify();
        }
    }

    /// Waits for the answer and takes it; none when the time is up.
    pub fn wait(&self, timeout: Option<Duration>) -> Option<Result<Vec<u8>>> {
        // A time that cannot be written down is never up.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut stage = self.lock();
        loop {
            if !matches!(*stage, Stage::Coming(_)) {
                return Some(stage.take().unwrap_or(Err(Error::ShutDown)));
            }
            stage = match deadline {
                None => self.arrived.wait(stage).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return None;
                    }
                    self.arrived.wait_timeout(stage, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// The answer, if it is there; nobody else gets it.
    pub fn take(&self) -> Option<Result<Vec<u8>>> {
        self.lock().take()
    }

    /// As a `Future` asks.
    pub fn poll(&self, waker: &Waker) -> Poll<Result<Vec<u8>>> {
        let mut stage = self.lock();
        let before = stage.expected().and_then(|expected| expected.waker.replace(waker.clone()));
        let found = stage.take();
        drop(stage);
        drop(before);
        found.map_or(Poll::Pending, Poll::Ready)
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
#[must_use = "dropping the reply gives the call up, unless it is one of a chain; `cast` starts one that goes on"]
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
            self.slot.give_up(self.context.name());
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

    /// Has `notify` called once the reply is there, at once if it is: on whatever thread brings it, which must not be held up. One
    /// at a time: a later one takes the place of an earlier.
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
            self.slot.give_up(self.context.name());
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
