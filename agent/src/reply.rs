//! Waiting for one answer: by blocking, with a timeout, or as a `Future` under any executor.

use crate::error::{Error, Result};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

#[derive(Default)]
struct State {
    result: Option<Result<Vec<u8>>>,
    taken: bool,
    waker: Option<Waker>,
    notify: Option<Box<dyn FnOnce() + Send>>,
}

/// Where one answer arrives.
#[derive(Default)]
pub(crate) struct Slot {
    state: Mutex<State>,
    arrived: Condvar,
}

impl Slot {
    pub fn new() -> Arc<Slot> {
        Arc::new(Slot::default())
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
        state.result = Some(result);
        let (waker, notify) = (state.waker.take(), state.notify.take());
        drop(state);
        self.arrived.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
        if let Some(notify) = notify {
            notify();
        }
    }

    /// Has `notify` called when the answer is there, at once if it is.
    pub fn on_arrival(&self, notify: impl FnOnce() + Send + 'static) {
        let mut state = self.lock();
        if state.result.is_some() || state.taken {
            drop(state);
            notify();
        } else {
            state.notify = Some(Box::new(notify));
        }
    }

    /// Waits for the answer and takes it; none when the time is up.
    pub fn wait(&self, timeout: Option<Duration>) -> Option<Result<Vec<u8>>> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let mut state = self.lock();
        loop {
            if let Some(result) = state.result.take() {
                state.taken = true;
                return Some(result);
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

    /// As a `Future` asks.
    pub fn poll(&self, waker: &Waker) -> Poll<Result<Vec<u8>>> {
        let mut state = self.lock();
        match state.result.take() {
            Some(result) => {
                state.taken = true;
                Poll::Ready(result)
            }
            None => {
                state.waker = Some(waker.clone());
                Poll::Pending
            }
        }
    }
}
