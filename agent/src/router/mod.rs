//! The router: the node of this process with its broker thread, and the shutdown of both.
pub(crate) mod builder;
pub(crate) mod debug_signal;
pub(crate) mod handlers;
pub(crate) mod join;
pub(crate) mod listener;
pub(crate) mod pause;
pub(crate) mod socket_file;

use crate::broker::Broker;
use crate::broker::dispatch::serve;
use crate::broker::inbox::Inbox;
use crate::context::Context;
use crate::context::disclosures::DisclosureLog;
use crate::log::sink::Sink;
use crate::runtime::extensions::locked;
use crate::runtime::handle::NodeHandle;
use crate::runtime::image_store::AgentSource;
use crate::runtime::image_store::Find;
use crate::runtime::image_store::Images;
use crate::runtime::latch::Latch;
use crate::runtime::role::NodeRole;
use crate::runtime::state::BrokerTask;
use offshoot_proto::ContextId;
use offshoot_proto::Error;
use offshoot_proto::Result;
use offshoot_proto::log::Filter;
use offshoot_proto::node::Node;
use std::future::poll_fn;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;

/// The time limit for the end of a tree: more than the broker gives its children before it kills
/// them, because each of its steps takes time as well.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// How long functions that still run at the end are waited for. They cannot be stopped from
/// outside.
const FUNCTIONS_PATIENCE: Duration = Duration::from_millis(500);

/// The tree, seen from this process. It can be used as the [`Context`] of this process: contexts
/// that are started from it are this process's children.
///
/// A router that was started ([`Router::new`], [`Router::builder`]) owns its tree: dropping it ends
/// all contexts and waits for that, a few seconds at most. A router from [`Context::router`] owns
/// nothing. A process may have any number of trees; they share nothing.
///
/// ```no_run
/// # use offshoot_agent as offshoot;
/// fn main() -> offshoot::Result<()> {
///     let router = offshoot::Router::new()?;
///     let host = router.ssh("web1").connect()?;
///     println!("{}", host.call(offshoot::stock::facts {})?.host);
///     Ok(())
/// }
/// ```
#[must_use = "dropping it ends the tree"]
pub struct Router {
    context: Context,
    own: Option<Owner>,
}

/// The parts of a router that owns its tree.
struct Owner {
    broker: JoinHandle<()>,
    /// The signal handler for dumps, held until the tree ends.
    debugging: Mutex<Option<Box<dyn Send>>>,
    /// Hangs up when the broker has ended, also after a panic. The lock makes the router `Sync`.
    ended: Mutex<Receiver<()>>,
}

impl Context {
    /// Returns the router of this process: inside a function, that of the context that runs it. It
    /// does not own the tree, so dropping it ends nothing.
    pub fn router(&self) -> Router {
        Router::of(self)
    }
}

impl Router {
    /// Starts the root of a new tree, with a function that finds images. Raises the limit of open
    /// descriptors of this process to the hard limit; programs of the tree start with the old soft
    /// limit.
    pub(crate) fn start(find: Find, filter: &Filter, sent: AgentSource) -> Result<Self> {
        offshoot_proto::collections::index_map::seed(offshoot_sys::random());
        offshoot_sys::limits::raise_descriptors();
        let shared = NodeHandle::new(Node::root(), Images::found(find))?;
        Sink::open(&shared);
        shared.sent_agent.store(sent as u8, Ordering::Relaxed);
        let context = Context::new(&shared, ContextId::ROOT, "controller".into());
        serve(&shared, &NodeRole::Root);
        shared
            .lock()
            .names
            .insert(ContextId::ROOT, context.name().into());
        let broker = Broker::new(shared, NodeRole::Root);
        let router = Self::running(context, broker)?;
        router.set_log_filter(filter);
        Ok(router)
    }

    /// Returns a router that owns its tree, with a thread for its broker.
    pub(crate) fn running(context: Context, broker: Broker) -> Result<Self> {
        offshoot_sys::write_signals::suppress();
        let (end, ended) = sync_channel(0);
        let broker = std::thread::Builder::new()
            .name("offshoot".into())
            .spawn(move || {
                let _hangs_up_at_last: SyncSender<()> = end;
                broker.run();
            })
            .map_err(|error| Error::system("starting the broker's thread", error))?;
        Ok(Self {
            context,
            own: Some(Owner {
                broker,
                debugging: Mutex::default(),
                ended: Mutex::new(ended),
            }),
        })
    }

    /// Returns the router of the node of `context`.
    pub(crate) fn of(context: &Context) -> Self {
        Self {
            context: context.own(),
            own: None,
        }
    }

    /// Ends the tree and waits until all contexts are gone, as dropping does.
    ///
    /// # Errors
    /// Returns [`Error::TimedOut`] after a few seconds, and an error if this router does not own
    /// its tree.
    pub fn shutdown(mut self) -> Result<()> {
        if self.own.is_some() {
            return self.end();
        }
        let detail = "this router does not own it: drop the one that was started".into();
        Err(Error::System {
            action: "ending the tree".into(),
            detail,
        })
    }

    /// Ends the tree as [`shutdown`](Router::shutdown) does, without blocking the thread. The tree
    /// ends even if the future is dropped.
    ///
    /// # Errors
    /// Returns an error as [`shutdown`](Router::shutdown) does, and if no thread can be started;
    /// the tree has ended then.
    pub fn shutdown_async(self) -> impl Future<Output = Result<()>> + Send {
        let ended = Arc::new(Latch::default());
        let outcome = Arc::clone(&ended);
        let started = std::thread::Builder::new()
            .name("offshoot-end".into())
            .spawn(move || outcome.set(self.shutdown()));
        if let Err(error) = started {
            ended.set(Err(Error::system("starting a thread", error)));
        }
        poll_fn(move |cx| ended.poll(cx.waker()))
    }

    /// Opens a path between two contexts below this one of which neither is an ancestor of the
    /// other, in both directions: each may call the functions of the other that are for anyone
    /// (`#[remote(policy = anyone)]`), by [`Context::by_id`]. Without a path they are isolated from
    /// each other. The path exists before any later message is delivered, and ends with either
    /// context.
    pub fn open_path(&self, one: &Context, other: &Context) {
        self.pair(one, other, true);
    }

    /// Closes a path that [`Router::open_path`] has opened. Flows between the two fail with
    /// [`Reason::Isolated`](offshoot_proto::Reason::Isolated).
    pub fn close_path(&self, one: &Context, other: &Context) {
        self.pair(one, other, false);
    }

    /// Changes the filter of log records for this context and all below it, including those that
    /// connect now or later. Later requests and calls find the new filter in force.
    pub fn set_log_filter(&self, filter: &Filter) {
        let shared = self.context.node();
        shared.with(|core| {
            shared.logs.set_filter(filter.clone());
            // An agent does not show frames, because its records about frames would themselves be
            // sent as frames.
            core.node
                .show_frames(filter.shows_frames() && core.node.router.up().is_none());
            core.node.pass_filter(filter.bytes());
        });
    }

    /// Starts the signal handler for dumps with `start`, once in a tree.
    pub(crate) fn debug_by(&self, start: impl FnOnce() -> Result<Box<dyn Send>>) -> Result<()> {
        let Some(own) = &self.own else {
            let detail = "this router does not own its tree".into();
            return Err(Error::System {
                action: "waiting for the signal to debug".into(),
                detail,
            });
        };
        let mut debugging = locked(&own.debugging);
        if debugging.is_none() {
            *debugging = Some(start()?);
        }
        Ok(())
    }

    fn pair(&self, one: &Context, other: &Context, open: bool) {
        let told = DisclosureLog::of(&self.context);
        self.context.node().with(|core| {
            core.node.pair(one.id(), other.id(), open);
            for (who, of) in [(one.id(), other.id()), (other.id(), one.id())] {
                if open {
                    told.tell(core, who, of, None)
                } else {
                    told.forget(who, of)
                }
            }
        });
    }

    /// Returns the number of bytes sent over the links of this process, images included.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        self.context.node().sent.load(Ordering::Relaxed)
    }

    /// Returns the numbers of values that the node holds for calls and streams, for tests that look
    /// for leaks.
    #[doc(hidden)]
    #[must_use]
    pub fn held(&self) -> [(&'static str, usize); 5] {
        self.context.node().lock().held()
    }

    fn end(&mut self) -> Result<()> {
        let Some(own) = self.own.take() else {
            return Ok(());
        };
        let shared = self.context.node();
        shared.lock().orders.push(BrokerTask::Stop);
        shared.wake();
        // A callback on the broker's thread may drop the last router; that thread must not wait for
        // itself.
        let here = std::thread::current().id() == own.broker.thread().id();
        let in_time =
            here || locked(&own.ended).recv_timeout(END_PATIENCE) != Err(RecvTimeoutError::Timeout);
        if in_time && !here {
            // The panic hook has reported a panic.
            let _ = own.broker.join();
        }
        // Clones of contexts may live on, even if the broker did not end. Nothing stays open for
        // them.
        shared.with(|core| {
            core.stopped = true;
            core.io.clear();
        });
        Inbox::of(shared).clear();
        self.context.node().workers.stop(FUNCTIONS_PATIENCE);
        if let Some(outlet) = shared.outlet.get() {
            outlet.close();
        }
        if in_time {
            return Ok(());
        }
        let after_ms = END_PATIENCE.as_millis() as u64;
        Err(Error::TimedOut {
            context: self.context.name().into(),
            after_ms,
        })
    }
}

impl Deref for Router {
    type Target = Context;
    fn deref(&self) -> &Context {
        &self.context
    }
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hold = if self.own.is_some() { "owner" } else { "guest" };
        write!(f, "Router({:?}, {hold})", self.context)
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::error!("ending the tree: {error}");
        }
    }
}
