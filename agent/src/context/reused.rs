//! The list of contexts that callers share by a key. It is in this room and not in `hop`, because
//! the shutdown of a context removes it from the list.

use crate::runtime::extensions::locked;
use crate::runtime::handle::NodeHandle;
use crate::runtime::latch::Latch;
use offshoot_proto::{ContextId, Result};
use std::sync::{Arc, Mutex, MutexGuard};

/// Contexts of this process that are shared by a key. It is part of the node, so it holds no node.
#[derive(Default)]
pub(crate) struct ReusedContexts(Mutex<Vec<Entry>>);

/// One shared context.
pub(crate) struct Entry {
    pub parent: ContextId,
    pub key: String,
    pub id: ContextId,
    pub name: Arc<str>,
    pub outcome: Arc<Latch<Result<()>>>,
}

impl Entry {
    /// Returns true if the context can be returned again: it is being connected, or is up.
    pub(crate) fn is_good(&self, shared: &NodeHandle) -> bool {
        match self.outcome.get() {
            None => true,
            Some(Err(_)) => false,
            Some(Ok(())) => {
                let core = shared.lock();
                let routes = &core.node.router;
                // This process is not notified of the loss of contexts that another process has
                // started.
                let elsewhere =
                    self.parent != core.node.id() && routes.link_down(self.parent).is_none();
                routes.link_down(self.id).is_some()
                    || elsewhere && routes.lost.why(self.parent).is_none()
            }
        }
    }
}

impl ReusedContexts {
    /// Returns the list of a node.
    pub(crate) fn of(shared: &NodeHandle) -> Arc<Self> {
        shared.extensions.get()
    }

    /// Locks the list.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        locked(&self.0)
    }

    /// Removes a context that is about to be shut down.
    pub(crate) fn forget(&self, id: ContextId) {
        self.lock().retain(|entry| entry.id != id);
    }
}
