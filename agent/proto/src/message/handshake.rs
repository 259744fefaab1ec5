//! The handshake between an agent and its parent, and the reply to a connect request.

use alloc::string::String;
use alloc::vec::Vec;
use serde::Deserialize;
use serde::Serialize;

/// First message of an agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// Build of the agent. Later messages are understood only if it equals the parent's.
    pub build: u64,
    /// Process number.
    pub process: u32,
    /// Host name.
    pub machine: String,
    /// Version of the package.
    pub version: String,
    /// Signatures of the agent's functions.
    pub functions: Vec<u64>,
}

/// Reply to a connect request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Connected {
    /// Process number of the agent.
    pub process: u32,
    /// Host name.
    pub machine: String,
    /// Number of attempts that the bootstrap took.
    pub attempts: u8,
    /// Signatures of the agent's functions.
    pub functions: Vec<u64>,
}

/// First bytes of the answer to a process that may not join; the reason follows.
pub const REFUSED: &str = "refused: ";
