use crate::error::reason::Reason;
use crate::id::ContextId;
use alloc::string::String;
use alloc::vec::Vec;
use serde::Deserialize;
use serde::Serialize;

/// What a `Route` frame says.
#[derive(Serialize, Deserialize, Debug)]
pub enum RouteNews {
    /// A context, and whose child it is.
    Added(ContextId, ContextId),
    Gone {
        contexts: Vec<ContextId>,
        reason: Reason,
        text: String,
    },
}
