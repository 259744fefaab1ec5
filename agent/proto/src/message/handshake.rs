//! First words between an agent and its parent, and the answer to a finished connect.

use alloc::string::String;
use alloc::vec::Vec;
use serde::Deserialize;
use serde::Serialize;

/// What an agent tells its parent first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// Build number of the agent: what follows is only understood where it is the same.
    pub build: u64,
    pub process: u32,
    pub machine: String,
    pub version: String,
    /// The signatures of its functions.
    pub functions: Vec<u64>,
}

/// What a finished connect answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Connected {
    pub process: u32,
    pub machine: String,
    pub attempts: u8,
    pub functions: Vec<u64>,
}

/// First bytes of the answer to a process that may not join; the reason follows.
pub const REFUSED: &str = "refused: ";
