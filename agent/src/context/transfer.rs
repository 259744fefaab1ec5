//! Encoding and decoding of values that are bound to a process: contexts, senders and streams.
//!
//! Their `Serialize` and `Deserialize` find the current message here. Outside a frame there is
//! none, and both fail. Decoding also fails if the sender of a message may not name what it names
//! ([`disclosures`](crate::context::disclosures)).

use crate::context::Context;
use crate::context::disclosures::DisclosureLog;
use crate::runtime::handle::NodeHandle;
use crate::runtime::slot::DeliveryCallback;
use crate::runtime::state::NodeState;
use offshoot_codec as codec;
use offshoot_codec::CodecError;
use offshoot_codec::Message;
use offshoot_proto::ContextId;
use offshoot_proto::Error;
use offshoot_proto::Reason;
use offshoot_proto::error::codec_error;
use offshoot_proto::routing::NameKind;
use offshoot_proto::routing::Origin;
use offshoot_proto::routing::Policy;
use offshoot_proto::text::is_harmful;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use serde::de;
use serde::de::DeserializeOwned;
use serde::ser;
use std::cell::Cell;
use std::cell::RefCell;
use std::sync::Arc;

/// The most bytes of a context's name that are accepted from a peer.
const NAME_LIMIT: usize = 512;

thread_local! {
    static DECODING: RefCell<Option<Decoding>> = const { RefCell::new(None) };
    /// The message that this thread encodes, if any.
    static ENCODING: RefCell<Option<Encoding>> = const { RefCell::new(None) };
    /// True while this thread runs a function with the node locked.
    static LOCKED: Cell<bool> = const { Cell::new(false) };
}

/// The message that this thread decodes: the context that decodes it, and its origin.
struct Decoding {
    cx: Context,
    origin: Origin,
    /// The error text if the message names what its sender may not name.
    refused: Option<String>,
}

/// The message that this thread encodes.
struct Encoding {
    to: ContextId,
    /// True for a call, whose completion runs the delivery callbacks.
    call: bool,
    callbacks: Vec<DeliveryCallback>,
    /// The contexts that the message names.
    named: Vec<ContextId>,
}

impl Encoding {
    fn to((to, call): (ContextId, bool)) -> Self {
        Self {
            to,
            call,
            callbacks: Vec::new(),
            named: Vec::new(),
        }
    }
}

/// An encoded message.
pub(crate) struct Outgoing {
    /// The bytes for the wire.
    pub message: Message,
    /// True if it contains a secret.
    pub secret: bool,
    /// The callbacks for its delivery.
    pub callbacks: Vec<DeliveryCallback>,
    /// The contexts that the message names.
    pub named: Vec<ContextId>,
}

/// Encodes a value behind `head`, for a context; the flag says that the message is a call whose
/// completion is awaited.
///
/// # Errors
/// Returns an error if the value does not serialise or is too large.
pub(crate) fn encode_outgoing<T: Serialize>(
    head: Vec<u8>,
    value: &T,
    to: (ContextId, bool),
) -> Result<Outgoing, CodecError> {
    let before = ENCODING.replace(Some(Encoding::to(to)));
    offshoot_codec::was_written();
    let message = codec::to_message(head, value);
    let Encoding {
        callbacks, named, ..
    } = ENCODING.replace(before).unwrap_or_else(|| Encoding::to(to));
    match message {
        Ok(message) => Ok(Outgoing {
            message,
            secret: offshoot_codec::was_written(),
            callbacks,
            named,
        }),
        Err(error) => {
            abandon(callbacks);
            Err(error)
        }
    }
}

/// Encodes a reply to the context `to` by `work`. Returns it with the callbacks to abandon if the
/// reply is not sent.
pub(crate) fn encode_reply(
    to: ContextId,
    work: impl FnOnce() -> Vec<u8>,
) -> (Vec<u8>, Vec<DeliveryCallback>) {
    let before = ENCODING.replace(Some(Encoding::to((to, false))));
    let reply = work();
    let mut callbacks = ENCODING
        .replace(before)
        .map_or_else(Vec::new, |encoding| encoding.callbacks);
    if offshoot_proto::message::outcome::is_failed(&reply) {
        // The result did not serialise, or only a part of it.
        abandon(std::mem::take(&mut callbacks));
    }
    (reply, callbacks)
}

/// Runs `work`, while this thread has the node locked.
pub(crate) fn locked<T>(work: impl FnOnce() -> T) -> T {
    struct Unlocked;
    impl Drop for Unlocked {
        fn drop(&mut self) {
            LOCKED.set(false);
        }
    }
    LOCKED.set(true);
    let _unlocked = Unlocked;
    work()
}

/// Changes the node for a value that is dropped. If that happens in a quick function, which has the
/// node locked, a worker does it afterwards.
pub(crate) fn soon(node: &Arc<NodeHandle>, work: impl FnOnce(&mut NodeState) + Send + 'static) {
    if LOCKED.get() {
        let (workers, node) = (node.workers.hire(&node.waker), Arc::clone(node));
        let _taken_but_for_a_flood = workers.run(None, 0, Box::new(move || node.with(work)));
    } else {
        node.with(work);
    }
}

/// Runs the callbacks of values that were not delivered. Must not be called with the node locked.
pub(crate) fn abandon(callbacks: Vec<DeliveryCallback>) {
    callbacks.into_iter().for_each(|callback| callback(None));
}

/// Adds a delivery callback to the message that is being encoded.
pub(crate) fn on_delivery(callback: DeliveryCallback) {
    ENCODING.with_borrow_mut(|encoding| {
        encoding
            .as_mut()
            .map(|encoding| encoding.callbacks.push(callback))
    });
}

/// Returns true if the message being encoded is a call whose completion is awaited.
pub(crate) fn is_in_call() -> bool {
    ENCODING.with_borrow(|encoding| encoding.as_ref().is_some_and(|encoding| encoding.call))
}

/// Checks that `what` is being encoded for another context.
///
/// # Errors
/// Returns an error outside a frame, and in the reply of a quick function.
pub(crate) fn err_outside_frame<E: ser::Error>(what: &str) -> Result<(), E> {
    match (
        offshoot_codec::is_in_frame(),
        ENCODING.with_borrow(Option::is_some),
    ) {
        (true, true) => Ok(()),
        (true, false) => Err(E::custom(format_args!(
            "a quick function cannot return {what}: its context is locked while it runs; remove `quick`"
        ))),
        (false, _) => Err(E::custom(format_args!(
            "{what} can be encoded only in a message to a context"
        ))),
    }
}

/// Discloses a context to the receiver of the message being encoded, with its name if there is one.
fn tell(cx: &Context, of: ContextId, name: Option<&str>) {
    let to = ENCODING.with_borrow_mut(|encoding| {
        let encoding = encoding.as_mut()?;
        encoding.named.push(of);
        Some(encoding.to)
    });
    if let Some(to) = to {
        let memory = DisclosureLog::of(cx);
        memory.tell(&cx.node().lock(), to, of, name);
    }
}

/// Discloses the context of a hub. A hub of this process is disclosed by its key alone.
pub(crate) fn tell_of_hub(cx: &Context, at: ContextId) {
    if cx.node().lock().node.id() != at {
        tell(cx, at, None);
    }
}

/// Decodes a value of `message` from `at` on, bound to the context `cx`. The message came from
/// `origin`, called `whose` in errors. Large blobs keep the memory of the message.
///
/// # Errors
/// Returns an error if the bytes are not a `T`, or name what the sender may not name.
pub(crate) fn decode_incoming<T: DeserializeOwned>(
    cx: &Context,
    (origin, whose): (Origin, &str),
    message: &Arc<Vec<u8>>,
    at: usize,
) -> Result<T, Error> {
    decode_incoming_with(cx, (origin, whose), || codec::from_message(message, at))
}

/// Decodes values by `work`, bound to the context `cx`.
///
/// # Errors
/// Returns an error as [`decode_incoming`] does.
pub(crate) fn decode_incoming_with<T>(
    cx: &Context,
    (origin, whose): (Origin, &str),
    work: impl FnOnce() -> Result<T, CodecError>,
) -> Result<T, Error> {
    /// Restores the previous state, also after a panic in the `Deserialize` of a user's type.
    struct Before(Option<Decoding>);
    impl Drop for Before {
        fn drop(&mut self) {
            DECODING.replace(self.0.take());
        }
    }
    let decoding = Decoding {
        cx: cx.clone(),
        origin,
        refused: None,
    };
    let before = Before(DECODING.replace(Some(decoding)));
    let outcome = work();
    let refused = DECODING.with_borrow_mut(|decoding| {
        decoding
            .as_mut()
            .and_then(|decoding| decoding.refused.take())
    });
    drop(before);
    outcome.map_err(|error| match refused {
        Some(detail) => Error::Undelivered {
            context: whose.into(),
            reason: Reason::Refused,
            detail,
        },
        None => codec_error(whose, error),
    })
}

/// Returns the context that decodes `what`, which names the context `id`, and the origin of the
/// message.
///
/// # Errors
/// Returns an error if this thread decodes no message, and if its sender may not name `id`.
pub(crate) fn current_context<E: de::Error>(
    what: &str,
    named: NameKind,
    id: ContextId,
) -> Result<(Context, Origin), E> {
    let found = DECODING.with_borrow(|decoding| {
        decoding
            .as_ref()
            .map(|decoding| (decoding.cx.clone(), decoding.origin))
    });
    let Some((cx, origin)) = found else {
        return Err(E::custom(format_args!(
            "{what} can be decoded only from a message of a context"
        )));
    };
    let memory = DisclosureLog::of(&cx);
    let core = cx.node().lock();
    if memory.may_name(&core, origin, named, id) {
        drop(core);
        return Ok((cx, origin));
    }
    let name = core
        .names
        .get(&id)
        .map(|name| format!(" ({name})"))
        .unwrap_or_default();
    drop(core);
    let text = format!(
        "its message holds {what} of {id}{name}, which is neither itself nor below it, and of which this process has not told it; \
         where that is meant, let it send the number, and use Context::by_id"
    );
    DECODING.with_borrow_mut(|decoding| {
        decoding
            .as_mut()
            .map(|decoding| decoding.refused.get_or_insert(text).len())
    });
    Err(E::custom("it names a context that its sender may not name"))
}

/// Returns the name for a context that a message from `origin` calls `claimed`: the known name, or
/// the claimed one if it cannot be mistaken for the name of a context of others.
fn called(cx: &Context, origin: Origin, id: ContextId, claimed: &str) -> Arc<str> {
    let memory = DisclosureLog::of(cx);
    let core = cx.node().lock();
    let known = core.names.get(&id).cloned().or_else(|| memory.name(id));
    let obeyed = core
        .node
        .permits(Policy::Ancestors, origin.peer, origin.auth);
    let within = |whose: &Arc<str>| {
        claimed
            .strip_prefix(&**whose)
            .is_some_and(|rest| rest.starts_with('.'))
    };
    match (known, core.names.get(&origin.peer)) {
        (Some(known), _) => known,
        (None, Some(whose)) if !obeyed && !within(whose) => core.name_of(id),
        _ => claimed.into(),
    }
}

/// A context is sent as its id and name, and becomes a context of the receiver's tree.
impl Serialize for Context {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        err_outside_frame("a Context")?;
        tell(self, self.id(), Some(self.name()));
        (self.id(), self.name()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Context {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (id, name) = <(ContextId, String)>::deserialize(deserializer)?;
        let (cx, origin) = current_context("a Context", NameKind::Context, id)?;
        if name.len() > NAME_LIMIT || name.chars().any(is_harmful) {
            return Err(de::Error::custom(
                "the name of a Context is too long or no text",
            ));
        }
        let name = called(&cx, origin, id, &name);
        Ok(cx.rebound(id, &name))
    }
}
