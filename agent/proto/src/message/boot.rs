use crate::id::ContextId;
use crate::log::Filter;
use alloc::string::String;
use alloc::vec::Vec;
use serde::Deserialize;
use serde::Serialize;

/// The first thing a parent tells an agent: who it is.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub struct BootInfo {
    /// Its number.
    pub id: ContextId,
    /// The contexts it obeys, nearest first.
    pub ancestors: Vec<ContextId>,
    /// Its name, for messages and the process title.
    pub name: String,
    /// Which of its log records travel. It passes the same on to its own children.
    pub filter: Filter,
    /// Seconds between heartbeats; 0 for none.
    pub heartbeat: u32,
}
