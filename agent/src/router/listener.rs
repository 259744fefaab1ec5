//! A socket on which other processes of this user join the tree. A thread of its own answers it: nobody who connects can
//! hold up the node, nor each other.

use crate::broker::Broker;
use crate::broker::inbox::Inbox;
use crate::call::signatures::differing;
use crate::call::signatures::names;
use crate::context::Context;
use crate::router::Router;
use crate::router::socket_file::Bound;
use crate::runtime::build::BUILD;
use crate::runtime::slot::ReplySlot;
use crate::runtime::state::Endpoint;
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

/// How many connections may be there that have not said yet who they are. One more ends the oldest.
const PENDING: usize = 16;

/// How long each has for that.
const GREETING: Duration = Duration::from_secs(5);

/// How many who have joined may wait for [`Listener::accept`]; more are not told of.
const UNSEEN: usize = 1024;

/// How long is waited where the system gives no descriptor for a connection.
const BREATH: Duration = Duration::from_millis(100);

/// A socket on which other processes of this user join the tree, for as long as this lives: see [`Router::listen`].
/// Dropping it takes the socket away; who has joined stays.
pub struct Listener {
    inner: Arc<Inner>,
    joined: Arc<Joined>,
}

/// Those who have joined and whom nobody has been told of. Any number of threads may wait here, each as long as it likes.
#[derive(Default)]
struct Joined {
    /// And whether nobody comes any more.
    waiting: Mutex<(VecDeque<Context>, bool)>,
    came: Condvar,
}

impl Joined {
    fn lock(&self) -> MutexGuard<'_, (VecDeque<Context>, bool)> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// The next, an error where there is none any more, and nothing where the time is up.
    fn take(&self, timeout: Option<Duration>) -> Option<Result<Context>> {
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut waiting = self.lock();
        loop {
            if let Some(context) = waiting.0.pop_front() {
                return Some(Ok(context));
            }
            if waiting.1 {
                return Some(Err(Error::ShutDown));
            }
            waiting = match until {
                None => self.came.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return None;
                    }
                    self.came.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

/// What the listener's thread and its owner share.
struct Inner {
    bound: Bound,
    end: EventFd,
}

impl Inner {
    /// The socket is taken away while it is still listened on; then its thread ends.
    fn stop(&self) {
        self.bound.unlink();
        let _ = self.end.write(1);
    }
}

impl Router {
    /// Listens at `path` for other processes of this user that want to [`join`](crate::router::join) the tree. Each that does becomes
    /// a child of this process's context, and has its authority: it may do to those below what this process may, and to
    /// this process, too. It is called like any other context.
    ///
    /// The socket is for this user alone, and the user of whoever connects is checked as well. A socket that was left over is
    /// replaced. It is gone when the listener is dropped or the router ends.
    ///
    /// # Errors
    /// When another process listens there, something else is there, or the system does not let it be made.
    pub fn listen(&self, path: impl AsRef<Path>) -> Result<Listener> {
        let action = "watching a descriptor";
        let end = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        let end = end.map_err(|error| Error::system(action, error))?;
        let (bound, socket) = Bound::new(path.as_ref())?;
        let inner = Arc::new(Inner { bound, end });
        let joined = Arc::new(Joined::default());
        let listener = Listener { inner: Arc::clone(&inner), joined: Arc::clone(&joined) };
        let slot = ReplySlot::new(None);
        let flow = self.node().with(|core| {
            if core.stopped {
                return Err(Error::ShutDown);
            }
            // It ends with the node.
            let own = core.node.id();
            let flow = core.node.watch(own);
            core.endpoints.insert(flow, Endpoint::Reply(Arc::clone(&slot)));
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
    /// Where the socket is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.inner.bound.path()
    }

    /// Waits for the next process that joins, and gives its context. Processes join whether or not anybody calls this.
    ///
    /// # Errors
    /// [`Error::ShutDown`] when the router has ended.
    pub fn accept(&self) -> Result<Context> {
        self.joined.take(None).unwrap_or(Err(Error::ShutDown))
    }

    /// The same, but waits not longer than `timeout`.
    ///
    /// # Errors
    /// As [`Listener::accept`]; [`Error::TimedOut`] when the time is up.
    pub fn accept_timeout(&self, timeout: Duration) -> Result<Context> {
        let late = || {
            let context = self.path().display().to_string();
            Err(Error::TimedOut { context, after_ms: timeout.as_millis() as u64 })
        };
        self.joined.take(Some(timeout)).unwrap_or_else(late)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.inner.stop();
    }
}

/// A connection that has not said yet who it is.
struct Pending {
    stream: UnixStream,
    process: u32,
    decoder: Decoder,
    bytes: Vec<u8>,
    until: Instant,
}

/// What the listener's thread has.
struct Acceptor {
    socket: UnixListener,
    inner: Arc<Inner>,
    place: Context,
    /// Ends with the node.
    flow: FlowKey,
    joined: Arc<Joined>,
    pending: Vec<Pending>,
    /// Whom the kernel shows to those who connect: the user of the moment when it was listened.
    user: u32,
    /// Until when nobody is let in, for want of descriptors.
    closed: Option<Instant>,
}

impl Acceptor {
    fn keep(mut self) {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let now = Instant::now();
            self.closed = self.closed.filter(|until| *until > now);
            self.pending.retain(|pending| pending.until > now);
            let next = self.pending.iter().map(|pending| pending.until).chain(self.closed).min();
            let patience = next.map_or(PollTimeout::NONE, |next| {
                let left = next.saturating_duration_since(now) + Duration::from_millis(1);
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            });
            let wanted = if self.closed.is_some() { PollFlags::empty() } else { PollFlags::POLLIN };
            let mut polled = vec![
                PollFd::new(self.inner.end.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.socket.as_fd(), wanted),
            ];
            polled.extend(
                self.pending.iter().map(|pending| PollFd::new(pending.stream.as_fd(), PollFlags::POLLIN)),
            );
            if poll(&mut polled, patience).is_err_and(|error| error != offshoot_sys::errno::Errno::EINTR) {
                break;
            }
            let ready: Vec<bool> = polled.iter().map(|polled| polled.any().unwrap_or(false)).collect();
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

    /// Lets in who is at the door.
    fn open(&mut self) {
        loop {
            let stream = match self.socket.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    self.say(format!("letting a process join: {error}"));
                    self.closed = Some(Instant::now() + BREATH);
                    return;
                }
            };
            let own = offshoot_sys::user::effective();
            if own != self.user {
                self.say(format!(
                    "nobody may join: the socket is user {}'s, and this is user {own}",
                    self.user
                ));
                refuse(&stream, "the process that listens has changed its user since; have it listen anew");
                continue;
            }
            match peer(&stream).and_then(|found| stream.set_nonblocking(true).map(|()| found)) {
                Ok(found) if found.user == own => {
                    if self.pending.len() == PENDING {
                        self.pending.remove(0);
                    }
                    let (decoder, until) = (Decoder::default(), Instant::now() + GREETING);
                    let process = found.process;
                    self.pending.push(Pending { stream, process, decoder, bytes: Vec::new(), until });
                }
                Ok(found) => {
                    self.say(format!(
                        "process {} of user {} may not join: this is user {own}",
                        found.process, found.user
                    ));
                    refuse(&stream, "only processes of the same user can join");
                }
                Err(error) => self.say(format!("who wants to join cannot be found out: {error}")),
            }
        }
    }

    /// Hears what a connection says; gives it back if that is not all yet.
    fn hear(&mut self, mut pending: Pending, buffer: &mut [u8]) -> Option<Pending> {
        let mut bytes = match sys::read(&pending.stream, buffer) {
            Ok(Some(count @ 1..)) => &buffer[..count],
            Ok(None) => return Some(pending),
            _ => return None,
        };
        pending.bytes.extend_from_slice(bytes);
        // The decoder holds a frame's length against its limit before anything is kept.
        match pending.decoder.next_frame(&mut bytes) {
            Ok(None) => return Some(pending),
            Ok(Some(frame)) if frame.header.kind == Kind::Hello => {
                match codec::from_own::<Hello>(&frame.payload) {
                    Ok(hello) if hello.build == BUILD => match differing(&hello.functions).1.as_slice() {
                        [] => self.admit(pending),
                        others => refuse(
                            &pending.stream,
                            &format!("the two programs mean different things by {}", names(others)),
                        ),
                    },
                    _ => refuse(
                        &pending.stream,
                        "it was built from other sources; build both anew from the same",
                    ),
                }
            }
            _ => refuse(&pending.stream, "it does not speak this protocol"),
        }
        None
    }

    /// The broker takes over who has said hello.
    fn admit(&self, pending: Pending) {
        let Pending { stream, process, bytes, .. } = pending;
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
                // Where nobody listens to the news any more they are still in.
                Ok(()) => joined.put(context),
                Err(error) => {
                    broker.shared().say(Level::WARN, format!("{context} could not join: {error}"));
                }
            }
        });
        Inbox::of(&shared).put(&shared, guest);
    }
}

/// Says why, as far as the other side reads.
fn refuse(stream: &UnixStream, why: &str) {
    let _ = sys::write(stream, format!("{REFUSED}{why}\n").as_bytes());
}
