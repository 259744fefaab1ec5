//! The state of one chain of calls, as a flow of the node. The service that runs the calls is in
//! the room `call`. A chain is an endpoint of its own kind, because a `FlowHandler` would make
//! every agent larger.

use crate::runtime::scope::Scope;
use offshoot_proto::ContextId;
use offshoot_proto::message::chain::CallQueue;
use std::sync::Arc;

/// A chain at the node that runs its calls.
pub(crate) struct Chain {
    pub auth: ContextId,
    pub queue: CallQueue,
    /// The bytes that have arrived and were not credited yet.
    pub owed: usize,
    pub running: Option<Running>,
    /// The reply to all later calls, once one has failed.
    pub failed: Option<Vec<u8>>,
    pub ended: bool,
}

/// The running call.
pub(crate) struct Running {
    pub number: u32,
    pub scope: Arc<Scope>,
    pub function: &'static str,
    /// True if its caller has an answer already, because the call was cancelled or late. Later
    /// calls still wait for the function to return.
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

    /// Adds bytes that arrived at the time `came`. Returns true if they cancel the running call.
    ///
    /// # Errors
    /// Returns the length of a record that exceeds the limit.
    pub(crate) fn take(&mut self, bytes: &[u8], end: bool, came: u64) -> Result<bool, usize> {
        self.owed += bytes.len();
        self.ended |= end;
        self.queue.take(
            bytes,
            came,
            self.running.as_ref().map(|running| running.number),
        )
    }

    /// Returns the scope of the running call.
    pub(crate) fn running(&self) -> Option<&Arc<Scope>> {
        self.running.as_ref().map(|running| &running.scope)
    }
}
