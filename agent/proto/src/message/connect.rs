//! The request to connect a child context.

use crate::connect::recipe::Recipe;
use crate::id::Handle;
use alloc::string::String;
use serde::Deserialize;
use serde::Serialize;

/// Request to the connect service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConnectRequest {
    /// Name of the new context.
    pub name: String,
    /// Process title in place of the name; if empty, none.
    pub title: Option<String>,
    /// Instructions for the hop.
    pub recipe: Recipe,
    /// True if the request did not pass the ancestors, so that they must be told of the new
    /// context.
    pub announce: bool,
    /// Seconds between heartbeats; 0 for none.
    pub heartbeat: u32,
    /// Handle of the sender that answers questions of the hop's program, or [`Handle::NONE`].
    pub prompts: Handle,
}
