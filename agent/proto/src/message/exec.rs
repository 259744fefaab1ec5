//! Messages about programs: start, signals, status.

use crate::error::reason::Reason;
use crate::id::Handle;
use alloc::string::String;
use alloc::vec::Vec;
use serde::Deserialize;
use serde::Serialize;

/// Request to the service that runs programs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExecRequest {
    /// Arguments, beginning with the program.
    pub argv: Vec<Vec<u8>>,
    /// Environment variables to set, as names and values.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// True if the program gets no other variables.
    pub clear_env: bool,
    /// Working directory; that of the agent if `None`.
    pub directory: Option<Vec<u8>>,
    /// Lifetime of the program.
    pub tie: Lifetime,
    /// True if daemonised descendants end with the program.
    pub end_all: bool,
    /// Time in milliseconds after the program's exit for which descendants may hold its streams
    /// silently.
    pub wait_streams: u32,
    /// Time in milliseconds between SIGTERM and SIGKILL.
    pub grace: u32,
}

/// The relation of a program's lifetime to that of its context.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Lifetime {
    /// Ends with the context.
    Bound,
    /// Ends with the context, unless it is detached while it runs.
    Loose,
    /// Detached from the start, under this name.
    Free(String),
}

/// The status of a program that has ended; either field is set.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExitStatus {
    /// Exit code, if the program exited by itself.
    pub code: Option<i32>,
    /// Number of the signal that ended the program.
    pub signal: Option<i32>,
}

impl ExitStatus {
    /// Creates the status of a program that has exited with a code, or was ended by a signal.
    pub fn new(code: Option<i32>, signal: Option<i32>) -> Self {
        Self { code, signal }
    }

    /// Returns true if the program exited with code 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// Returns the status as shells report it: the exit code, or 128 plus the signal.
    #[must_use]
    pub fn shell_code(&self) -> i32 {
        self.code
            .or(self.signal.map(|signal| 128 + signal))
            .unwrap_or(255)
    }
}

/// Request to the service that signals programs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SignalRequest {
    /// Flow of the program.
    pub program: Handle,
    /// Number of the signal.
    pub signal: i32,
}

/// Reply of the service that runs programs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExecReply {
    /// Status of the program.
    pub status: ExitStatus,
    /// Reason why the agent has ended the program, if it did. The status then says nothing about
    /// the program's work.
    pub ended: Option<Cause>,
}

/// A reason with details.
pub type Cause = (Reason, String);
