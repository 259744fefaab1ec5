//! The root of a tree in somebody's program: a broker thread, and its end.

use crate::broker::{Broker, Place, serve};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::id::ContextId;
use crate::images::{Find, Images};
use crate::node::Node;
use crate::shared::{Order, Shared};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

/// The root. Dropping it ends the whole tree and waits for that, with a bound.
pub struct Root {
    shared: Arc<Shared>,
    broker: Option<JoinHandle<()>>,
    context: Context,
}

impl Root {
    /// Starts the root of a new tree, with a way to find images. This process may have as many open descriptors from now on as
    /// the system lets it (its hard limit); what a tree starts has the soft limit that was there before.
    ///
    /// # Errors
    /// When the system gives no descriptors or threads.
    pub fn start(find: Find) -> Result<Root> {
        crate::map::seed(crate::sys::random);
        crate::sys::limit::raise_descriptors();
        let shared = Shared::new(Node::root(), Images::found(find))?;
        let context = Context::new(&shared, ContextId::ROOT, "controller".into());
        serve(&shared, &Place::Root);
        shared.lock().names.insert(ContextId::ROOT, context.name().into());
        let broker = Broker::new(Arc::clone(&shared), Place::Root);
        let broker = std::thread::Builder::new()
            .name("offshoot".into())
            .spawn(move || broker.run())
            .map_err(|error| Error::system("starting the broker's thread", error))?;
        Ok(Root { shared, broker: Some(broker), context })
    }

    /// The root as a context: what it starts are the children of this program.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Sets the most detailed log level that contexts send from now on: 0 none, 1 error to 5 trace. Contexts that are
    /// up keep theirs.
    pub fn set_log_level(&self, level: u8) {
        self.shared.log_level.store(level, Ordering::Relaxed);
    }

    /// Lets two contexts talk that are not each other's ancestors, or forbids it again.
    pub fn pair(&self, one: &Context, other: &Context, open: bool) {
        self.shared.with(|core| core.node.pair(one.id(), other.id(), open));
    }

    /// How many bytes were sent over the links of this process, images included.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        self.shared.lock().orders.push(Order::Stop);
        self.shared.wake();
        if let Some(broker) = self.broker.take() {
            // A broker that panicked has said so itself.
            let _ = broker.join();
        }
        self.shared.workers.stop(Duration::from_millis(500));
    }
}
