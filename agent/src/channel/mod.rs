//! Typed channels between contexts: any number of senders in any contexts, and one receiver. The
//! messages of one sender arrive in order; a receiver that does not receive makes its senders wait.
pub(crate) mod endpoint;
pub(crate) mod hub;
mod hub_state;
pub(crate) mod pipe;

use crate::channel::endpoint::ChannelEnd;
use crate::channel::endpoint::connect;
use crate::channel::hub::Hub;
use crate::channel::hub::given_up;
use crate::channel::hub::new_copy;
use crate::context::Context;
use crate::context::transfer::soon;
use crate::runtime::extensions::locked;
use crate::runtime::slot::DeliveryCallback;
use crate::runtime::state::NodeState;
use crate::runtime::stream_state::StreamState;
use crate::runtime::wait;
use futures_core::Stream;
use offshoot_proto::ContextId;
use offshoot_proto::Error;
use offshoot_proto::FlowKey;
use offshoot_proto::Reason;
use offshoot_proto::Result;
use offshoot_proto::error::{about_value, unsent};
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
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::task::Poll;
use std::task::Waker;
use std::time::Duration;
use std::time::Instant;

/// The bytes that may wait for credit before a sender blocks.
const AHEAD: usize = 64 << 10;

impl Context {
    /// Creates a channel in this process, whichever context this is. A message that is sent by the
    /// sender, or by any of its clones in any context, is received by the receiver.
    ///
    /// Both ends can be sent to other contexts as arguments or results; the receiver only before it
    /// was used. A context that has a sender can send, provided that the tree lets it reach this
    /// process. All messages pass through this process, which keeps those that wait for the
    /// receiver, up to a limit.
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
    /// Returns an error if the tree is shut down.
    pub fn channel<T>(&self) -> Result<(Sender<T>, Receiver<T>)> {
        let here = self.own();
        let hub = Hub::open(&here, true)?;
        let sender = Open::at(&here, hub.address, 0)?;
        let receiver = Receiver {
            socket: ChannelEnd::of(&here, &hub, EndpointRole::Reader),
            partial: Mutex::default(),
            message: PhantomData,
        };
        Ok((
            Sender {
                open: sender,
                message: PhantomData,
            },
            receiver,
        ))
    }
}

/// The sending end of a channel. Clones send to the same receiver. When the last clone in all
/// contexts is dropped, the receiver reaches the end of the channel; a clone that is dropped by a
/// panic first causes an error among the messages.
///
/// The messages of one sender arrive in order, but the reply to a call may arrive before messages
/// that its function sent. Only the end of the channel tells a receiver that it has them all.
pub struct Sender<T> {
    open: Arc<Open>,
    message: PhantomData<fn(T)>,
}

/// The part that all clones of a sender share.
struct Open(Arc<Inner>);

impl Open {
    fn at(context: &Context, address: Address, copy: u64) -> Result<Arc<Self>> {
        let (flow, state) = connect(context, address, EndpointRole::Writer, copy)?;
        Ok(Arc::new(Self(Arc::new(Inner {
            context: context.clone(),
            address,
            flow,
            state,
        }))))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (flow, failed) = (self.0.flow, record(FAILED, b"a panic has dropped a sender"));
            soon(self.0.context.node(), move |core| {
                core.append(flow, failed, false, false)
            });
        }
        // Without delivery callbacks the flow itself ends now, which says the same.
        if Arc::strong_count(&self.0) > 1 {
            self.0.tell(CLOSED, &[]);
        }
    }
}

/// The flow of a sender. The delivery callbacks of copies that were sent along with calls hold it
/// as well, to report what became of the copies.
struct Inner {
    context: Context,
    address: Address,
    flow: FlowKey,
    state: Arc<StreamState>,
}

impl Inner {
    /// Returns the error of a sender that cannot send any more.
    fn gone(&self, core: &NodeState) -> Error {
        let detail = "the receiver is gone".into();
        let context = || core.name_of(self.address.context).to_string();
        match self.state.failure() {
            // The process that the hub was in has forgotten the channel.
            Some(Error::Undelivered {
                reason: reason @ Reason::NoHandle,
                ..
            }) => Error::Undelivered {
                context: context(),
                reason,
                detail,
            },
            Some(error) => error,
            None => Error::Undelivered {
                context: context(),
                reason: Reason::Cancelled,
                detail,
            },
        }
    }

    /// Sends a record, once few bytes of earlier records are left to be sent.
    fn send(&self, record: Vec<u8>, secret: bool) -> Result<()> {
        let mut record = Some(record);
        loop {
            let turn = self.state.turn();
            if self.offer(&mut record, secret)? {
                return Ok(());
            }
            self.state.wait_after(turn);
        }
    }

    /// Sends a record if few bytes of earlier records are left to be sent. Returns false if it has
    /// to wait.
    fn offer(&self, record: &mut Option<Vec<u8>>, secret: bool) -> Result<bool> {
        self.context.node().with(|core| {
            if self.state.failure().is_some() || !core.node.knows(self.flow) {
                return Err(self.gone(core));
            }
            let room = core.waiting(self.flow) < AHEAD;
            if let Some(record) = record.take_if(|_| room) {
                core.append(self.flow, record, false, secret);
            }
            Ok(room)
        })
    }

    /// Sends a record about the sender itself, in order with its messages and without waiting.
    fn tell(&self, kind: u8, numbers: &[u64]) {
        let numbers: Vec<u8> = numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        let told = record(kind, &numbers);
        // If the receiver is gone, the record is of no use.
        let flow = self.flow;
        soon(self.context.node(), move |core| {
            core.append(flow, told, false, false)
        });
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
        Self {
            open: Arc::clone(&self.open),
            message: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sender(to {})", self.open.0.address.context)
    }
}

impl<T> Sender<T> {
    /// Sends an error with this text to the receiver, among the messages. More messages may follow.
    ///
    /// # Errors
    /// Returns an error as [`send`](Sender::send) does.
    pub fn fail(&self, why: &str) -> Result<()> {
        self.open.0.send(record(FAILED, why.as_bytes()), false)
    }

    /// Returns true if the receiver is known to be gone, so that nothing more can be sent.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        let inner = &self.open.0;
        // The node knows it before waiting threads are woken.
        inner.state.failure().is_some() || !inner.context.node().lock().node.knows(inner.flow)
    }
}

impl<T: Serialize> Sender<T> {
    /// Sends a message. Blocks while the receiver has too many bytes that it has not received; the
    /// limit is a window that grows with the path, beginning with that of every flow.
    ///
    /// # Errors
    /// Returns [`Error::Undelivered`] if the receiver is gone or does not accept messages of this
    /// length, and an error if the message does not serialise.
    pub fn send(&self, message: &T) -> Result<()> {
        let mut letter = self.letter(message)?;
        let sent = match letter.record.take() {
            Some(record) => letter.to.0.send(record, letter.secret),
            None => Ok(()),
        };
        letter.close(sent)
    }

    /// Sends a message as [`send`](Sender::send) does, without blocking the thread while the
    /// receiver has too many bytes. The message is encoded at once. Nothing is sent if the future
    /// is dropped before it completes.
    ///
    /// # Errors
    /// Returns an error as [`send`](Sender::send) does.
    pub fn send_async(&self, message: &T) -> impl Future<Output = Result<()>> + Send + use<T> {
        let mut letter = self.letter(message);
        poll_fn(move |cx| {
            let letter = match &mut letter {
                Ok(letter) => letter,
                Err(error) => return Poll::Ready(Err(error.clone())),
            };
            let sent = match letter.to.0.offer(&mut letter.record, letter.secret) {
                Ok(false) => {
                    letter.to.0.state.wake_later(cx.waker());
                    // Room that came before the waker was registered has woken nobody.
                    letter.to.0.offer(&mut letter.record, letter.secret)
                }
                offered => offered,
            };
            match sent {
                Ok(false) => Poll::Pending,
                sent => Poll::Ready(letter.close(sent.map(drop))),
            }
        })
    }

    /// Returns a message as it is sent.
    fn letter(&self, message: &T) -> Result<Letter> {
        let inner = &self.open.0;
        let to = inner.address.context;
        let leaving = offshoot_codec::read_as(offshoot_codec::facts_of::<T>(), || {
            crate::context::transfer::encode_outgoing(record(VALUE, &[]), message, (to, false))
        })
        .map_err(|error| {
            let error = unsent(inner.context.name(), error);
            about_value(error, "a message of type ", std::any::type_name::<T>())
        })?;
        if !leaving.named.is_empty() {
            inner.context.node().with(|core| {
                // The hub of this process forwards the message to the receiver, which learns the
                // names as well.
                let hub = core
                    .offered
                    .get(&inner.address.door())
                    .filter(|_| to == core.node.id())
                    .cloned();
                hub.inspect(|hub| hub.names(core, &leaving.named));
            });
        }
        let mut bytes = leaving.message.into_bytes();
        let length = bytes.len() - record(VALUE, &[]).len();
        bytes[..4].copy_from_slice(&(length as u32).to_le_bytes());
        Ok(Letter {
            to: Arc::clone(&self.open),
            record: Some(bytes),
            secret: leaving.secret,
            callbacks: leaving.callbacks,
        })
    }
}

/// An encoded message that is to be sent.
struct Letter {
    to: Arc<Open>,
    /// None once it was sent.
    record: Option<Vec<u8>>,
    secret: bool,
    /// The callbacks of the values in the message, to be abandoned if it is not sent.
    callbacks: Vec<DeliveryCallback>,
}

impl Letter {
    /// Drops the callbacks of a message that was sent; those of others run when it is dropped.
    fn close(&mut self, sent: Result<()>) -> Result<()> {
        if sent.is_ok() {
            self.callbacks.clear();
        }
        sent
    }
}

impl Drop for Letter {
    fn drop(&mut self) {
        crate::context::transfer::abandon(std::mem::take(&mut self.callbacks));
    }
}

impl<T> Serialize for Sender<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        crate::context::transfer::err_outside_frame("a Sender")?;
        // The receiver has to know the copy before the copy can be used.
        let copy = new_copy(crate::context::transfer::is_in_call());
        let inner = Arc::clone(&self.open.0);
        let address = inner.address;
        crate::context::transfer::tell_of_hub(&inner.context, address.context);
        inner.tell(COPY, &[copy]);
        crate::context::transfer::on_delivery(Box::new(move |error| {
            match error.and_then(given_up) {
                Some(after_ms) => inner.tell(LOSE, &[copy, after_ms]),
                None => inner.tell(VOID, &[copy]),
            }
        }));
        (address, copy).serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Sender<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let (address, copy): (Address, u64) = Deserialize::deserialize(deserializer)?;
        let (here, _) =
            crate::context::transfer::current_context("a Sender", NameKind::Hub, address.context)?;
        let open = Open::at(&here, address, copy).map_err(de::Error::custom)?;
        Ok(Self {
            open,
            message: PhantomData,
        })
    }
}

/// The receiving end of a channel. Iterating over it ends when all senders are closed. Dropping it
/// ends the channel: senders get an error.
pub struct Receiver<T> {
    socket: ChannelEnd,
    partial: Mutex<MessageBuffer>,
    message: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Receiver<T> {
    /// Waits for the next message.
    ///
    /// # Errors
    /// Returns [`RecvError::Closed`] if all senders are closed, and the error that arrived in place
    /// of a message.
    pub fn recv(&self) -> Received<T> {
        self.recv_until(None)
    }

    /// Waits for the next message, at most for `timeout`.
    ///
    /// # Errors
    /// Returns the errors of [`recv`](Receiver::recv), and [`RecvError::TimedOut`].
    pub fn recv_timeout(&self, timeout: Duration) -> Received<T> {
        // A deadline beyond the range of the clock never arrives.
        self.recv_until(wait::deadline(timeout))
    }

    /// Awaits the next message. No message is lost if the future is dropped.
    ///
    /// # Errors
    /// Returns the errors of [`recv`](Receiver::recv).
    pub fn recv_async(&self) -> impl Future<Output = Received<T>> + Send + use<'_, T> {
        poll_fn(|cx| self.poll(cx.waker()))
    }

    fn recv_until(&self, until: Option<Instant>) -> Received<T> {
        let mut partial = self.lock();
        let (shared, flow, state) = self
            .socket
            .bind(EndpointRole::Reader)
            .map_err(|error| partial.refused(error))?;
        loop {
            if let Some(found) = self.next(&mut partial) {
                return found;
            }
            let chunk = state
                .wait_for(usize::MAX, until)
                .ok_or(RecvError::TimedOut)?;
            let taken = partial.take(chunk);
            shared.with(|core| core.node.consume(flow, taken));
        }
    }

    fn lock(&self) -> MutexGuard<'_, MessageBuffer> {
        locked(&self.partial)
    }

    /// Polls for the next message; `Closed` at the end.
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

    /// Returns the next message from the bytes that have arrived.
    fn next(&self, partial: &mut MessageBuffer) -> Option<Received<T>> {
        let read = |(from, content): (ContextId, Vec<u8>)| {
            let here = self.socket.context().ok_or(RecvError::Closed)?;
            let (origin, name) = {
                let core = here.node().lock();
                let hub = self.socket.used().map_or(from, |(_, flow, _)| flow.peer);
                // A hub in another context is not trusted to name the senders.
                let believed = core.node.router.permits(Policy::Ancestors, hub, None);
                let origin = Origin::of(if believed { from } else { hub });
                (origin, core.name_of(origin.peer))
            };
            // The first bytes name the sender, the rest is the message.
            crate::context::transfer::decode_incoming(
                &here,
                (origin, &name),
                &Arc::new(content),
                SENT,
            )
            .map_err(|error| {
                let of = std::any::type_name::<T>();
                RecvError::Unreadable(about_value(error, "a message of type ", of))
            })
        };
        Some(partial.pop()?.and_then(read))
    }
}

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

/// The messages of a receiver and the errors among them, until all senders are closed.
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
    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<Received<T>>> {
        match self.poll(cx.waker()) {
            Poll::Ready(Err(RecvError::Closed)) => Poll::Ready(None),
            Poll::Ready(received) => Poll::Ready(Some(received)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T> Serialize for Receiver<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.socket
            .leave(EndpointRole::Reader)?
            .serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Receiver<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let socket = ChannelEnd::arrive(deserializer, EndpointRole::Reader)?;
        Ok(Self {
            socket,
            partial: Mutex::default(),
            message: PhantomData,
        })
    }
}
