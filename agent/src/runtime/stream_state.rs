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
    /// Counts wake-ups, so that none is missed between looking and waiting.
    turn: u64,
    waker: Option<Waker>,
}

/// What the broker and the two ends of a stream share.
#[derive(Default)]
pub(crate) struct StreamState {
    state: Mutex<State>,
    changed: Condvar,
    scope: Option<Arc<Scope>>,
}

impl StreamState {
    /// The state of a stream that is made within a scope.
    pub(crate) fn new(scope: Option<&Arc<Scope>>) -> Arc<Self> {
        Arc::new(Self {
            scope: scope.cloned(),
            ..Self::default()
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// What it was made for.
    pub(crate) fn scope(&self) -> Option<&Arc<Scope>> {
        self.scope.as_ref()
    }

    /// Bytes came.
    pub(crate) fn push(&self, bytes: Vec<u8>, end: bool) {
        let mut state = self.lock();
        if !bytes.is_empty() {
            state.inbox.push_back(bytes);
        }
        state.ended |= end;
    }

    /// The stream is over before its end.
    pub(crate) fn fail(&self, why: Error) {
        self.lock().failed.get_or_insert(why);
    }

    /// Why it is over before its end, if it is.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.lock().failed.clone()
    }

    /// Whether nothing more comes.
    pub(crate) fn is_over(&self) -> bool {
        let state = self.lock();
        state.ended || state.failed.is_some()
    }

    /// Something changed for whoever waits.
    pub(crate) fn wake(&self) {
        let mut state = self.lock();
        state.turn += 1;
        let waker = state.waker.take();
        drop(state);
        self.changed.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// How often somebody was woken so far.
    pub(crate) fn turn(&self) -> u64 {
        self.lock().turn
    }

    /// Waits for the next wake-up after `turn`.
    pub(crate) fn wait_after(&self, turn: u64) {
        wait_until(&self.changed, self.lock(), None, |state| {
            (state.turn != turn).then_some(())
        });
    }

    /// The next piece, or as much of it as is wanted: none where nothing is there for now,
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

    /// The next piece, or none at the end. Waits for it, until `until` at the most: none then.
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

    /// The next piece, or none at the end, as a `Future` asks.
    pub(crate) fn poll(&self, waker: &Waker) -> Poll<Result<Option<Vec<u8>>>> {
        let before = self.lock().waker.replace(waker.clone());
        drop(before);
        match self.take(usize::MAX) {
            Some(found) => Poll::Ready(found),
            None => Poll::Pending,
        }
    }
}
