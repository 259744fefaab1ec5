//! A result that any number of waiters get: by blocking, with a timeout, by a callback, or as a
//! `Future`.

use crate::runtime::extensions::locked;
use crate::runtime::wait::{deadline, wait_until};
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::task::Poll;
use std::task::Waker;
use std::time::Duration;

type Call<T> = Box<dyn FnOnce(T) + Send>;

struct State<T> {
    outcome: Option<T>,
    wakers: Vec<Waker>,
    calls: Vec<Call<T>>,
}

/// A result that is set once.
pub(crate) struct Latch<T> {
    state: Mutex<State<T>>,
    set: Condvar,
}

impl<T> Default for Latch<T> {
    fn default() -> Self {
        let state = State {
            outcome: None,
            wakers: Vec::new(),
            calls: Vec::new(),
        };
        Self {
            state: Mutex::new(state),
            set: Condvar::new(),
        }
    }
}

impl<T: Clone> Latch<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        locked(&self.state)
    }

    /// Sets the result and wakes all waiters. Later calls do nothing.
    pub(crate) fn set(&self, outcome: T) {
        let mut state = self.lock();
        if state.outcome.is_some() {
            return;
        }
        state.outcome = Some(outcome.clone());
        let (wakers, calls) = (
            std::mem::take(&mut state.wakers),
            std::mem::take(&mut state.calls),
        );
        drop(state);
        self.set.notify_all();
        for waker in wakers {
            waker.wake();
        }
        for call in calls {
            call(outcome.clone());
        }
    }

    /// Returns the result, if it is set.
    pub(crate) fn get(&self) -> Option<T> {
        self.lock().outcome.clone()
    }

    /// Calls `call` with the result, at once if it is set.
    pub(crate) fn then(&self, call: impl FnOnce(T) + Send + 'static) {
        let mut state = self.lock();
        match state.outcome.clone() {
            Some(outcome) => {
                drop(state);
                call(outcome);
            }
            None => state.calls.push(Box::new(call)),
        }
    }

    /// Waits for the result.
    pub(crate) fn wait(&self) -> T {
        let outcome = wait_until(&self.set, self.lock(), None, |state| state.outcome.clone());
        outcome.expect("without a deadline it comes")
    }

    /// Waits for the result; returns none after `timeout`.
    pub(crate) fn wait_timeout(&self, timeout: Duration) -> Option<T> {
        wait_until(&self.set, self.lock(), deadline(timeout), |state| {
            state.outcome.clone()
        })
    }

    /// Polls for the result, as a `Future` does.
    pub(crate) fn poll(&self, waker: &Waker) -> Poll<T> {
        let mut state = self.lock();
        if let Some(outcome) = &state.outcome {
            return Poll::Ready(outcome.clone());
        }
        if !state.wakers.iter().any(|other| other.will_wake(waker)) {
            state.wakers.push(waker.clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    #[test]
    fn the_first_outcome_reaches_early_and_late_waiters() {
        let latch = Arc::new(Latch::default());
        assert_eq!(
            (latch.get(), latch.wait_timeout(Duration::ZERO)),
            (None, None)
        );
        let (told, heard) = channel();
        let early = told.clone();
        latch.then(move |outcome| early.send(outcome).expect("it is read"));
        let waiting = std::thread::spawn({
            let latch = Arc::clone(&latch);
            move || latch.wait()
        });
        let asking = std::task::Context::from_waker(Waker::noop());
        assert!(latch.poll(asking.waker()).is_pending());
        latch.set("first");
        latch.set("second");
        latch.then(move |outcome| told.send(outcome).expect("it is read"));
        assert_eq!(heard.iter().collect::<Vec<_>>(), ["first", "first"]);
        assert_eq!(waiting.join().expect("it does not panic"), "first");
        assert_eq!(latch.poll(asking.waker()), Poll::Ready("first"));
        assert_eq!(
            (latch.get(), latch.wait_timeout(Duration::MAX)),
            (Some("first"), Some("first"))
        );
    }
}
