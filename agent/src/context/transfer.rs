//! What happens to values that are more than bytes when they leave this process and when they arrive: contexts, senders and
//! streams are bound to the place where they arrive, and what leaves is noted by whoever sends it.
//!
//! A value's own `Serialize` and `Deserialize` find here where they are; outside of a frame there is no such place, and
//! they refuse. So they do where the message comes from somebody who may not name what they name ([`told`](crate::told)).

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

/// The longest name of a context that is believed.
const NAME_LIMIT: usize = 512;

thread_local! {
    static DECODING: RefCell<Option<Decoding>> = const { RefCell::new(None) };
    /// Of the message that is being written, if one is.
    static ENCODING: RefCell<Option<Encoding>> = const { RefCell::new(None) };
    /// Whether a function runs that has the node locked.
    static LOCKED: Cell<bool> = const { Cell::new(false) };
}

/// Where a message is read, and whose it is.
struct Decoding {
    cx: Context,
    origin: Origin,
    /// What in it may not be named by the one it comes from.
    refused: Option<String>,
}

/// A message that is being written.
struct Encoding {
    to: ContextId,
    /// Whether it is a call, with which what goes along with it ends.
    call: bool,
    callbacks: Vec<DeliveryCallback>,
    /// The contexts that it names.
    named: Vec<ContextId>,
}

impl Encoding {
    fn to((to, call): (ContextId, bool)) -> Encoding {
        Encoding { to, call, callbacks: Vec::new(), named: Vec::new() }
    }
}

/// A value that leaves.
pub(crate) struct Outgoing {
    /// What goes over the wire.
    pub message: Message,
    /// Whether a secret is in it.
    pub secret: bool,
    /// Whom to tell when it is known to have arrived, or not to.
    pub callbacks: Vec<DeliveryCallback>,
    /// The contexts that it names.
    pub named: Vec<ContextId>,
}

/// Writes a value behind `head` for a context, and says whether that is a call whose end is waited for.
///
/// # Errors
/// When it does not serialise or is too large.
pub(crate) fn encode_outgoing<T: Serialize>(
    head: Vec<u8>,
    value: &T,
    to: (ContextId, bool),
) -> Result<Outgoing, CodecError> {
    let before = ENCODING.replace(Some(Encoding::to(to)));
    offshoot_codec::was_written();
    let message = codec::to_message(head, value);
    let Encoding { callbacks, named, .. } = ENCODING.replace(before).unwrap_or_else(|| Encoding::to(to));
    match message {
        Ok(message) => Ok(Outgoing { message, secret: offshoot_codec::was_written(), callbacks, named }),
        Err(error) => {
            abandon(callbacks);
            Err(error)
        }
    }
}

/// Runs `work`, which gives a reply to the context `to`; with it comes what is to be called if that does not leave.
pub(crate) fn encode_reply(
    to: ContextId,
    work: impl FnOnce() -> Vec<u8>,
) -> (Vec<u8>, Vec<DeliveryCallback>) {
    let before = ENCODING.replace(Some(Encoding::to((to, false))));
    let reply = work();
    let mut callbacks = ENCODING.replace(before).map_or_else(Vec::new, |encoding| encoding.callbacks);
    if offshoot_proto::message::outcome::is_failed(&reply) {
        // What the function gave did not serialise, or not all of it.
        abandon(std::mem::take(&mut callbacks));
    }
    (reply, callbacks)
}

/// Does `work` where the node is locked by this thread.
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

/// Changes the node because of something that is dropped, which may be in a quick function: there, as soon as that has ended.
pub(crate) fn soon(node: &Arc<NodeHandle>, work: impl FnOnce(&mut NodeState) + Send + 'static) {
    if LOCKED.get() {
        let (workers, node) = (node.workers.hire(&node.waker), Arc::clone(node));
        let _taken_but_for_a_flood = workers.run(None, 0, Box::new(move || node.with(work)));
    } else {
        node.with(work);
    }
}

/// What these were for has not left, or has come to its end. Not to be called with the node locked.
pub(crate) fn abandon(callbacks: Vec<DeliveryCallback>) {
    callbacks.into_iter().for_each(|callback| callback(None));
}

/// Notes something for whoever sends the value that is being written.
pub(crate) fn on_delivery(callback: DeliveryCallback) {
    ENCODING.with_borrow_mut(|encoding| encoding.as_mut().map(|encoding| encoding.callbacks.push(callback)));
}

/// Whether what is being written is a call with which all ends that go along with it.
pub(crate) fn is_in_call() -> bool {
    ENCODING.with_borrow(|encoding| encoding.as_ref().is_some_and(|encoding| encoding.call))
}

/// Whether a value is being written that may hold what is bound to a place.
///
/// # Errors
/// Where nothing is written for another context, and in the reply of a function that runs with the node locked.
pub(crate) fn err_outside_frame<E: ser::Error>(what: &str) -> Result<(), E> {
    match (offshoot_codec::is_in_frame(), ENCODING.with_borrow(Option::is_some)) {
        (true, true) => Ok(()),
        (true, false) => Err(E::custom(format_args!(
            "{what} cannot be what a quick function gives, which runs while its context is locked: leave out `quick`"
        ))),
        (false, _) => Err(E::custom(format_args!("{what} travels only in a frame of the tree"))),
    }
}

/// The message that is being written at `cx` tells its receiver of a context, by name if it has one.
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

/// The same for the place of a hub; that of this process is told by its key alone.
pub(crate) fn tell_of_hub(cx: &Context, at: ContextId) {
    if cx.node().lock().node.id() != at {
        tell(cx, at, None);
    }
}

/// Reads a value from `at` on that came from `origin`, called `whose`, in the context `cx`, to which what is in it is bound. Large
/// blobs keep the message's memory.
///
/// # Errors
/// When the bytes are no `T`, or name what is not the sender's to name.
pub(crate) fn decode_incoming<T: DeserializeOwned>(
    cx: &Context,
    (origin, whose): (Origin, &str),
    message: &Arc<Vec<u8>>,
    at: usize,
) -> Result<T, Error> {
    decode_incoming_with(cx, (origin, whose), || codec::from_message(message, at))
}

/// Does what reads values in the context `cx`.
///
/// # Errors
/// As [`decode_incoming`].
pub(crate) fn decode_incoming_with<T>(
    cx: &Context,
    (origin, whose): (Origin, &str),
    work: impl FnOnce() -> Result<T, CodecError>,
) -> Result<T, Error> {
    /// Puts back what was there, whatever happens: what a program has written may panic.
    struct Before(Option<Decoding>);
    impl Drop for Before {
        fn drop(&mut self) {
            DECODING.replace(self.0.take());
        }
    }
    let decoding = Decoding { cx: cx.clone(), origin, refused: None };
    let before = Before(DECODING.replace(Some(decoding)));
    let outcome = work();
    let refused =
        DECODING.with_borrow_mut(|decoding| decoding.as_mut().and_then(|decoding| decoding.refused.take()));
    drop(before);
    outcome.map_err(|error| match refused {
        Some(detail) => Error::Undelivered { context: whose.into(), reason: Reason::Refused, detail },
        None => codec_error(whose, error),
    })
}

/// Where this thread is reading `what`, a value that names the context `id`; and from whom it comes.
///
/// # Errors
/// Where it reads none, and where whoever has sent it may not name that one.
pub(crate) fn current_context<E: de::Error>(
    what: &str,
    named: NameKind,
    id: ContextId,
) -> Result<(Context, Origin), E> {
    let found = DECODING
        .with_borrow(|decoding| decoding.as_ref().map(|decoding| (decoding.cx.clone(), decoding.origin)));
    let Some((cx, origin)) = found else {
        return Err(E::custom(format_args!("{what} arrives only in a frame of the tree")));
    };
    let memory = DisclosureLog::of(&cx);
    let core = cx.node().lock();
    if memory.may_name(&core, origin, named, id) {
        drop(core);
        return Ok((cx, origin));
    }
    let name = core.names.get(&id).map(|name| format!(" ({name})")).unwrap_or_default();
    drop(core);
    let text = format!(
        "its message holds {what} of {id}{name}, which is neither itself nor below it, and of which this process has not told it; \
         where that is meant, let it send the number, and use Context::by_id"
    );
    DECODING.with_borrow_mut(|decoding| {
        decoding.as_mut().map(|decoding| decoding.refused.get_or_insert(text).len())
    });
    Err(E::custom("it names what it may not"))
}

/// What a context is called that a message from `origin` calls `claimed`: as it is known here, and else as it is claimed, where
/// that does not make it look like something of others.
fn called(cx: &Context, origin: Origin, id: ContextId, claimed: &str) -> Arc<str> {
    let memory = DisclosureLog::of(cx);
    let core = cx.node().lock();
    let known = core.names.get(&id).cloned().or_else(|| memory.name(id));
    let obeyed = core.node.permits(Policy::Ancestors, origin.peer, origin.auth);
    let within = |whose: &Arc<str>| claimed.strip_prefix(&**whose).is_some_and(|rest| rest.starts_with('.'));
    match (known, core.names.get(&origin.peer)) {
        (Some(known), _) => known,
        (None, Some(whose)) if !obeyed && !within(whose) => core.name_of(id),
        _ => claimed.into(),
    }
}

/// Contexts travel as number and name; where they arrive they are contexts of the tree there.
impl Serialize for Context {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        err_outside_frame("a Context")?;
        tell(self, self.id(), Some(self.name()));
        (self.id(), self.name()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Context {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Context, D::Error> {
        let (id, name) = <(ContextId, String)>::deserialize(deserializer)?;
        let (cx, origin) = current_context("a Context", NameKind::Context, id)?;
        if name.len() > NAME_LIMIT || name.chars().any(is_harmful) {
            return Err(de::Error::custom("the name of a Context is too long or no text"));
        }
        let name = called(&cx, origin, id, &name);
        Ok(cx.rebound(id, &name))
    }
}
