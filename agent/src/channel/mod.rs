//! Typed channels between contexts: any number of senders, wherever they are, and one receiver. Messages of one sender arrive
//! in order; a receiver that does not receive holds its senders back.
pub(crate) mod endpoint;
pub(crate) mod hub;
pub(crate) mod pipe;

use crate::channel::endpoint::ChannelEnd;
use crate::channel::endpoint::connect;
use crate::channel::hub::Hub;
use crate::channel::hub::given_up;
use crate::channel::hub::new_copy;
use crate::context::Context;
use crate::context::transfer::soon;
use crate::runtime::state::NodeState;
use crate::runtime::stream_state::StreamState;
use futures_core::Stream;
use offshoot_proto::ContextId;
use offshoot_proto::Error;
use offshoot_proto::FlowKey;
use offshoot_proto::Reason;
use offshoot_proto::Result;
use offshoot_proto::message::channel::Address;
use offshoot_proto::message::channel::CLOSED;
use offshoot_proto::message::channel::COPY;
use offshoot_proto::message::channel::EndpointRole;
use offshoot_proto::message::channel::FAILED;
use offshoot_proto::message::channel::LOSE;
use offshoot_proto::message::channel::MessageBuffer;
use offshoot_proto::message::channel::Received;
use offshoot_proto::message::channel::RecvError;
use offshoot_proto::message::channel::SENT;
use offshoot_proto::message::channel::VALUE;
use offshoot_proto::message::channel::VOID;
use offshoot_proto::message::record::record;
use offshoot_proto::routing::NameKind;
use offshoot_proto::routing::Origin;
use offshoot_proto::routing::Policy;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use serde::de;
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::task::Poll;
use std::task::Waker;
use std::time::Duration;
use std::time::Instant;

/// So many bytes may wait for credit before a sender waits, too.
const AHEAD: usize = 64 << 10;

impl Context {
    /// A channel that is made in this process, whichever context this is: what is sent by the one end, or by any clone of it
    /// anywhere, is received at the other. Both ends may travel as arguments or results; the receiver as long as it was
    /// not used. Whoever has a sender may send, if the tree lets its context reach this one at all.
    ///
    /// ```no_run
    /// # use offshoot_agent as offshoot;
    /// # use offshoot::{Context, Sender, remote};
    /// #[remote(crate = offshoot)]
    /// fn count(to: u32, progress: Sender<u32>) -> offshoot::Result<()> {
    ///     for number in 0..to {
    ///         progress.send(&number)?;
    ///     }
    ///     Ok(())
    /// }
    ///
    /// # fn example(web: &Context) -> offshoot::Result<()> {
    /// let (progress, numbers) = web.channel()?;
    /// let reply = web.start(count { to: 10, progress });
    /// for number in &numbers {
    ///     println!("{}", number?);
    /// }
    /// reply.wait()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the tree is shut down.
    pub fn channel<T>(&self) -> Result<(Sender<T>, Receiver<T>)> {
        let here = self.own();
        let hub = Hub::open(&here, true)?;
        let sender = Open::at(&here, hub.address, 0)?;
        let receiver = Receiver {
            socket: ChannelEnd::of(&here, &hub, EndpointRole::Reader),
            partial: Mutex::default(),
            message: PhantomData,
        };
        Ok((Sender { open: sender, message: PhantomData }, receiver))
    }
}

/// The end of a channel by which messages are sent. Clones send to the same receiver. When the last clone everywhere is dropped, the
/// receiver is at its end; one that a panic drops is an error among the messages first.
///
/// Messages of one sender come in the order in which they were sent, but the answer to a call may overtake them: that a receiver
/// has all that a function has sent it is told by its end.
pub struct Sender<T> {
    open: Arc<Open>,
    message: PhantomData<fn(T)>,
}

/// What all clones of a sender have together.
struct Open(Arc<Inner>);

impl Open {
    fn at(context: &Context, address: Address, copy: u64) -> Result<Arc<Open>> {
        let (flow, state) = connect(context, address, EndpointRole::Writer, copy)?;
        Ok(Arc::new(Open(Arc::new(Inner { context: context.clone(), address, flow, state }))))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (flow, failed) = (self.0.flow, record(FAILED, b"a panic has dropped a sender"));
            soon(self.0.context.node(), move |core| core.append(flow, failed, false, false));
        }
        // Otherwise the flow itself ends now.
        if Arc::strong_count(&self.0) > 1 {
            self.0.tell(CLOSED, &[]);
        }
    }
}

/// The flow of a sender. Calls that have taken copies of it along hold it as well, to say what has become of them.
struct Inner {
    context: Context,
    address: Address,
    flow: FlowKey,
    state: Arc<StreamState>,
}

impl Inner {
    /// Why nothing more can be sent.
    fn gone(&self, core: &NodeState) -> Error {
        let detail = "the receiver is gone".into();
        let context = || core.name_of(self.address.context).to_string();
        match self.state.failure() {
            // Where it was, nobody remembers it.
            Some(Error::Undelivered { reason: reason @ Reason::NoHandle, .. }) => {
                Error::Undelivered { context: context(), reason, detail }
            }
            Some(error) => error,
            None => Error::Undelivered { context: context(), reason: Reason::Cancelled, detail },
        }
    }

    /// Sends a record when those before it have left but for little.
    fn send(&self, record: Vec<u8>, secret: bool) -> Result<()> {
        let mut record = Some(record);
        loop {
            let turn = self.state.turn();
            let sent = self.context.node().with(|core| {
                if self.state.failure().is_some() || !core.node.knows(self.flow) {
                    return Err(self.gone(core));
                }
                let room = core.waiting(self.flow) < AHEAD;
                if let Some(record) = record.take_if(|_| room) {
                    core.append(self.flow, record, false, secret);
                }
                Ok(room)
            })?;
            if sent {
                return Ok(());
            }
            self.state.wait_after(turn);
        }
    }

    /// Says something about the sender itself, in order with its messages and at once.
    fn tell(&self, kind: u8, numbers: &[u64]) {
        let numbers: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let told = record(kind, &numbers);
        // Where the receiver is gone nobody needs to know.
        let flow = self.flow;
        soon(self.context.node(), move |core| core.append(flow, told, false, false));
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let flow = self.flow;
        soon(self.context.node(), move |core| {
            core.append(flow, Vec::new(), true, false);
            core.endpoints.remove(&flow);
        });
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender { open: Arc::clone(&self.open), message: PhantomData }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sender(to {})", self.open.0.address.context)
    }
}

impl<T> Sender<T> {
    /// Has the receiver get an error with this text, among the messages. More may be sent after it.
    ///
    /// # Errors
    /// As [`send`](Sender::send).
    pub fn fail(&self, why: &str) -> Result<()> {
        self.open.0.send(record(FAILED, why.as_bytes()), false)
    }

    /// Whether the receiver is known to be gone, so that nothing more can be sent.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        let inner = &self.open.0;
        // The node knows before those who wait are told.
        inner.state.failure().is_some() || !inner.context.node().lock().node.knows(inner.flow)
    }
}

impl<T: Serialize> Sender<T> {
    /// Sends a message; waits while the receiver has too many that it has not received (by bytes: a window that grows with
    /// the path, see the rules of flows).
    ///
    /// # Errors
    /// [`Error::Undelivered`] when the receiver is gone or does not take messages that long, and when the message does not
    /// serialise.
    pub fn send(&self, message: &T) -> Result<()> {
        let inner = &self.open.0;
        let to = inner.address.context;
        let leaving = crate::context::transfer::encode_outgoing(record(VALUE, &[]), message, (to, false))
            .map_err(|error| offshoot_proto::error::unsent("this context", error))?;
        if !leaving.named.is_empty() {
            inner.context.node().with(|core| {
                // It goes on from here to whoever receives.
                let hub = core.offered.get(&inner.address.door()).filter(|_| to == core.node.id()).cloned();
                hub.inspect(|hub| hub.names(core, &leaving.named));
            });
        }
        let mut bytes = leaving.message.into_bytes();
        let length = bytes.len() - record(VALUE, &[]).len();
        bytes[..4].copy_from_slice(&(length as u32).to_le_bytes());
        let sent = inner.send(bytes, leaving.secret);
        if sent.is_err() {
            crate::context::transfer::abandon(leaving.callbacks);
        }
        sent
    }
}

impl<T> Serialize for Sender<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        crate::context::transfer::err_outside_frame("a Sender")?;
        // The receiver is told of the copy before the copy can be at work.
        let copy = new_copy(crate::context::transfer::is_in_call());
        let inner = Arc::clone(&self.open.0);
        let address = inner.address;
        crate::context::transfer::tell_of_hub(&inner.context, address.context);
        inner.tell(COPY, &[copy]);
        crate::context::transfer::on_delivery(Box::new(move |error| match error.and_then(given_up) {
            Some(after_ms) => inner.tell(LOSE, &[copy, after_ms]),
            None => inner.tell(VOID, &[copy]),
        }));
        (address, copy).serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Sender<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Sender<T>, D::Error> {
        let (address, copy): (Address, u64) = Deserialize::deserialize(deserializer)?;
        let (here, _) =
            crate::context::transfer::current_context("a Sender", NameKind::Hub, address.context)?;
        let open = Open::at(&here, address, copy).map_err(de::Error::custom)?;
        Ok(Sender { open, message: PhantomData })
    }
}

/// The end of a channel at which messages are received. Iterating over it ends when all senders are closed.
pub struct Receiver<T> {
    socket: ChannelEnd,
    partial: Mutex<MessageBuffer>,
    message: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Receiver<T> {
    /// The next message; waits for it.
    ///
    /// # Errors
    /// When there is none, or an error comes in its place.
    pub fn recv(&self) -> Received<T> {
        self.recv_until(None)
    }

    /// The same, but waits no longer than `timeout`.
    ///
    /// # Errors
    /// As [`recv`](Receiver::recv), and [`RecvError::TimedOut`].
    pub fn recv_timeout(&self, timeout: Duration) -> Received<T> {
        // A time that cannot be written down is never up.
        self.recv_until(Instant::now().checked_add(timeout))
    }

    fn recv_until(&self, until: Option<Instant>) -> Received<T> {
        let mut partial = self.lock();
        let (shared, flow, state) =
            self.socket.bind(EndpointRole::Reader).map_err(|error| partial.refused(error))?;
        loop {
            if let Some(found) = self.next(&mut partial) {
                return found;
            }
            let chunk = state.wait_for(usize::MAX, until).ok_or(RecvError::TimedOut)?;
            let taken = partial.take(chunk);
            shared.with(|core| core.node.consume(flow, taken));
        }
    }

    fn lock(&self) -> MutexGuard<'_, MessageBuffer> {
        self.partial.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next message as a `Future` asks; `Closed` at the end.
    pub(crate) fn poll(&self, waker: &Waker) -> Poll<Received<T>> {
        let mut partial = self.lock();
        let (shared, flow, state) = match self.socket.bind(EndpointRole::Reader) {
            Ok(bound) => bound,
            Err(error) => return Poll::Ready(Err(partial.refused(error))),
        };
        loop {
            if let Some(found) = self.next(&mut partial) {
                return Poll::Ready(found);
            }
            match state.poll(waker) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(chunk) => {
                    let taken = partial.take(chunk);
                    shared.with(|core| core.node.consume(flow, taken));
                }
            }
        }
    }

    /// What comes out of the bytes that are here.
    fn next(&self, partial: &mut MessageBuffer) -> Option<Received<T>> {
        let read = |(from, content): (ContextId, Vec<u8>)| {
            let here = self.socket.context().ok_or(RecvError::Closed)?;
            let (origin, name) = {
                let core = here.node().lock();
                let hub = self.socket.used().map_or(from, |(_, flow, _)| flow.peer);
                // Another's hub may say of its senders what it likes.
                let believed = core.node.router.permits(Policy::Ancestors, hub, None);
                let origin = Origin::of(if believed { from } else { hub });
                (origin, core.name_of(origin.peer))
            };
            // What is read is all but who has sent it.
            crate::context::transfer::decode_incoming(&here, (origin, &name), &Arc::new(content), SENT)
                .map_err(RecvError::Unreadable)
        };
        Some(partial.pop()?.and_then(read))
    }
}

/// So many bytes before a message say who has sent it.
impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.socket.give_up("the receiver was dropped");
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receiver")
    }
}

/// The messages of a receiver, with the errors among them, until all senders are closed.
pub struct Messages<'a, T>(&'a Receiver<T>);

impl<T: DeserializeOwned> Iterator for Messages<'_, T> {
    type Item = Received<T>;
    fn next(&mut self) -> Option<Received<T>> {
        match self.0.recv() {
            Err(RecvError::Closed) => None,
            received => Some(received),
        }
    }
}

impl<'a, T: DeserializeOwned> IntoIterator for &'a Receiver<T> {
    type Item = Received<T>;
    type IntoIter = Messages<'a, T>;
    fn into_iter(self) -> Messages<'a, T> {
        Messages(self)
    }
}

impl<T: DeserializeOwned> Stream for Receiver<T> {
    type Item = Received<T>;
    fn poll_next(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Option<Received<T>>> {
        match self.poll(cx.waker()) {
            Poll::Ready(Err(RecvError::Closed)) => Poll::Ready(None),
            Poll::Ready(received) => Poll::Ready(Some(received)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T> Serialize for Receiver<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.socket.leave(EndpointRole::Reader)?.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Receiver<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Receiver<T>, D::Error> {
        let socket = ChannelEnd::arrive(deserializer, EndpointRole::Reader)?;
        Ok(Receiver { socket, partial: Mutex::default(), message: PhantomData })
    }
}
