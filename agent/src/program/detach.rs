//! Detaching a context from its tree.

use crate::context::Context;
use offshoot_proto::message::detach::DetachRequest;
use offshoot_proto::{Handle, Result};

impl Context {
    /// Lets the context go, with everything below it: it outlives the tree, whoever is killed. Its
    /// functions go on and so do its programs, whose stdin ends and whose output is lost; it ends
    /// by itself when the last function, program and child is done. A log record of level info says
    /// under the context's name that `name` was let go. Gives its process number; a signal to that
    /// one ends it.
    ///
    /// The ssh that it was reached by ends. A sudo would take what it runs along, so that a context
    /// directly behind one cannot be let go, but a [local](Context::local) child of that can.
    ///
    /// # Errors
    /// When the context is the place where this program runs, is directly behind sudo, has no
    /// guard, or was lost.
    pub fn detach(&self, name: impl Into<String>) -> Result<u32> {
        let order = DetachRequest::new(self.name(), Handle::NONE, name.into())?;
        let process = self
            .node()
            .ask((self.id(), self.name()), Handle::DETACH, &order)?;
        self.shutdown().map(|()| process)
    }
}
