//! Detaching a context from its tree.

use crate::context::Context;
use offshoot_proto::message::detach::DetachRequest;
use offshoot_proto::{Handle, Result};

impl Context {
    /// Detaches the context and everything below it: they outlive the tree, even if its processes
    /// are killed. Functions and programs continue; the programs' stdin ends and their output is
    /// discarded. The agent exits when its last function, program and child has ended. A log record
    /// of level info, under the context's name, reports `name` and the process id. Returns the
    /// agent's process id; SIGTERM to that process ends the context.
    /// An ssh that led to the context ends. sudo would end its command with itself, so a context
    /// directly behind sudo cannot be detached; a [local](Context::local) child of it can.
    ///
    /// # Errors
    /// Returns an error if the context is the one that this program runs in, is directly behind
    /// sudo, has no guard, or was lost.
    pub fn detach(&self, name: impl Into<String>) -> Result<u32> {
        let order = DetachRequest::new(self.name(), Handle::NONE, name.into())?;
        let process = self
            .node()
            .ask((self.id(), self.name()), Handle::DETACH, &order)?;
        self.shutdown().map(|()| process)
    }
}
