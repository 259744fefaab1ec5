use crate::runtime::extensions::locked;
use crate::runtime::scope::Scope;
use crate::runtime::wait::wait_until;
use offshoot_proto::Error;
use offshoot_proto::Result;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::task::Poll;
use std::task::Waker;
use std::time::Instant;

#[derive(Default)]
pub(crate) struct State {
    inbox: VecDeque<Vec<u8>>,
    ended: bool,
    failed: Option<Error>,
    /// The number of wake-ups, so that none is missed between the check and the wait.
    turn: u64,
    wakers: Vec<Waker>,
}

/// The state of a stream that the broker shares with the reader or writer.
#[derive(Default)]
pub(crate) struct StreamState {
    state: Mutex<State>,
    changed: Condvar,
    scope: Option<Arc<Scope>>,
}

impl StreamState {
    /// Returns the state of a new stream in a scope.
    pub(crate) fn new(scope: Option<&Arc<Scope>>) -> Arc<Self> {
        Arc::new(Self {
            scope: scope.cloned(),
            ..Self::default()
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// Returns the scope of the stream.
    pub(crate) fn scope(&self) -> Option<&Arc<Scope>> {
        self.scope.as_ref()
    }

    /// Adds bytes that have arrived.
    pub(crate) fn push(&self, bytes: Vec<u8>, end: bool) {
        let mut state = self.lock();
        if !bytes.is_empty() {
            state.inbox.push_back(bytes);
        }
        state.ended |= end;
    }

    /// Ends the stream with an error.
    pub(crate) fn fail(&self, why: Error) {
        self.lock().failed.get_or_insert(why);
    }

    /// Returns the error that ended the stream, if one did.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.lock().failed.clone()
    }

    /// Returns true if no more bytes will arrive.
    pub(crate) fn is_over(&self) -> bool {
        let state = self.lock();
        state.ended || state.failed.is_some()
    }

    /// Wakes all waiters after a change.
    pub(crate) fn wake(&self) {
        let mut state = self.lock();
        state.turn += 1;
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.changed.notify_all();
        for waker in wakers {
            waker.wake();
        }
    }

    /// Registers a waker for the next change. Clones of a sender share the state, so that there may
    /// be several.
    pub(crate) fn wake_later(&self, waker: &Waker) {
        let mut state = self.lock();
        if !state.wakers.iter().any(|other| other.will_wake(waker)) {
            state.wakers.push(waker.clone());
        }
    }

    /// Returns the number of wake-ups so far.
    pub(crate) fn turn(&self) -> u64 {
        self.lock().turn
    }

    /// Waits for the next wake-up after `turn`.
    pub(crate) fn wait_after(&self, turn: u64) {
        wait_until(&self.changed, self.lock(), None, |state| {
            (state.turn != turn).then_some(())
        });
    }

    /// Takes the next piece, or `most` bytes of it. Returns none if nothing is there yet, and
    /// `Some(None)` at the end.
    fn take(&self, most: usize) -> Option<Result<Option<Vec<u8>>>> {
        let mut state = self.lock();
        if let Some(mut chunk) = state.inbox.pop_front() {
            if chunk.len() > most {
                state.inbox.push_front(chunk.split_off(most));
            }
            return Some(Ok(Some(chunk)));
        }
        if state.ended {
            return Some(Ok(None));
        }
        state.failed.clone().map(Err)
    }

    /// Waits for the next piece, at most until `until`. Returns none at the end and after a
    /// timeout.
    pub(crate) fn wait_for(
        &self,
        most: usize,
        until: Option<Instant>,
    ) -> Option<Result<Option<Vec<u8>>>> {
        loop {
            let turn = self.turn();
            if let Some(found) = self.take(most) {
                return Some(found);
            }
            wait_until(&self.changed, self.lock(), until, |state| {
                (state.turn != turn).then_some(())
            })?;
        }
    }

    /// Polls for the next piece, as a `Future` does; none at the end.
    pub(crate) fn poll(&self, waker: &Waker) -> Poll<Result<Option<Vec<u8>>>> {
        self.wake_later(waker);
        match self.take(usize::MAX) {
            Some(found) => Poll::Ready(found),
            None => Poll::Pending,
        }
    }
}
