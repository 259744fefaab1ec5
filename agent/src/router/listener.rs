//! A socket on which other processes of this user join the tree. A thread of its own serves it, so
//! that no connection can hold up the node or another connection.

use crate::broker::Broker;
use crate::broker::inbox::Inbox;
use crate::call::signatures::differing;
use crate::call::signatures::names;
use crate::context::Context;
use crate::router::Router;
use crate::router::socket_file::Bound;
use crate::runtime::build::BUILD;
use crate::runtime::extensions::locked;
use crate::runtime::slot::ReplySlot;
use crate::runtime::state::Endpoint;
use crate::runtime::wait;
use offshoot_codec as codec;
use offshoot_proto::Error;
use offshoot_proto::FlowKey;
use offshoot_proto::Result;
use offshoot_proto::message::handshake::Hello;
use offshoot_proto::message::handshake::REFUSED;
use offshoot_proto::wire::Decoder;
use offshoot_proto::wire::Kind;
use offshoot_sys as sys;
use offshoot_sys::eventfd::EfdFlags;
use offshoot_sys::eventfd::EventFd;
use offshoot_sys::poll::PollFd;
use offshoot_sys::poll::PollFlags;
use offshoot_sys::poll::PollTimeout;
use offshoot_sys::poll::poll;
use offshoot_sys::socket::peer;
use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;
use tracing::Level;

/// The most connections without a complete handshake. One more closes the oldest.
const PENDING: usize = 16;

/// The longest time for a handshake.
const GREETING: Duration = Duration::from_secs(5);

/// The most contexts that wait for [`Listener::accept`]; further ones join without being returned.
const UNSEEN: usize = 1024;

/// The pause after the system had no descriptor for a connection.
const BREATH: Duration = Duration::from_millis(100);

/// A socket on which other processes of this user join the tree, until it is dropped: see
/// [`Router::listen`]. Dropping it removes the socket; processes that have joined stay.
pub struct Listener {
    inner: Arc<Inner>,
    joined: Arc<Joined>,
}

/// Contexts that have joined and were not returned by `accept`. Any number of threads may wait.
#[derive(Default)]
struct Joined {
    /// The contexts, and true if no more can join.
    waiting: Mutex<(VecDeque<Context>, bool)>,
    came: Condvar,
}

impl Joined {
    fn lock(&self) -> MutexGuard<'_, (VecDeque<Context>, bool)> {
        locked(&self.waiting)
    }

    fn put(&self, context: Context) {
        let mut waiting = self.lock();
        if waiting.0.len() < UNSEEN {
            waiting.0.push_back(context);
            self.came.notify_one();
        }
    }

    fn close(&self) {
        self.lock().1 = true;
        self.came.notify_all();
    }

    /// Returns the next context, an error if no more can join, or none after `timeout`.
    fn take(&self, timeout: Option<Duration>) -> Option<Result<Context>> {
        let until = timeout.and_then(wait::deadline);
        let mut waiting = self.lock();
        loop {
            if let Some(context) = waiting.0.pop_front() {
                return Some(Ok(context));
            }
            if waiting.1 {
                return Some(Err(Error::ShutDown));
            }
            waiting = match until {
                None => self
                    .came
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = wait::left(until);
                    if left.is_zero() {
                        return None;
                    }
                    self.came
                        .wait_timeout(waiting, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }
}

/// The part that the listener's thread and its owner share.
struct Inner {
    bound: Bound,
    end: EventFd,
}

impl Inner {
    /// Removes the socket while it still listens, and then ends the thread.
    fn stop(&self) {
        self.bound.unlink();
        let _ = self.end.write(1);
    }
}

impl Router {
    /// Listens at `path` for other processes of this user that [`join`](crate::join) the
    /// tree. Each of them becomes a child of this process's context, with the authority of this
    /// process: it can do to the contexts below, and to this process, whatever this process can. It
    /// is called like any other context.
    ///
    /// The socket has mode 0600, and the user of each connecting process is checked as well. A
    /// stale socket at `path` is replaced. The socket is removed when the listener is dropped or
    /// the router ends.
    ///
    /// # Errors
    /// Returns an error if another process listens there, if another file is there, or if the
    /// system does not allow the socket.
    pub fn listen(&self, path: impl AsRef<Path>) -> Result<Listener> {
        let action = "watching a descriptor";
        let end = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        let end = end.map_err(|error| Error::system(action, error))?;
        let (bound, socket) = Bound::new(path.as_ref())?;
        let inner = Arc::new(Inner { bound, end });
        let joined = Arc::new(Joined::default());
        let listener = Listener {
            inner: Arc::clone(&inner),
            joined: Arc::clone(&joined),
        };
        let slot = ReplySlot::new(None);
        let flow = self.node().with(|core| {
            if core.stopped {
                return Err(Error::ShutDown);
            }
            // Ends with the node.
            let own = core.node.id();
            let flow = core.node.watch(own);
            core.endpoints
                .insert(flow, Endpoint::Reply(Arc::clone(&slot)));
            Ok(flow)
        })?;
        let at_the_end = (Arc::downgrade(&inner), Arc::downgrade(self.node()));
        slot.on_arrival(move || {
            if let Some(inner) = at_the_end.0.upgrade() {
                inner.stop();
            }
            if let Some(shared) = at_the_end.1.upgrade() {
                Inbox::of(&shared).clear();
            }
        });
        let door = Acceptor {
            socket,
            inner,
            place: Context::clone(self).unscoped(),
            flow,
            joined,
            user: offshoot_sys::user::effective(),
            pending: Vec::new(),
            closed: None,
        };
        std::thread::Builder::new()
            .name("listener".into())
            .spawn(move || door.keep())
            .map_err(|error| Error::system("starting the listener's thread", error))?;
        Ok(listener)
    }
}

impl Listener {
    /// Returns the path of the socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.inner.bound.path()
    }

    /// Waits for the next process that joins, and returns its context. Processes join whether or
    /// not this is called.
    ///
    /// # Errors
    /// Returns [`Error::ShutDown`] if the router has ended.
    pub fn accept(&self) -> Result<Context> {
        self.joined.take(None).unwrap_or(Err(Error::ShutDown))
    }

    /// Waits for the next process that joins, at most for `timeout`.
    ///
    /// # Errors
    /// Returns an error as [`Listener::accept`] does, and [`Error::TimedOut`] after `timeout`.
    pub fn accept_timeout(&self, timeout: Duration) -> Result<Context> {
        let late = || {
            let context = self.path().display().to_string();
            Err(Error::TimedOut {
                context,
                after_ms: timeout.as_millis() as u64,
            })
        };
        self.joined.take(Some(timeout)).unwrap_or_else(late)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.inner.stop();
    }
}

/// A connection without a complete handshake.
struct Pending {
    stream: UnixStream,
    process: u32,
    decoder: Decoder,
    bytes: Vec<u8>,
    until: Instant,
}

/// The state of the listener's thread.
struct Acceptor {
    socket: UnixListener,
    inner: Arc<Inner>,
    place: Context,
    /// Ends with the node.
    flow: FlowKey,
    joined: Arc<Joined>,
    pending: Vec<Pending>,
    /// The user that connecting processes see as the owner: the one at the time of `listen`.
    user: u32,
    /// The end of a pause after the system had no descriptor.
    closed: Option<Instant>,
}

impl Acceptor {
    fn keep(mut self) {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let now = wait::now();
            self.closed = self.closed.filter(|until| *until > now);
            self.pending.retain(|pending| pending.until > now);
            let next = self
                .pending
                .iter()
                .map(|pending| pending.until)
                .chain(self.closed)
                .min();
            let patience = next.map_or(PollTimeout::NONE, |next| {
                let left = next.saturating_duration_since(now) + Duration::from_millis(1);
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            });
            let wanted = if self.closed.is_some() {
                PollFlags::empty()
            } else {
                PollFlags::POLLIN
            };
            let mut polled = vec![
                PollFd::new(self.inner.end.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.socket.as_fd(), wanted),
            ];
            polled.extend(
                self.pending
                    .iter()
                    .map(|pending| PollFd::new(pending.stream.as_fd(), PollFlags::POLLIN)),
            );
            if poll(&mut polled, patience)
                .is_err_and(|error| error != offshoot_sys::errno::Errno::EINTR)
            {
                break;
            }
            let ready: Vec<bool> = polled
                .iter()
                .map(|polled| polled.any().unwrap_or(false))
                .collect();
            drop(polled);
            if ready[0] {
                break;
            }
            let told: Vec<bool> = ready[2..].to_vec();
            for (at, pending) in std::mem::take(&mut self.pending).into_iter().enumerate() {
                if !told[at] {
                    self.pending.push(pending);
                } else if let Some(silent) = self.hear(pending, &mut buffer) {
                    self.pending.push(silent);
                }
            }
            if ready[1] {
                self.open();
            }
        }
        self.joined.close();
        self.inner.stop();
        let over = self.place.node().with(|core| {
            core.node.unwatch(self.flow);
            core.forget(self.flow)
        });
        drop(over);
    }

    fn say(&self, text: String) {
        self.place.node().say(Level::WARN, text);
    }

    /// Accepts all waiting connections.
    fn open(&mut self) {
        loop {
            let stream = match self.socket.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    self.say(format!("accepting a process that joins: {error}"));
                    self.closed = Some(wait::now() + BREATH);
                    return;
                }
            };
            let own = offshoot_sys::user::effective();
            if own != self.user {
                self.say(format!(
                    "no process can join: the socket belongs to user {}, and this process runs as user {own}",
                    self.user
                ));
                refuse(
                    &stream,
                    "the listening process has changed its user and has to listen again",
                );
                continue;
            }
            match peer(&stream).and_then(|found| stream.set_nonblocking(true).map(|()| found)) {
                Ok(found) if found.user == own => {
                    if self.pending.len() == PENDING {
                        self.pending.remove(0);
                    }
                    let (decoder, until) = (Decoder::default(), wait::now() + GREETING);
                    let process = found.process;
                    self.pending.push(Pending {
                        stream,
                        process,
                        decoder,
                        bytes: Vec::new(),
                        until,
                    });
                }
                Ok(found) => {
                    self.say(format!(
                        "process {} of user {} may not join: this process runs as user {own}",
                        found.process, found.user
                    ));
                    refuse(&stream, "only processes of the same user can join");
                }
                Err(error) => self.say(format!(
                    "cannot identify a process that wants to join: {error}"
                )),
            }
        }
    }

    /// Reads from a connection. Returns it if the handshake is not complete yet.
    fn hear(&mut self, mut pending: Pending, buffer: &mut [u8]) -> Option<Pending> {
        let mut bytes = match sys::read(&pending.stream, buffer) {
            Ok(Some(count @ 1..)) => &buffer[..count],
            Ok(None) => return Some(pending),
            _ => return None,
        };
        pending.bytes.extend_from_slice(bytes);
        // The decoder checks the length of a frame before any of it is kept.
        match pending.decoder.next_frame(&mut bytes) {
            Ok(None) => return Some(pending),
            Ok(Some(frame)) if frame.header.kind == Kind::Hello => {
                match codec::from_own::<Hello>(&frame.payload) {
                    Ok(hello) if hello.build == BUILD => {
                        match differing(&hello.functions).1.as_slice() {
                            [] => self.admit(pending),
                            others => refuse(
                                &pending.stream,
                                &format!(
                                    "the two programs mean different things by {}",
                                    names(others)
                                ),
                            ),
                        }
                    }
                    _ => refuse(
                        &pending.stream,
                        "it was built from other sources; build both programs from the same sources",
                    ),
                }
            }
            _ => refuse(&pending.stream, "it does not speak this protocol"),
        }
        None
    }

    /// Hands a connection with a complete handshake to the broker.
    fn admit(&self, pending: Pending) {
        let Pending {
            stream,
            process,
            bytes,
            ..
        } = pending;
        let id = match self.place.allocate() {
            Ok(id) => id,
            Err(error) => return refuse(&stream, &error.to_string()),
        };
        let name = self.place.name_below(&format!("join.{process}"));
        let context = self.place.child(id, name.into());
        let joined = Arc::clone(&self.joined);
        let shared = Arc::clone(self.place.node());
        let guest = Box::new(move |broker: &mut Broker| {
            match broker.take_in(stream, context.id(), context.name(), &bytes) {
                // The context stays, also if the listener was dropped meanwhile.
                Ok(()) => joined.put(context),
                Err(error) => {
                    broker
                        .shared()
                        .say(Level::WARN, format!("{context} could not join: {error}"));
                }
            }
        });
        Inbox::of(&shared).put(&shared, guest);
    }
}

/// Sends the reason, without waiting for the peer to read it.
fn refuse(stream: &UnixStream, why: &str) {
    let _ = sys::write(stream, format!("{REFUSED}{why}\n").as_bytes());
}
