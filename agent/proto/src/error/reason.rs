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
            Reason::NoRoute => "no such context",
            Reason::Isolated => {
                "contexts below different parents may not talk without Router::open_path"
            }
            Reason::NoHandle => "nothing listens there",
            Reason::Refused => "refused by policy",
            Reason::Lost => "connection lost",
            Reason::ConnectFailed => "not connected",
            Reason::QueueFull => "queue full",
            Reason::Cancelled => "cancelled by the peer",
            Reason::Silent => "silent",
            Reason::Violation => "protocol violation",
            Reason::TooLarge => "message too large",
            Reason::ShutDown => "shut down",
            Reason::Stopped => "its process is stopped",
            Reason::Late => "deadline exceeded",
        })
    }
}
