//! Messages of channels: the records between a hub and its ends, and their addresses.

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

/// Length in bytes of the number of a sender's context, with which every message to a receiver begins.
pub const SENT: usize = 4;

/// Returns the error for a message of a sender that cannot be read.
pub fn unreadable(error: CodecError) -> RecvError {
    RecvError::Unreadable(crate::error::codec_error("a sender", error))
}

/// Why a receiver has no message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RecvError {
    /// All senders are closed. Nothing more comes.
    Closed,
    /// A sender says that something went wrong, by `Sender::fail`. More may come.
    Failed {
        /// The context it is in.
        context: String,
        /// What it says.
        text: String,
    },
    /// The context of a sender was lost before the sender was closed, or broke the rules. More may come from others.
    Lost(Error),
    /// A message came that is none of this type. More may come.
    Unreadable(Error),
    /// Nothing came in time.
    TimedOut,
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecvError::Closed => f.write_str("all senders are closed"),
            RecvError::Failed { context, text } => write!(f, "{context}: {text}"),
            RecvError::Lost(error) => write!(f, "a sender was lost: {error}"),
            RecvError::Unreadable(error) => error.fmt(f),
            RecvError::TimedOut => f.write_str("nothing was sent in time"),
        }
    }
}

impl core::error::Error for RecvError {}

impl From<RecvError> for Error {
    fn from(error: RecvError) -> Error {
        match error {
            RecvError::Lost(error) | RecvError::Unreadable(error) => error,
            error => Error::Function(error.to_string()),
        }
    }
}

/// What has come and was not received.
#[derive(Default)]
pub struct MessageBuffer {
    bytes: Vec<u8>,
    at: usize,
    over: bool,
}

pub type Received<T> = core::result::Result<T, RecvError>;

impl MessageBuffer {
    /// The next message as bytes behind those that say who has sent it, or an error in its place; `Closed` at the end, and
    /// nothing where more has to come first.
    pub fn pop(&mut self) -> Option<Received<(ContextId, Vec<u8>)>> {
        let MessageBuffer { bytes, at, over } = self;
        loop {
            return Some(match take_record(bytes, at, MAX_MESSAGE + SENT) {
                Ok(Some((VALUE, content))) => match content.first_chunk::<SENT>() {
                    Some(from) => Ok((ContextId(u32::from_le_bytes(*from)), content)),
                    None => Err(unreadable(CodecError("it does not say who has sent it".into()))),
                },
                Ok(Some((FAILED, content))) => match offshoot_codec::from_own(&content) {
                    Ok((context, text)) => {
                        let (context, text): (String, String) = (context, text);
                        Err(RecvError::Failed { context: one_line(&context), text: one_line(&text) })
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
                    Err(unreadable(CodecError(format!("a message of {length} bytes"))))
                }
            });
        }
    }

    /// Nothing can be received here: that is said once, and is the end.
    pub fn refused(&mut self, error: Error) -> RecvError {
        if core::mem::replace(&mut self.over, true) { RecvError::Closed } else { RecvError::Lost(error) }
    }

    /// Adds what came, and says how much. A stream that broke off says so once, and is at its end then.
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
                // What was not whole is lost.
                self.bytes.truncate(self.at);
                self.bytes.extend(record(LOST, &offshoot_codec::own(&error)));
                self.over = true;
                0
            }
        }
    }
}

/// What a writer's record is: a value.
pub const VALUE: u8 = 0;

/// An error that a sender wants its receiver to have: a text from a sender; to a receiver, with who said it.
pub const FAILED: u8 = 1;

/// To a receiver: a sender was lost, and how.
pub const LOST: u8 = 2;

/// From a sender: a copy of it is on its way; its number.
pub const COPY: u8 = 3;

/// From a sender: the call that took the copy along has ended. If it has not been heard of, it will not be.
pub const VOID: u8 = 4;

/// From a sender: it sends nothing more, but for what becomes of its copies.
pub const CLOSED: u8 = 5;

/// From a sender: the call that took the copy along was given up, after so many milliseconds where its time was over. Whether it has
/// been heard of or not, nothing more comes from the copy.
pub const LOSE: u8 = 6;

/// What an end is for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum EndpointRole {
    /// It sends.
    Writer = 0,
    /// It receives.
    Reader = 1,
}

/// Where a hub is, and by what it opens.
#[derive(Copy, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    pub context: ContextId,
    /// Its number among the hubs there.
    pub number: u32,
    pub key: u64,
}

impl Address {
    /// Where an end of it knocks: at a hub, whatever the number is that has come.
    pub fn door(&self) -> Handle {
        Handle(self.number | Handle::FIRST_HUB.0)
    }

    /// What an end says first.
    pub fn greeting(&self, role: EndpointRole, copy: u64) -> Vec<u8> {
        [&[role as u8][..], &self.key.to_le_bytes(), &copy.to_le_bytes()].concat()
    }
}

pub const GREETING: usize = 17;

/// What an end says first: what it is, by what key, and which copy. None where that is no greeting.
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
