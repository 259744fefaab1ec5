//! What happens to values that are more than bytes when they leave this process and when they arrive: contexts, senders and
//! streams are bound to the place where they arrive, and what leaves is noted by whoever sends it.
//!
//! A value's own `Serialize` and `Deserialize` find here where they are; outside of a frame there is no such place, and
//! they refuse.

use crate::codec::{self, CodecError};
use crate::context::Context;
use crate::id::ContextId;
use crate::message::Message;
use crate::text::is_harmful;
use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};
use std::cell::RefCell;
use std::sync::Arc;

/// The longest name of a context that is believed.
const NAME_LIMIT: usize = 512;

/// To be called when the call that a value left with has come to its end. What leaves otherwise has no such end.
pub(crate) type Fare = Box<dyn FnOnce() + Send>;

thread_local! {
    static HERE: RefCell<Option<Context>> = const { RefCell::new(None) };
    /// Of the call that is being written, if one is.
    static FARES: RefCell<Option<Vec<Fare>>> = const { RefCell::new(None) };
}

/// A value that leaves.
pub(crate) struct Leaving {
    /// What goes over the wire.
    pub message: Message,
    /// Whether a secret is in it.
    pub secret: bool,
    /// Whom to tell when it is known to have arrived, or not to.
    pub fares: Vec<Fare>,
}

/// Writes a value behind `head`.
///
/// # Errors
/// When it does not serialise or is too large.
pub(crate) fn leave<T: Serialize>(head: Vec<u8>, value: &T) -> Result<Leaving, CodecError> {
    let before = FARES.replace(Some(Vec::new()));
    crate::secret::was_written();
    let message = codec::to_message(head, value);
    let fares = FARES.replace(before).unwrap_or_default();
    match message {
        Ok(message) => Ok(Leaving { message, secret: crate::secret::was_written(), fares }),
        Err(error) => {
            stay(fares);
            Err(error)
        }
    }
}

/// Runs `work`, which gives a reply; with it comes what is to be called if that does not leave.
pub(crate) fn reply(work: impl FnOnce() -> Vec<u8>) -> (Vec<u8>, Vec<Fare>) {
    let before = FARES.replace(Some(Vec::new()));
    let reply = work();
    let mut fares = FARES.replace(before).unwrap_or_default();
    if crate::remote::is_failed(&reply) {
        // What the function gave did not serialise, or not all of it.
        stay(std::mem::take(&mut fares));
    }
    (reply, fares)
}

/// What these were for has not left, or has come to its end. Not to be called with the node locked.
pub(crate) fn stay(fares: Vec<Fare>) {
    fares.into_iter().for_each(|fare| fare());
}

/// Notes something for whoever sends the value that is being written.
pub(crate) fn note(fare: Fare) {
    FARES.with_borrow_mut(|fares| fares.as_mut().map(|fares| fares.push(fare)));
}

/// Reads a value from `at` on, in the context `cx`, to which what is in it is bound. Large blobs keep the message's memory.
///
/// # Errors
/// When the bytes are no `T`.
pub(crate) fn arrive<T: DeserializeOwned>(
    cx: &Context,
    message: &Arc<Vec<u8>>,
    at: usize,
) -> Result<T, CodecError> {
    arriving(cx, || codec::from_message(message, at))
}

/// Does what reads values in the context `cx`.
pub(crate) fn arriving<T>(cx: &Context, work: impl FnOnce() -> T) -> T {
    /// Puts back what was there, whatever happens: what a program has written may panic.
    struct Before(Option<Context>);
    impl Drop for Before {
        fn drop(&mut self) {
            HERE.replace(self.0.take());
        }
    }
    let _before = Before(HERE.replace(Some(cx.clone())));
    work()
}

/// Where this thread is reading a value.
pub(crate) fn here() -> Option<Context> {
    HERE.with_borrow(Clone::clone)
}

/// The error of a value that is written where it cannot go.
pub(crate) fn stays<E: ser::Error>(what: &str) -> E {
    E::custom(format_args!("{what} travels only in a frame of the tree"))
}

/// Contexts travel as number and name; where they arrive they are contexts of the tree there.
impl Serialize for Context {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !crate::secret::is_in_frame() {
            return Err(stays("a Context"));
        }
        (self.id(), self.name()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Context {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Context, D::Error> {
        let (id, name) = <(ContextId, String)>::deserialize(deserializer)?;
        let here =
            here().ok_or_else(|| de::Error::custom("a Context arrives only in a frame of the tree"))?;
        if name.len() > NAME_LIMIT || name.chars().any(is_harmful) {
            return Err(de::Error::custom("the name of a Context is too long or no text"));
        }
        Ok(here.rebound(id, &name))
    }
}
