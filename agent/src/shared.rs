//! What the threads of one node share: the state machine behind a lock, and the descriptors that its bytes leave by.
//!
//! Whoever changes the node also flushes it, so that a frame leaves on the thread that made it and no other thread has
//! to wake up for it. Reading is the broker's alone.

use crate::blob::Blob;
use crate::broker::Broker;
use crate::codec::{CodecError, MAX_MESSAGE};
use crate::connecting::Reused;
use crate::error::{DeadLetter, Error, Reason, Result};
use crate::id::{ContextId, FlowKey, Handle, LinkId};
use crate::images::Images;
use crate::listener::Guests;
use crate::log::{Entry, LogRecord, Logs, OWN_TARGET, Outlet};
use crate::map::Map;
use crate::message::Message;
use crate::node::{Node, Opening};
use crate::outflow::LinkIo;
use crate::reply::Slot;
use crate::router::Policy;
use crate::scope::{NEVER, Scope, Stand};
use crate::secret::Written;
use crate::state::States;
use crate::stream::StreamState;
use crate::table::Table;
use crate::workers::Crew;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd::{Gid, Uid};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Instant;
use tracing::Level;

/// Where the bytes of a flow that come in go to.
pub(crate) enum Endpoint {
    /// A reply that somebody waits for.
    Reply(Arc<Slot>),
    /// A stream that somebody reads or writes.
    Stream(Arc<StreamState>),
    /// A request that is not whole yet.
    Request(Box<Request>),
    /// A stream of a program that the broker runs: its number, and which stream.
    Program(u32, u8),
    /// A request that is being carried out; a call's with its scope.
    Busy(Option<Arc<Scope>>),
    /// Calls that are run one after the other.
    Chain(Box<crate::broker::Chain>),
    /// Something that a program has put there.
    Station(Arc<dyn Station>),
    /// An image from the root, for the child that connects over this link. Many flows have replies, and few this.
    Image(Box<(LinkId, Vec<u8>)>),
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

/// What a flow belongs to that is not the tree's own business. It is called with the node locked, by the broker.
pub(crate) trait Station: Send + Sync {
    /// Bytes came.
    fn data(&self, shared: &Arc<Shared>, core: &mut Core, flow: FlowKey, bytes: Vec<u8>, end: bool);
    /// The flow may go on.
    fn room(&self, _shared: &Arc<Shared>, _core: &mut Core, _flow: FlowKey) {}
    /// The flow is over before its time, and forgotten.
    fn closed(&self, shared: &Arc<Shared>, core: &mut Core, flow: FlowKey, error: &Error);
    /// A time that was set for the flow has come.
    fn late(&self, _shared: &Arc<Shared>, _core: &mut Core, _flow: FlowKey) {}
    /// Whether times may be set for the flow.
    fn is_timed(&self) -> bool {
        false
    }
    /// What it was made for.
    fn scope(&self) -> Option<&Arc<Scope>> {
        None
    }
}

/// A service that a program offers. It is called with the node locked, by the broker.
pub(crate) trait Offered: Send + Sync {
    /// Somebody who may has opened a flow to it: the first bytes of the request, and whether they are all.
    fn opened(
        self: Arc<Self>,
        shared: &Arc<Shared>,
        core: &mut Core,
        flow: FlowKey,
        request: Request,
        end: bool,
    );
    /// This process sends to it what names these contexts.
    fn names(&self, _core: &Core, _contexts: &[ContextId]) {}
}

/// A message that waits for credit.
struct Parcel {
    bytes: Blob,
    secret: bool,
}

impl Parcel {
    /// Overwrites a secret that nobody else holds.
    fn wipe(&mut self) {
        if self.secret {
            self.bytes.wipe();
        }
    }
}

/// Bytes of one flow that wait for credit.
#[derive(Default)]
struct Outbox {
    first: VecDeque<Parcel>,
    /// How much of the first has gone.
    at: usize,
    /// How many bytes there are, with what has gone of the first.
    length: usize,
    /// Whether the flow ends behind the last.
    end: bool,
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.first.iter_mut().for_each(Parcel::wipe);
    }
}

/// What another thread wants the broker to do.
pub(crate) enum Order {
    /// End all children, then the broker.
    Stop,
    /// What only some programs want, and no code of an agent. What it works on waits in the node.
    Run(fn(&mut Broker)),
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
    /// What programs offer.
    pub offered: Table<Handle, Arc<dyn Offered>>,
    /// When somebody has to look at a flow.
    deadlines: Table<(u64, FlowKey), ()>,
    /// The next number for what a program offers.
    next_offer: u32,
    /// Stations whose flows were given up here, still to be told.
    closing: Vec<(FlowKey, Arc<dyn Station>, Error)>,
    /// What frames are written from, where a link takes all at once.
    pub scratch: Vec<u8>,
    pub orders: Vec<Order>,
    pub wakes: Vec<Wake>,
    /// What is offered no more, to be dropped once the lock is released: it may hold what needs the lock.
    withdrawn: Vec<Arc<dyn Offered>>,
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
        self.append(flow, bytes, true, secret);
    }

    /// The same for bytes that are sent to many.
    pub fn send_shared(&mut self, flow: FlowKey, bytes: Arc<Vec<u8>>, secret: bool) {
        self.queue(flow, Parcel { bytes: bytes.into(), secret }, 0, true);
    }

    /// Sends more on a flow, behind what waits there; with `end`, nothing follows.
    pub fn append(&mut self, flow: FlowKey, bytes: Vec<u8>, end: bool, secret: bool) {
        self.queue(flow, Parcel { bytes: bytes.into(), secret }, 0, end);
    }

    /// How many bytes wait for credit on a flow.
    pub fn waiting(&self, flow: FlowKey) -> usize {
        self.outboxes.get(&flow).map_or(0, |outbox| outbox.length - outbox.at)
    }

    fn queue(&mut self, flow: FlowKey, mut parcel: Parcel, at: usize, end: bool) {
        if let Some(outbox) = self.outboxes.get_mut(&flow) {
            outbox.length += parcel.bytes.len();
            outbox.first.push_back(parcel);
            outbox.end |= end;
            return;
        }
        let length = parcel.bytes.len();
        match self.node.send(flow, &parcel.bytes[at..], end, parcel.secret) {
            Some(more) if at + more < parcel.bytes.len() => {
                self.outboxes.insert(flow, Outbox { length, first: [parcel].into(), at: at + more, end });
            }
            _ => parcel.wipe(),
        }
    }

    /// Opens a flow with a whole request.
    pub fn open(
        &mut self,
        dst: ContextId,
        service: Handle,
        request: impl Into<Message>,
        opening: Opening,
        endpoint: impl FnOnce(FlowKey) -> Endpoint,
    ) -> FlowKey {
        let Message { head: Written(mut head), rest, .. } = request.into();
        let (secret, mut parts) = (opening.secret, rest.len());
        let more = opening.more || parts > 0;
        let (flow, taken) = self.node.open(dst, service, &head, Opening { more, ..opening });
        let endpoint = endpoint(flow);
        self.endpoints.insert(flow, endpoint);
        if taken < head.len() {
            self.queue(flow, Parcel { bytes: head.into(), secret }, taken, !more);
        } else if secret {
            crate::secret::zero(&mut head);
        }
        for bytes in rest {
            parts -= 1;
            self.queue(flow, Parcel { bytes, secret }, 0, !opening.more && parts == 0);
        }
        flow
    }

    /// A flow may go on: sends more of what waits for it.
    pub fn go_on(&mut self, flow: FlowKey) {
        let Some(outbox) = self.outboxes.get_mut(&flow) else { return };
        loop {
            let last = outbox.end && outbox.first.len() == 1;
            let Some(parcel) = outbox.first.front_mut() else { break };
            match self.node.send(flow, &parcel.bytes[outbox.at..], last, parcel.secret) {
                Some(taken) if outbox.at + taken < parcel.bytes.len() => {
                    outbox.at += taken;
                    return;
                }
                Some(_) => {
                    parcel.wipe();
                    outbox.length -= parcel.bytes.len();
                    outbox.first.pop_front();
                    outbox.at = 0;
                }
                None => break,
            }
        }
        self.outboxes.remove(&flow);
    }

    /// Forgets what waits on a flow that is over.
    pub fn forget(&mut self, flow: FlowKey) -> Option<Endpoint> {
        self.outboxes.remove(&flow);
        self.unwatch(flow);
        self.endpoints.remove(&flow)
    }

    /// A number for something that a program offers, which nothing behind the same door has.
    pub fn new_number(&mut self, door: Handle) -> u32 {
        loop {
            let number = self.next_offer;
            self.next_offer = number + 1;
            if self.next_offer == Handle::FIRST_HUB.0 {
                self.next_offer = Handle::FIRST_CUSTOM.0;
            }
            if self.offered.get(&Handle(number | door.0)).is_none() {
                return number;
            }
        }
    }

    /// Offers something to those whom `policy` admits.
    pub fn offer(&mut self, handle: Handle, policy: Policy, service: Arc<dyn Offered>) {
        self.node.serve(handle, policy);
        self.offered.insert(handle, service);
    }

    /// Offers it no more.
    pub fn withdraw(&mut self, handle: Handle) {
        self.node.withdraw(handle);
        self.withdrawn.extend(self.offered.remove(&handle));
    }

    /// Offers nothing more.
    pub fn withdraw_all(&mut self) {
        for handle in self.offered.keys() {
            self.withdraw(handle);
        }
    }

    /// Has the broker look at a flow when its time is over.
    pub fn watch(&mut self, due: u64, flow: FlowKey) {
        if due != NEVER {
            self.deadlines.insert((due, flow), ());
            self.unseen = true;
        }
    }

    /// A flow's time does not matter any more.
    pub fn unwatch(&mut self, flow: FlowKey) {
        if self.deadlines.is_empty() {
            return;
        }
        let scope = match self.endpoints.get(&flow) {
            Some(Endpoint::Reply(slot)) => slot.scope.as_ref(),
            Some(Endpoint::Busy(scope)) => scope.as_ref(),
            Some(Endpoint::Station(station)) if !station.is_timed() => None,
            // These know more than one time.
            Some(Endpoint::Chain(_) | Endpoint::Station(_)) => {
                return self.deadlines.retain(|(_, other)| *other != flow);
            }
            _ => None,
        };
        // When it was set, a scope around may have been over, or not yet.
        for due in scope.map(|scope| [scope.due(), scope.deadline().0]).into_iter().flatten() {
            self.deadlines.remove(&(due, flow));
        }
    }

    /// The flows whose time is over; they are watched no more.
    pub fn overdue(&mut self, now: u64) -> Vec<FlowKey> {
        let due: Vec<(u64, FlowKey)> =
            self.deadlines.iter().map(|(key, ())| *key).take_while(|(due, _)| *due <= now).collect();
        if !due.is_empty() {
            self.deadlines.retain(|(due, _)| *due > now);
        }
        due.into_iter().map(|(_, flow)| flow).collect()
    }

    /// Ends a scope: whoever waits in it is told, and whoever works for it elsewhere.
    pub fn cancel(&mut self, scope: &Arc<Scope>, stand: Stand) {
        self.end_scope(scope, stand, false);
    }

    /// The same, and with `unscoped` for those who wait in none as well.
    pub fn end_scope(&mut self, scope: &Arc<Scope>, stand: Stand, unscoped: bool) {
        let mut next = scope.end(stand).then(|| Arc::clone(scope));
        while let Some(scope) = next {
            let within = |other: Option<&Arc<Scope>>| other.map_or(unscoped, |other| other.is_within(&scope));
            let is_in = |endpoint: &Endpoint| match endpoint {
                Endpoint::Reply(slot) => within(slot.scope.as_ref()),
                Endpoint::Stream(stream) => within(stream.scope()),
                Endpoint::Station(station) => station.scope().is_some_and(|scope| within(Some(scope))),
                _ => false,
            };
            let mut flows: Vec<FlowKey> = self
                .endpoints
                .iter()
                .filter(|(_, endpoint)| is_in(endpoint))
                .map(|(flow, _)| *flow)
                .collect();
            flows.sort_unstable();
            for flow in flows {
                match stand {
                    Stand::Late => self.node.reset(flow, Reason::Late, ""),
                    Stand::Gone => self.node.reset(flow, Reason::ShutDown, ""),
                    _ => self.node.reset(flow, Reason::Cancelled, "what it was for was given up"),
                }
                let error = scope.error(&self.name_of(flow.peer), stand);
                match self.forget(flow) {
                    Some(Endpoint::Reply(slot)) => self.wakes.push(Wake::Slot(slot, Err(error))),
                    Some(Endpoint::Station(station)) => self.closing.push((flow, station, error)),
                    Some(Endpoint::Stream(stream)) => {
                        stream.fail(error);
                        self.wakes.push(Wake::Stream(stream));
                    }
                    _ => {}
                }
            }
            next = scope.heir();
            if let Some(heir) = &next
                && !heir.end(stand)
            {
                next = None;
            }
        }
    }

    /// How much there is of what comes and goes with calls and streams.
    pub fn held(&self) -> [(&'static str, usize); 5] {
        [
            ("flows", self.node.flows()),
            ("endpoints", self.endpoints.len()),
            ("outboxes", self.outboxes.len()),
            ("deadlines", self.deadlines.keys().len()),
            ("offered", self.offered.keys().len()),
        ]
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
        let by = self.name_of(letter.by);
        letter.into_error(&self.name_of(flow.peer), &by)
    }
}

/// One node, as its threads see it.
pub(crate) struct Shared {
    core: Mutex<Core>,
    pub epoll: Epoll,
    pub waker: EventFd,
    /// The threads that functions run on.
    pub workers: Crew,
    /// What all calls that run here are within: it ends when the node does.
    pub life: Arc<Scope>,
    /// What functions keep from call to call.
    pub states: States,
    /// When the node's own time began.
    pub began: Instant,
    /// The first time at which a flow has to be looked at.
    deadline: AtomicU64,
    /// What this process has logged and not sent yet, and what of it travels.
    pub logs: Logs,
    /// Where log records go in a program that is no agent: to its own subscriber.
    pub outlet: OnceLock<Box<dyn Outlet>>,
    /// Whose agent is sent from here: a [`Sent`](crate::agree::Sent).
    pub sent_agent: AtomicU8,
    /// Bytes sent over all links, images included.
    pub sent: AtomicU64,
    /// In a root: the child that its programs run in, and for which user and group.
    pub programs: Mutex<Option<(ContextId, (Uid, Gid))>>,
    /// Processes that want to join.
    pub guests: Guests,
    /// Contexts that are asked for by a key.
    pub reused: Reused,
    /// Held by whoever asks the root for numbers of contexts.
    pub asking: Mutex<()>,
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
            offered: Table::default(),
            deadlines: Table::default(),
            next_offer: Handle::FIRST_CUSTOM.0,
            closing: Vec::new(),
            scratch: Vec::new(),
            orders: Vec::new(),
            wakes: Vec::new(),
            withdrawn: Vec::new(),
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
            workers: Crew::default(),
            life: Arc::new(Scope::new(None, NEVER, 0)),
            states: States::default(),
            began: Instant::now(),
            deadline: AtomicU64::new(NEVER),
            logs: Logs::default(),
            outlet: OnceLock::new(),
            sent_agent: AtomicU8::new(crate::agree::Sent::Own as u8),
            sent: AtomicU64::new(0),
            programs: Mutex::new(None),
            guests: Guests::default(),
            reused: Reused::default(),
            asking: Mutex::default(),
        }))
    }

    pub fn lock(&self) -> MutexGuard<'_, Core> {
        // A panic while the lock is held is a defect of this crate; going on with the state beats taking every other
        // thread down with it.
        self.core.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Changes the node and sends what that makes, on this thread.
    pub fn with<T>(self: &Arc<Self>, work: impl FnOnce(&mut Core) -> T) -> T {
        let mut core = self.lock();
        let result = work(&mut core);
        self.release(core);
        result
    }

    /// The time, as the node counts it.
    pub fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// When a flow has to be looked at, if at all.
    pub fn next_deadline(&self) -> Option<u64> {
        Some(self.deadline.load(Ordering::Relaxed)).filter(|due| *due != NEVER)
    }

    /// Sends what is to be sent, releases the lock, and wakes who is to be woken.
    pub fn release(self: &Arc<Self>, mut core: MutexGuard<'_, Core>) {
        while let Some((flow, station, error)) = core.closing.pop() {
            station.closed(self, &mut core, flow, &error);
        }
        self.flush(&mut core);
        let due = core.deadlines.iter().next().map_or(NEVER, |((due, _), ())| *due);
        self.deadline.store(due, Ordering::Relaxed);
        let wakes = std::mem::take(&mut core.wakes);
        let _dropped_at_last = std::mem::take(&mut core.withdrawn);
        let unseen = std::mem::take(&mut core.unseen);
        drop(core);
        for wake in wakes {
            let survived = crate::contain::survive(|| match wake {
                Wake::Slot(slot, result) => slot.fill(result),
                Wake::Stream(stream) => stream.wake(),
            });
            if !survived {
                self.say(Level::ERROR, "what was to be told of an answer has panicked".into());
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

    /// Logs a text of this crate's own. The caller may hold the node's lock: in an agent the text
    /// becomes a record that the broker sends, elsewhere a thread of its own hands it to the
    /// program's subscriber, which may take its time and may call back.
    pub fn say(&self, level: Level, text: String) {
        match self.outlet.get() {
            Some(outlet) => outlet.put(Entry::Own(level, text)),
            None if self.logs.wants(level, OWN_TARGET) => {
                self.log_later(LogRecord::of(level, OWN_TARGET, &text));
            }
            None => {}
        }
    }

    /// Keeps a log record until the broker sends it: whoever logs may hold the lock.
    pub fn log_later(&self, record: LogRecord) {
        if self.logs.keep(record) {
            self.wake();
        }
    }

    /// Hands a log record to the node, or keeps it while it is not known what is wanted.
    pub fn log_now(&self, core: &mut Core, record: LogRecord) {
        if self.logs.are_known() {
            core.node.log(record.encode());
        } else {
            self.logs.keep(record);
        }
    }

    /// Hands the kept log records to the node.
    pub fn send_logs(&self, core: &mut Core) {
        for record in self.logs.take() {
            core.node.log(record.encode());
        }
    }

    /// Opens a flow whose reply somebody will wait for; `also` does what has to be done before anything can come.
    pub fn request(
        self: &Arc<Self>,
        dst: ContextId,
        service: Handle,
        request: Vec<u8>,
        opening: Opening,
        also: impl FnOnce(&mut Core, FlowKey),
    ) -> Result<(FlowKey, Arc<Slot>)> {
        self.request_in(None, dst, service, request.into(), opening, also)
    }

    /// The same, on behalf of a call.
    pub fn request_in(
        self: &Arc<Self>,
        scope: Option<&Arc<Scope>>,
        dst: ContextId,
        service: Handle,
        mut request: Message,
        opening: Opening,
        also: impl FnOnce(&mut Core, FlowKey),
    ) -> Result<(FlowKey, Arc<Slot>)> {
        if request.len() > MAX_MESSAGE {
            let context = self.lock().name_of(dst).to_string();
            let detail = CodecError::too_large(request.len()).0;
            return Err(Error::Undelivered { context, reason: Reason::TooLarge, detail });
        }
        let slot = Slot::new(scope);
        self.with(|core| {
            let refusal = match core.stopped {
                true => Some(Error::ShutDown),
                false => scope.and_then(|scope| scope.refusal(&core.name_of(dst))),
            };
            if let Some(refusal) = refusal {
                if opening.secret {
                    crate::secret::zero(&mut request.head.0);
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
