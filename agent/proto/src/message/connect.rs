use crate::connect::recipe::Recipe;
use alloc::string::String;
use serde::Deserialize;
use serde::Serialize;

/// The request to the service that connects.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConnectRequest {
    /// The name of the context to be.
    pub name: String,
    /// What its process title shows in place of the name; of an empty one nothing.
    pub title: Option<String>,
    /// How to get there.
    pub recipe: Recipe,
    /// Whether the ancestors have not seen this order pass and have to be told of the new context.
    pub announce: bool,
    /// Seconds between heartbeats; 0 for none.
    pub heartbeat: u32,
}
