//! Messages of channels: records between a hub and its senders and receiver, and addresses of hubs.

use crate::error::Error;
use crate::error::Result;
use crate::id::ContextId;
use crate::id::Handle;
use crate::message::record::record;
use crate::message::record::take_record;
use crate::text::one_line;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use offshoot_codec::CodecError;
use offshoot_codec::MAX_MESSAGE;
use serde::Deserialize;
use serde::Serialize;

/// Length in bytes of the sender's context number, which begins every message to a receiver.
pub const SENT: usize = 4;

/// Returns the error for a message that cannot be decoded.
pub fn unreadable(error: CodecError) -> RecvError {
    RecvError::Unreadable(crate::error::codec_error("a sender", error))
}

/// The reason why a receiver has no message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RecvError {
    /// All senders are closed. Nothing follows.
    Closed,
    /// A sender has reported an error with `Sender::fail`. Messages may follow.
    Failed {
        /// Context of the sender.
        context: String,
        /// Text of the error.
        text: String,
    },
    /// The context of a sender was lost before it closed the sender, or violated the protocol.
    /// Messages of other senders may follow.
    Lost(Error),
    /// A message is not of the channel's type. Messages may follow.
    Unreadable(Error),
    /// No message arrived before the deadline.
    TimedOut,
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("all senders are closed"),
            Self::Failed { context, text } => write!(f, "{context}: {text}"),
            Self::Lost(error) => write!(f, "a sender was lost: {error}"),
            Self::Unreadable(error) => error.fmt(f),
            Self::TimedOut => f.write_str("nothing was sent in time"),
        }
    }
}

impl core::error::Error for RecvError {}

impl From<RecvError> for Error {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::Lost(error) | RecvError::Unreadable(error) => error,
            error => Self::Function(error.to_string()),
        }
    }
}

/// Buffered messages of a receiver.
#[derive(Default)]
pub struct MessageBuffer {
    bytes: Vec<u8>,
    at: usize,
    over: bool,
}

/// A message, or the reason why there is none.
pub type Received<T> = core::result::Result<T, RecvError>;

impl MessageBuffer {
    /// Removes and returns the next message with its sender, or an error in its place: `Closed` at
    /// the end. Returns `None` if more bytes are needed.
    pub fn pop(&mut self) -> Option<Received<(ContextId, Vec<u8>)>> {
        let Self { bytes, at, over } = self;
        loop {
            return Some(match take_record(bytes, at, MAX_MESSAGE + SENT) {
                Ok(Some((VALUE, content))) => match content.first_chunk::<SENT>() {
                    Some(from) => Ok((ContextId(u32::from_le_bytes(*from)), content)),
                    None => Err(unreadable(CodecError("it has no sender".into()))),
                },
                Ok(Some((FAILED, content))) => match offshoot_codec::from_own(&content) {
                    Ok((context, text)) => {
                        let (context, text): (String, String) = (context, text);
                        Err(RecvError::Failed {
                            context: one_line(&context),
                            text: one_line(&text),
                        })
                    }
                    Err(error) => Err(unreadable(error)),
                },
                Ok(Some((LOST, content))) => match offshoot_codec::from_own(&content) {
                    Ok(error) => Err(RecvError::Lost(error)),
                    Err(error) => Err(unreadable(error)),
                },
                Ok(Some(_)) => continue,
                Ok(None) if *over => Err(RecvError::Closed),
                Ok(None) => return None,
                Err(length) => {
                    (*over, *at) = (true, bytes.len());
                    Err(unreadable(CodecError(format!(
                        "a message of {length} bytes"
                    ))))
                }
            });
        }
    }

    /// Ends the buffer because the receiver was refused by its hub. Returns the error, once.
    pub fn refused(&mut self, error: Error) -> RecvError {
        if core::mem::replace(&mut self.over, true) {
            RecvError::Closed
        } else {
            RecvError::Lost(error)
        }
    }

    /// Appends a chunk of the stream. Returns its length. A broken stream is reported once, and
    /// then ends.
    pub fn take(&mut self, chunk: Result<Option<Vec<u8>>>) -> usize {
        match chunk {
            Ok(Some(chunk)) => {
                self.bytes.extend_from_slice(&chunk);
                chunk.len()
            }
            Ok(None) => {
                self.over = true;
                0
            }
            Err(error) => {
                // The incomplete message is lost.
                self.bytes.truncate(self.at);
                self.bytes
                    .extend(record(LOST, &offshoot_codec::own(&error)));
                self.over = true;
                0
            }
        }
    }
}

/// Record kind, from a sender: a value.
pub const VALUE: u8 = 0;

/// Record kind: an error that a sender reports, as text. To a receiver, the sender's context
/// precedes it.
pub const FAILED: u8 = 1;

/// Record kind, to a receiver: a sender was lost; its reason.
pub const LOST: u8 = 2;

/// Record kind, from a sender: a copy of the sender is under way; its number.
pub const COPY: u8 = 3;

/// Record kind, from a sender: the call with the copy has completed. A copy that has not appeared
/// by then will not appear.
pub const VOID: u8 = 4;

/// Record kind, from a sender: closed, except for the fate of its copies.
pub const CLOSED: u8 = 5;

/// Record kind, from a sender: the call with the copy was cancelled; if its deadline was exceeded,
/// the time limit in milliseconds follows. Nothing more comes from the copy, whether or not it has
/// appeared.
pub const LOSE: u8 = 6;

/// The role of an endpoint of a channel.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum EndpointRole {
    /// Sender.
    Writer = 0,
    /// Receiver.
    Reader = 1,
}

/// The address of a hub, with the key to open it.
#[derive(Copy, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Context of the hub.
    pub context: ContextId,
    /// Number of the hub within its context.
    pub number: u32,
    /// Key, chosen at random for each role.
    pub key: u64,
}

impl Address {
    /// Returns the handle of the hub. Any number yields a handle of hubs only.
    pub fn door(&self) -> Handle {
        Handle(self.number | Handle::FIRST_HUB.0)
    }

    /// Returns the greeting with which an endpoint opens its flow to the hub.
    pub fn greeting(&self, role: EndpointRole, copy: u64) -> Vec<u8> {
        [
            &[role as u8][..],
            &self.key.to_le_bytes(),
            &copy.to_le_bytes(),
        ]
        .concat()
    }
}

/// Length of a greeting in bytes.
pub const GREETING: usize = 17;

/// Decodes a greeting: role, key, and number of the copy. Returns `None` if it is invalid.
pub fn greeting(bytes: &[u8]) -> Option<(EndpointRole, u64, u64)> {
    let (role, numbers) = bytes.first_chunk::<GREETING>()?.split_first()?;
    let role = match role {
        0 => EndpointRole::Writer,
        1 => EndpointRole::Reader,
        _ => return None,
    };
    let number = |at: usize| Some(u64::from_le_bytes(*numbers[at..].first_chunk()?));
    Some((role, number(0)?, number(8)?))
}
