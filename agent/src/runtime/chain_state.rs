//! A chain of calls as one of a node's flows: data alone. The service that runs its calls stands in
//! a room above; an agent stays smaller by this than by a handler of its own.

use crate::runtime::scope::Scope;
use offshoot_proto::ContextId;
use offshoot_proto::message::chain::CallQueue;
use std::sync::Arc;

/// A chain, where its calls run.
pub(crate) struct Chain {
    pub auth: ContextId,
    pub queue: CallQueue,
    /// How many bytes have come for which no credit was given yet.
    pub owed: usize,
    pub running: Option<Running>,
    /// The reply to all that follow one that failed.
    pub failed: Option<Vec<u8>>,
    pub ended: bool,
}

/// The call that runs.
pub(crate) struct Running {
    pub number: u32,
    pub scope: Arc<Scope>,
    pub function: &'static str,
    /// Whether it was given up or late, so that its caller has an answer. What follows still waits
    /// for its end.
    pub answered: bool,
}

impl Chain {
    pub(crate) fn new(auth: ContextId) -> Self {
        Self {
            auth,
            queue: CallQueue::default(),
            owed: 0,
            running: None,
            failed: None,
            ended: false,
        }
    }

    /// Bytes that have come at a time. Whether the call that runs is given up.
    ///
    /// # Errors
    /// When a record is longer than any may be.
    pub(crate) fn take(&mut self, bytes: &[u8], end: bool, came: u64) -> Result<bool, usize> {
        self.owed += bytes.len();
        self.ended |= end;
        self.queue.take(
            bytes,
            came,
            self.running.as_ref().map(|running| running.number),
        )
    }

    /// The scope of the call that runs.
    pub(crate) fn running(&self) -> Option<&Arc<Scope>> {
        self.running.as_ref().map(|running| &running.scope)
    }
}
