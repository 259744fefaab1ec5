//! What the threads of one node share: the state machine behind a lock, and the descriptors that its bytes leave by.
//!
//! Whoever changes the node also flushes it, so that a frame leaves on the thread that made it and no other thread has
//! to wake up for it. Reading is the broker's alone.

use crate::codec::MAX_MESSAGE;
use crate::connecting::Reused;
use crate::error::{DeadLetter, Error, Reason, Result};
use crate::id::{ContextId, FlowKey, Handle, LinkId};
use crate::images::Images;
use crate::map::Map;
use crate::node::{Node, Opening};
use crate::outflow::LinkIo;
use crate::reply::Slot;
use crate::stream::StreamState;
use crate::table::Table;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd::{Gid, Uid};
use std::sync::atomic::{AtomicU8, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard};

/// How many log records may wait for the broker.
const LOG_LIMIT: usize = 256;

/// Where the bytes of a flow that come in go to.
pub(crate) enum Endpoint {
    /// A reply that somebody waits for, and what has come of it.
    Reply(Arc<Slot>, Vec<u8>),
    /// A stream that somebody reads or writes.
    Stream(Arc<StreamState>),
    /// A request that is not whole yet.
    Request(Request),
    /// A stream of a program that the broker runs: its number, and which stream.
    Program(u32, u8),
    /// A request that is being carried out.
    Busy,
    /// An image from the root, for the child that connects over this link.
    Image(LinkId, Vec<u8>),
}

/// A request as it comes in.
pub(crate) struct Request {
    pub service: Handle,
    pub auth: ContextId,
    pub streams: u8,
    pub child: Option<(ContextId, LinkId)>,
    pub bytes: Vec<u8>,
}

impl Drop for Request {
    fn drop(&mut self) {
        if self.service == Handle::CONNECT {
            crate::secret::zero(&mut self.bytes);
        }
    }
}

/// Bytes that wait for credit.
struct Outbox {
    bytes: Arc<Vec<u8>>,
    at: usize,
    secret: bool,
}

impl Outbox {
    /// Overwrites a secret that nobody else holds.
    fn wipe(&mut self) {
        if self.secret
            && let Some(bytes) = Arc::get_mut(&mut self.bytes)
        {
            crate::secret::zero(bytes);
        }
    }
}

/// What another thread wants the broker to do.
pub(crate) enum Order {
    /// End all children, then the broker.
    Stop,
}

/// Somebody to wake once the lock is released.
pub(crate) enum Wake {
    Slot(Arc<Slot>, Result<Vec<u8>>),
    Stream(Arc<StreamState>),
}

/// The state behind the lock.
pub(crate) struct Core {
    pub node: Node,
    pub io: Table<LinkId, LinkIo>,
    pub endpoints: Map<FlowKey, Endpoint>,
    outboxes: Map<FlowKey, Outbox>,
    /// What frames are written from, where a link takes all at once.
    pub scratch: Vec<u8>,
    pub orders: Vec<Order>,
    pub wakes: Vec<Wake>,
    pub images: Images,
    pub names: Table<ContextId, Arc<str>>,
    /// Numbers for contexts that were granted to this node: the next, and where they end.
    pub granted: (u32, u32),
    pub stopped: bool,
    /// Events are handled by the broker alone; others wake it when they made some.
    pub unseen: bool,
}

impl Core {
    /// Sends a whole message on a flow, now or as credit comes.
    pub fn send_all(&mut self, flow: FlowKey, bytes: Vec<u8>, secret: bool) {
        self.send_shared(flow, Arc::new(bytes), secret);
    }

    /// The same for bytes that are sent to many.
    pub fn send_shared(&mut self, flow: FlowKey, bytes: Arc<Vec<u8>>, secret: bool) {
        let taken = self.node.send(flow, &bytes, true, secret);
        self.keep_rest(flow, bytes, taken, secret);
    }

    fn keep_rest(&mut self, flow: FlowKey, bytes: Arc<Vec<u8>>, taken: Option<usize>, secret: bool) {
        let mut outbox = Outbox { bytes, at: 0, secret };
        match taken {
            Some(at) if at < outbox.bytes.len() => {
                outbox.at = at;
                self.outboxes.insert(flow, outbox);
            }
            _ => outbox.wipe(),
        }
    }

    /// Opens a flow with a whole request.
    pub fn open(
        &mut self,
        dst: ContextId,
        service: Handle,
        request: Vec<u8>,
        opening: Opening,
        endpoint: impl FnOnce(FlowKey) -> Endpoint,
    ) -> FlowKey {
        let (flow, taken) = self.node.open(dst, service, &request, opening);
        let request = Arc::new(request);
        let endpoint = endpoint(flow);
        self.endpoints.insert(flow, endpoint);
        if taken < request.len() {
            let more = self.node.send(flow, &request[taken..], true, opening.secret);
            self.keep_rest(flow, request, more.map(|more| taken + more), opening.secret);
        } else {
            self.keep_rest(flow, request, Some(taken), opening.secret);
        }
        flow
    }

    /// A flow may go on: sends more of what waits for it.
    pub fn go_on(&mut self, flow: FlowKey) {
        let Some(outbox) = self.outboxes.get_mut(&flow) else { return };
        match self.node.send(flow, &outbox.bytes[outbox.at..], true, outbox.secret) {
            Some(taken) if outbox.at + taken < outbox.bytes.len() => outbox.at += taken,
            _ => {
                if let Some(mut outbox) = self.outboxes.remove(&flow) {
                    outbox.wipe();
                }
            }
        }
    }

    /// Forgets what waits on a flow that is over.
    pub fn forget(&mut self, flow: FlowKey) -> Option<Endpoint> {
        if let Some(mut outbox) = self.outboxes.remove(&flow) {
            outbox.wipe();
        }
        self.endpoints.remove(&flow)
    }

    /// The name of a context, for messages.
    pub fn name_of(&self, id: ContextId) -> Arc<str> {
        match self.names.get(&id) {
            Some(name) => Arc::clone(name),
            None if id == ContextId::ROOT => "controller".into(),
            None => format!("context {id}").into(),
        }
    }

    /// A dead letter about a flow as an error for whoever waits.
    pub fn error_of(&self, flow: FlowKey, letter: DeadLetter) -> Error {
        letter.into_error(&self.name_of(flow.peer))
    }
}

/// One node, as its threads see it.
pub(crate) struct Shared {
    core: Mutex<Core>,
    pub epoll: Epoll,
    pub waker: EventFd,
    /// The most detailed log level that travels up.
    pub log_level: AtomicU8,
    /// Bytes sent over all links, images included.
    pub sent: AtomicU64,
    logs: Mutex<Vec<Vec<u8>>>,
    /// In a root: the child that its programs run in, and for which user and group.
    pub programs: Mutex<Option<(ContextId, (Uid, Gid))>>,
    /// Contexts that are asked for by a key.
    pub reused: Reused,
}

/// The poller's name for the waker.
pub(crate) const WAKER: u64 = 0;

impl Shared {
    pub fn new(node: Node, images: Images) -> Result<Arc<Shared>> {
        let system = |error: nix::Error| Error::system("setting up the broker", error);
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(system)?;
        let waker = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).map_err(system)?;
        epoll.add(&waker, EpollEvent::new(EpollFlags::EPOLLIN, WAKER)).map_err(system)?;
        let core = Core {
            node,
            io: Table::default(),
            endpoints: Map::default(),
            outboxes: Map::default(),
            scratch: Vec::new(),
            orders: Vec::new(),
            wakes: Vec::new(),
            images,
            names: Table::default(),
            granted: (0, 0),
            stopped: false,
            unseen: false,
        };
        Ok(Arc::new(Shared {
            core: Mutex::new(core),
            epoll,
            waker,
            log_level: AtomicU8::new(0),
            sent: AtomicU64::new(0),
            logs: Mutex::new(Vec::new()),
            programs: Mutex::new(None),
            reused: Reused::default(),
        }))
    }

    pub fn lock(&self) -> MutexGuard<'_, Core> {
        // A panic while the lock is held is a defect of this crate; going on with the state beats taking every other
        // thread down with it.
        self.core.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Changes the node and sends what that makes, on this thread.
    pub fn with<T>(&self, work: impl FnOnce(&mut Core) -> T) -> T {
        let mut core = self.lock();
        let result = work(&mut core);
        self.release(core);
        result
    }

    /// Sends what is to be sent, releases the lock, and wakes who is to be woken.
    pub fn release(&self, mut core: MutexGuard<'_, Core>) {
        self.flush(&mut core);
        let wakes = std::mem::take(&mut core.wakes);
        let unseen = std::mem::take(&mut core.unseen);
        drop(core);
        for wake in wakes {
            match wake {
                Wake::Slot(slot, result) => slot.fill(result),
                Wake::Stream(stream) => stream.wake(),
            }
        }
        if unseen {
            self.wake();
        }
    }

    /// Has the broker look at the node.
    pub fn wake(&self) {
        let _ = self.waker.write(1);
    }

    /// Keeps a log record until the broker sends it: whoever logs may hold the lock.
    pub fn log_later(&self, record: Vec<u8>) {
        let mut logs = self.logs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if logs.len() < LOG_LIMIT {
            logs.push(record);
            drop(logs);
            self.wake();
        }
    }

    /// Hands the kept log records to the node.
    pub fn send_logs(&self, core: &mut Core) {
        let logs = std::mem::take(&mut *self.logs.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        for record in logs {
            core.node.log(record);
        }
    }

    /// Opens a flow whose reply somebody will wait for; `also` does what has to be done before anything can come.
    pub fn request(
        &self,
        dst: ContextId,
        service: Handle,
        request: Vec<u8>,
        opening: Opening,
        also: impl FnOnce(&mut Core, FlowKey),
    ) -> Result<(FlowKey, Arc<Slot>)> {
        if request.len() > MAX_MESSAGE {
            let context = self.lock().name_of(dst).to_string();
            let detail = format!("{} bytes, the limit is {MAX_MESSAGE}", request.len());
            return Err(Error::Undelivered { context, reason: Reason::TooLarge, detail });
        }
        let slot = Slot::new();
        self.with(|core| {
            if core.stopped {
                return Err(Error::ShutDown);
            }
            let flow =
                core.open(dst, service, request, opening, |_| Endpoint::Reply(Arc::clone(&slot), Vec::new()));
            also(core, flow);
            Ok((flow, slot))
        })
    }
}
