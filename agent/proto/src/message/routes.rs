//! News of routes, from child to parent.

use crate::error::reason::Reason;
use crate::id::ContextId;
use alloc::string::String;
use alloc::vec::Vec;
use serde::Deserialize;
use serde::Serialize;

/// Content of a `Route` frame.
#[derive(Serialize, Deserialize, Debug)]
pub enum RouteNews {
    /// A new context, and its parent.
    Added(ContextId, ContextId),
    /// Lost contexts.
    Gone {
        /// The lost contexts, at most 8192.
        contexts: Vec<ContextId>,
        /// Reason of the loss.
        reason: Reason,
        /// Details, at most 4096 bytes.
        text: String,
    },
}
