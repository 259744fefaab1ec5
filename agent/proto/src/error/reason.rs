use core::fmt;
use serde::Deserialize;
use serde::Serialize;

/// Why a message was returned instead of delivered.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Reason {
    /// No context of that number is known where the message stopped.
    NoRoute,
    /// Contexts that are not each other's ancestors may not talk.
    Isolated,
    /// Nothing listens at that handle.
    NoHandle,
    /// What listens there does not take messages from this sender.
    Refused,
    /// The link to it is lost.
    Lost,
    /// Its connection could not be made.
    ConnectFailed,
    /// More waited for it than may wait.
    QueueFull,
    /// The other end gave it up.
    Cancelled,
    /// Nothing came from it for too long.
    Silent,
    /// It broke a rule of the protocol.
    Violation,
    /// It is larger than a message may be.
    TooLarge,
    /// The context was ended, or is ending.
    ShutDown,
    /// The link to it is given up: its process is stopped, as by SIGSTOP. It has been ended.
    Stopped,
    /// Its time is over.
    Late,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::NoRoute => "no such context",
            Reason::Isolated => "contexts below different parents may not talk without Router::open_path",
            Reason::NoHandle => "nothing listens there",
            Reason::Refused => "refused by policy",
            Reason::Lost => "connection lost",
            Reason::ConnectFailed => "not connected",
            Reason::QueueFull => "too much was waiting for it",
            Reason::Cancelled => "given up by the other end",
            Reason::Silent => "silent",
            Reason::Violation => "it broke the protocol",
            Reason::TooLarge => "message too large",
            Reason::ShutDown => "shut down",
            Reason::Stopped => "its process is stopped",
            Reason::Late => "its time is over",
        })
    }
}
