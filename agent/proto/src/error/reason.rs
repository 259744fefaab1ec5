//! Reasons for returned messages.

use core::fmt;
use serde::Deserialize;
use serde::Serialize;

/// The reason why a message was returned.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Reason {
    /// The destination is unknown at the node where the message stopped.
    NoRoute,
    /// Neither context is an ancestor of the other, and no path between them is open.
    Isolated,
    /// There is no service or flow with this handle.
    NoHandle,
    /// The service's policy does not admit the sender.
    Refused,
    /// The link to the context is lost.
    Lost,
    /// The context could not be connected.
    ConnectFailed,
    /// A queue on the path is full.
    QueueFull,
    /// The peer has cancelled the operation.
    Cancelled,
    /// Heartbeats of the link were missed.
    Silent,
    /// The context violated the protocol.
    Violation,
    /// The message is too large.
    TooLarge,
    /// The context was shut down, or is shutting down.
    ShutDown,
    /// The process of the context was stopped, as by SIGSTOP. Its link was closed and the process
    /// ended.
    Stopped,
    /// The deadline was exceeded.
    Late,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRoute => "no such context",
            Self::Isolated => {
                "contexts below different parents may not talk without Router::open_path"
            }
            Self::NoHandle => "nothing listens there",
            Self::Refused => "refused by policy",
            Self::Lost => "connection lost",
            Self::ConnectFailed => "not connected",
            Self::QueueFull => "queue full",
            Self::Cancelled => "cancelled",
            Self::Silent => "silent",
            Self::Violation => "protocol violation",
            Self::TooLarge => "message too large",
            Self::ShutDown => "shut down",
            Self::Stopped => "its process is stopped",
            Self::Late => "deadline exceeded",
        })
    }
}
