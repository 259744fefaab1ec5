//! The identity that a parent sends to a new agent.

use crate::id::ContextId;
use crate::log::Filter;
use alloc::string::String;
use alloc::vec::Vec;
use serde::Deserialize;
use serde::Serialize;

/// Identity of an agent; the first message from its parent.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub struct BootInfo {
    /// Number of the context.
    pub id: ContextId,
    /// Contexts that the agent obeys, nearest first.
    pub ancestors: Vec<ContextId>,
    /// Name, for messages and the process title.
    pub name: String,
    /// Log filter, which the agent passes on to its own children.
    pub filter: Filter,
    /// Seconds between heartbeats; 0 for none.
    pub heartbeat: u32,
}
