//! The handle that the threads of a node share: the state machine behind a lock, and the writing
//! ends of the links.
//!
//! The thread that changes the node also flushes it, so that no other thread has to wake up for a
//! frame. Only the broker reads.

use crate::runtime::extensions::Extensions;
use crate::runtime::image_store::Images;
use crate::runtime::log_queue::Entry;
use crate::runtime::log_queue::Logs;
use crate::runtime::log_queue::OWN_TARGET;
use crate::runtime::log_queue::Outlet;
use crate::runtime::scope::NEVER;
use crate::runtime::scope::Scope;
use crate::runtime::slot::ReplySlot;
use crate::runtime::state::Endpoint;
use crate::runtime::state::NodeState;
use crate::runtime::state::Wake;
use crate::runtime::wait;
use crate::runtime::worker_pool::WorkerPool;
use offshoot_codec::CodecError;
use offshoot_codec::MAX_MESSAGE;
use offshoot_codec::Message;
use offshoot_proto::ContextId;
use offshoot_proto::Error;
use offshoot_proto::FlowKey;
use offshoot_proto::Handle;
use offshoot_proto::LinkId;
use offshoot_proto::Reason;
use offshoot_proto::Result;
use offshoot_proto::collections::index_map::IndexMap;
use offshoot_proto::collections::sorted_map::SortedMap;
use offshoot_proto::log::LogRecord;
use offshoot_proto::node::Node;
use offshoot_proto::node::Opening;
use offshoot_sys::epoll::Epoll;
use offshoot_sys::epoll::EpollCreateFlags;
use offshoot_sys::epoll::EpollEvent;
use offshoot_sys::epoll::EpollFlags;
use offshoot_sys::eventfd::EfdFlags;
use offshoot_sys::eventfd::EventFd;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tracing::Level;

/// Handle of a node, shared by its threads.
pub(crate) struct NodeHandle {
    core: Mutex<NodeState>,
    pub epoll: Epoll,
    pub waker: Arc<EventFd>,
    /// The threads that run functions.
    pub workers: WorkerPool,
    /// The scope around all calls that run here. It ends with the node.
    pub life: Arc<Scope>,
    /// The states of [`Context::state`](crate::Context::state).
    pub states: Extensions,
    /// State of the rooms above, until the node is freed.
    pub extensions: Extensions,
    /// The zero of the node's clock.
    pub began: Instant,
    /// The earliest deadline of a flow.
    deadline: AtomicU64,
    /// The queued log records of this process, and the filter.
    pub logs: Logs,
    /// The receiver of log records in a program that is no agent: its own subscriber.
    pub outlet: OnceLock<Box<dyn Outlet>>,
    /// The origin of the agent's image, as an
    /// [`AgentSource`](crate::runtime::image_store::AgentSource).
    pub sent_agent: AtomicU8,
    /// Bytes sent over all links, images included.
    pub sent: AtomicU64,
}

/// The poller's token for the waker.
pub(crate) const WAKER: u64 = 0;

impl NodeHandle {
    pub(crate) fn new(node: Node, images: Images) -> Result<Arc<Self>> {
        let system =
            |error: offshoot_sys::errno::Errno| Error::system("setting up the broker", error);
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(system)?;
        let waker =
            EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).map_err(system)?;
        epoll
            .add(&waker, EpollEvent::new(EpollFlags::EPOLLIN, WAKER))
            .map_err(system)?;
        let core = NodeState {
            node,
            io: SortedMap::default(),
            endpoints: IndexMap::default(),
            outboxes: IndexMap::default(),
            offered: SortedMap::default(),
            deadlines: SortedMap::default(),
            next_offer: Handle::FIRST_CUSTOM.0,
            closing: Vec::new(),
            scratch: Vec::new(),
            orders: Vec::new(),
            wakes: Vec::new(),
            withdrawn: Vec::new(),
            images,
            names: SortedMap::default(),
            stopped: false,
            unseen: false,
        };
        Ok(Arc::new(Self {
            core: Mutex::new(core),
            epoll,
            waker: Arc::new(waker),
            workers: WorkerPool::default(),
            life: Arc::new(Scope::new(None, NEVER, 0)),
            states: Extensions::default(),
            extensions: Extensions::default(),
            began: wait::now(),
            deadline: AtomicU64::new(NEVER),
            logs: Logs::default(),
            outlet: OnceLock::new(),
            sent_agent: AtomicU8::new(crate::runtime::image_store::AgentSource::Own as u8),
            sent: AtomicU64::new(0),
        }))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, NodeState> {
        // A panic while the lock is held is a defect of this crate. A panic in every other thread
        // would be worse than a state that may be wrong.
        self.core
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Changes the node and sends the resulting frames on this thread.
    pub(crate) fn with<T>(self: &Arc<Self>, work: impl FnOnce(&mut NodeState) -> T) -> T {
        let mut core = self.lock();
        let result = work(&mut core);
        self.release(core);
        result
    }

    /// Returns the time of the node's clock.
    pub(crate) fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// Returns the earliest deadline of a flow, if any.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        Some(self.deadline.load(Ordering::Relaxed)).filter(|due| *due != NEVER)
    }

    /// Sends the frames of the node, releases the lock, and then wakes the waiters.
    pub(crate) fn release(self: &Arc<Self>, mut core: MutexGuard<'_, NodeState>) {
        while let Some((flow, handler, error)) = core.closing.pop() {
            handler.closed(&mut core, flow, &error);
        }
        self.flush(&mut core);
        let due = core
            .deadlines
            .iter()
            .next()
            .map_or(NEVER, |((due, _), ())| *due);
        self.deadline.store(due, Ordering::Relaxed);
        let wakes = std::mem::take(&mut core.wakes);
        let _dropped_at_last = std::mem::take(&mut core.withdrawn);
        let unseen = std::mem::take(&mut core.unseen);
        drop(core);
        for wake in wakes {
            let survived = crate::runtime::panics::survive(|| match wake {
                Wake::Reply(slot, result) => slot.fill(result),
                Wake::Stream(stream) => stream.wake(),
            });
            if !survived {
                self.say(Level::ERROR, "a callback of a reply has panicked".into());
            }
        }
        if unseen {
            self.wake();
        }
    }

    /// Writes to every link that has frames, until it blocks.
    pub(crate) fn flush(&self, core: &mut NodeState) {
        loop {
            let dirty = core.node.take_dirty();
            if dirty.is_empty() {
                break;
            }
            for link in dirty {
                self.flush_link(core, link);
            }
        }
        core.unseen |= core.node.has_events();
    }

    /// Writes to one link until it blocks.
    pub(crate) fn flush_link(&self, core: &mut NodeState, link: LinkId) {
        let NodeState {
            node, io, scratch, ..
        } = core;
        if let Some(writer) = io.get_mut(&link) {
            let written = writer.flush(node, link, &self.epoll, scratch);
            self.sent.fetch_add(written, Ordering::Relaxed);
        }
    }

    /// Makes the broker look at the node.
    pub(crate) fn wake(&self) {
        let _ = self.waker.write(1);
    }

    /// Logs a text of this crate. The caller may hold the node's lock: an agent queues a record for
    /// the broker, and in other programs a separate thread calls the subscriber, which may block or
    /// call this crate.
    pub(crate) fn say(&self, level: Level, text: String) {
        match self.outlet.get() {
            Some(outlet) => outlet.put(Entry::Own(level, text)),
            None if self.logs.wants(level, OWN_TARGET) => {
                self.log_later(LogRecord::of(level, OWN_TARGET, &text));
            }
            None => {}
        }
    }

    /// Queues a log record for the broker, because the caller may hold the node's lock.
    pub(crate) fn log_later(&self, record: LogRecord) {
        if self.logs.keep(record) {
            self.wake();
        }
    }

    /// Hands a log record to the node, or queues it until the filter is known.
    pub(crate) fn log_now(&self, core: &mut NodeState, record: LogRecord) {
        if self.logs.are_known() {
            core.node.log(record.encode());
        } else {
            self.logs.keep(record);
        }
    }

    /// Hands the queued log records to the node.
    pub(crate) fn send_logs(&self, core: &mut NodeState) {
        for record in self.logs.take() {
            core.node.log(record.encode());
        }
    }

    /// Opens a flow for a request. `also` runs under the same lock, before a reply can arrive.
    pub(crate) fn request(
        self: &Arc<Self>,
        dst: ContextId,
        service: Handle,
        request: Vec<u8>,
        opening: Opening,
        also: impl FnOnce(&mut NodeState, FlowKey),
    ) -> Result<(FlowKey, Arc<ReplySlot>)> {
        self.request_in(None, dst, service, request.into(), opening, also)
    }

    /// Sends a request to a service of the context called `name`, and waits for the value of the
    /// reply.
    ///
    /// # Errors
    /// Returns the error in the reply, under the context's name, or the reason why there is no
    /// reply.
    pub(crate) fn ask<R: Serialize, T: DeserializeOwned>(
        self: &Arc<Self>,
        (dst, name): (ContextId, &str),
        service: Handle,
        request: &R,
    ) -> Result<T> {
        let request = offshoot_codec::own(request);
        let (_, slot) = self.request(dst, service, request, Opening::default(), |_, _| {})?;
        slot.value(name)
    }

    /// Sends a request that is cancelled together with a scope.
    pub(crate) fn request_in(
        self: &Arc<Self>,
        scope: Option<&Arc<Scope>>,
        dst: ContextId,
        service: Handle,
        mut request: Message,
        opening: Opening,
        also: impl FnOnce(&mut NodeState, FlowKey),
    ) -> Result<(FlowKey, Arc<ReplySlot>)> {
        if request.length() > MAX_MESSAGE {
            let context = self.lock().name_of(dst).to_string();
            let detail = CodecError::too_large(request.length()).0;
            return Err(Error::Undelivered {
                context,
                reason: Reason::TooLarge,
                detail,
            });
        }
        let slot = ReplySlot::new(scope);
        self.with(|core| {
            let refusal = match core.stopped {
                true => Some(Error::ShutDown),
                false => scope.and_then(|scope| scope.refusal(&core.name_of(dst))),
            };
            if let Some(refusal) = refusal {
                if opening.secret {
                    offshoot_codec::zero(&mut request.head.0);
                }
                return Err(refusal);
            }
            let endpoint = Endpoint::Reply(Arc::clone(&slot));
            let flow = core.open(dst, service, request, opening, |_| endpoint);
            core.watch(scope.map_or(NEVER, |scope| scope.deadline().0), flow);
            also(core, flow);
            Ok((flow, slot))
        })
    }
}
