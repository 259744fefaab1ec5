//! The slot for one reply.

use crate::runtime::extensions::locked;
use crate::runtime::scope::Scope;
use crate::runtime::wait::{deadline, wait_until};
use offshoot_proto::Error;
use offshoot_proto::Result;
use offshoot_proto::message::outcome::read_value;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::task::Poll;
use std::task::Waker;
use std::time::Duration;

/// Runs once the call that carried a value completes, with the error that ended it, if one did.
/// Values sent in other messages have no completion callback.
pub(crate) type DeliveryCallback = Box<dyn FnOnce(Option<&Error>) + Send>;

/// The state of a reply. Many are pending at once, most with a single waiter and no callbacks, so
/// the rest is boxed.
pub(crate) enum Stage {
    Coming(Option<Box<Expected>>),
    Here(std::result::Result<Vec<u8>, Box<Error>>),
    Taken,
}

impl Stage {
    /// Takes the reply, if it has arrived. Only one caller gets it.
    fn take(&mut self) -> Option<Result<Vec<u8>>> {
        match std::mem::replace(self, Self::Taken) {
            Self::Here(result) => Some(result.map_err(|error| *error)),
            other => {
                *self = other;
                None
            }
        }
    }

    /// Returns the callbacks and partial data of a reply that is still pending.
    fn expected(&mut self) -> Option<&mut Expected> {
        match self {
            Self::Coming(expected) => Some(expected.get_or_insert_default()),
            Self::Here(_) | Self::Taken => None,
        }
    }
}

/// The callbacks and partial data of a pending reply.
#[derive(Default)]
pub(crate) struct Expected {
    so_far: Vec<u8>,
    waker: Option<Waker>,
    notify: Option<Box<dyn FnOnce() + Send>>,
    callbacks: Vec<DeliveryCallback>,
}

/// The slot for one reply.
pub(crate) struct ReplySlot {
    stage: Mutex<Stage>,
    arrived: Condvar,
    /// The scope of the request.
    pub scope: Option<Arc<Scope>>,
}

impl ReplySlot {
    pub(crate) fn new(scope: Option<&Arc<Scope>>) -> Arc<Self> {
        let stage = Mutex::new(Stage::Coming(None));
        Arc::new(Self {
            stage,
            arrived: Condvar::new(),
            scope: scope.cloned(),
        })
    }

    /// Returns a slot that has its reply.
    pub(crate) fn filled(result: Result<Vec<u8>>) -> Arc<Self> {
        let slot = Self::new(None);
        slot.fill(result);
        slot
    }

    /// Returns true if the reply has arrived and was not taken.
    pub(crate) fn is_filled(&self) -> bool {
        matches!(*self.lock(), Stage::Here(_))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Stage> {
        locked(&self.stage)
    }

    /// Adds a piece of the reply, the last one with `end`. Returns the whole reply then, and the
    /// buffer of the piece if that is free. Returns none if the reply is longer than `limit`.
    pub(crate) fn gather(&self, piece: Vec<u8>, end: bool, limit: usize) -> Option<[Vec<u8>; 2]> {
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
        Some([
            if end {
                std::mem::take(&mut expected.so_far)
            } else {
                Vec::new()
            },
            spare,
        ])
    }

    /// Sets the reply and wakes the waiter. Later calls do nothing.
    pub(crate) fn fill(&self, result: Result<Vec<u8>>) {
        let mut stage = self.lock();
        let Stage::Coming(expected) = &mut *stage else {
            return;
        };
        let expected = expected.take();
        let Expected {
            waker,
            notify,
            callbacks,
            ..
        } = expected.map(|expected| *expected).unwrap_or_default();
        let error = result
            .as_ref()
            .err()
            .filter(|_| !callbacks.is_empty())
            .cloned();
        *stage = Stage::Here(result.map_err(Box::new));
        drop(stage);
        callbacks
            .into_iter()
            .for_each(|callback| callback(error.as_ref()));
        self.arrived.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
        if let Some(notify) = notify {
            notify();
        }
    }

    /// Adds callbacks that run when the reply arrives.
    pub(crate) fn carry(&self, callbacks: Vec<DeliveryCallback>) {
        if callbacks.is_empty() {
            return;
        }
        let mut stage = self.lock();
        if let Some(expected) = stage.expected() {
            expected.callbacks = callbacks;
        } else {
            let error = match &*stage {
                Stage::Here(Err(error)) => Some(Error::clone(error)),
                _ => None,
            };
            drop(stage);
            callbacks
                .into_iter()
                .for_each(|callback| callback(error.as_ref()));
        }
    }

    /// Drops the pending reply of the context called `name`, because nothing waits for it any more.
    pub(crate) fn give_up(&self, name: &str) {
        let callbacks = match &mut *self.lock() {
            Stage::Coming(Some(expected)) => std::mem::take(&mut expected.callbacks),
            _ => return,
        };
        let error = Error::Cancelled {
            context: name.into(),
        };
        callbacks
            .into_iter()
            .for_each(|callback| callback(Some(&error)));
    }

    /// Calls `notify` when the reply arrives, at once if it is here.
    pub(crate) fn on_arrival(&self, notify: impl FnOnce() + Send + 'static) {
        let mut stage = self.lock();
        if let Some(expected) = stage.expected() {
            // A replaced callback is dropped without the lock: its values may need the node.
            let before = expected.notify.replace(Box::new(notify));
            drop(stage);
            drop(before);
        } else {
            drop(stage);
            notify();
        }
    }

    /// Waits for the reply and takes it. Returns none after `timeout`.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> Option<Result<Vec<u8>>> {
        wait_until(
            &self.arrived,
            self.lock(),
            timeout.and_then(deadline),
            |stage| {
                (!matches!(stage, Stage::Coming(_)))
                    .then(|| stage.take().unwrap_or(Err(Error::ShutDown)))
            },
        )
    }

    /// Waits for the reply of the context called `name`, and decodes its value.
    ///
    /// # Errors
    /// Returns the error in the reply, under the context's name, or the reason why there is no
    /// reply.
    pub(crate) fn value<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let reply = self.wait(None).unwrap_or(Err(Error::ShutDown));
        read_value(name, &reply.map_err(|error| error.naming(name))?)
    }

    /// Takes the reply, if it has arrived. Only one caller gets it.
    pub(crate) fn take(&self) -> Option<Result<Vec<u8>>> {
        self.lock().take()
    }

    /// Polls for the reply, as a `Future` does.
    pub(crate) fn poll(&self, waker: &Waker) -> Poll<Result<Vec<u8>>> {
        let mut stage = self.lock();
        let before = stage
            .expected()
            .and_then(|expected| expected.waker.replace(waker.clone()));
        let found = stage.take();
        drop(stage);
        drop(before);
        found.map_or(Poll::Pending, Poll::Ready)
    }
}
