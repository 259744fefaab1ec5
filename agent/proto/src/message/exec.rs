use crate::error::reason::Reason;
use crate::id::Handle;
use alloc::string::String;
use alloc::vec::Vec;
use serde::Deserialize;
use serde::Serialize;

/// The request to the service that runs programs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExecRequest {
    pub argv: Vec<Vec<u8>>,
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    pub clear_env: bool,
    pub directory: Option<Vec<u8>>,
    pub tie: Lifetime,
    /// Whether it takes along what it has daemonised when it ends by itself.
    pub end_all: bool,
    /// How long after its end, in milliseconds, others may hold its streams in silence.
    pub wait_streams: u32,
    /// How long it may take, in milliseconds, when it is told to end.
    pub grace: u32,
}

/// What ties a program to its context.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Lifetime {
    /// It ends with it, by whatever means there are.
    Bound,
    /// It may be let go while it runs.
    Loose,
    /// It is let go from its start, under this name.
    Free(String),
}

/// How a program ended: exactly one of the two is there.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ExitStatus {
    /// Its status, where it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl ExitStatus {
    /// Whether it ended by itself with status 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// As a shell says it: the status, or 128 and the signal.
    #[must_use]
    pub fn shell_code(&self) -> i32 {
        self.code.or(self.signal.map(|signal| 128 + signal)).unwrap_or(255)
    }
}

/// The request to the service that signals programs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SignalRequest {
    /// The flow of the program.
    pub program: Handle,
    pub signal: i32,
}

/// The reply of the service that runs programs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExecReply {
    pub status: ExitStatus,
    /// Why its agent has ended it, if it did: the status says nothing about its work then.
    pub ended: Option<Cause>,
}

/// Why an agent ends a program: the kind, and the particulars.
pub type Cause = (Reason, String);
