//! Replies: a value, an error of the function, or a failure of the call.

use crate::error::Error;
use crate::error::codec_error;
use alloc::string::String;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use offshoot_codec as codec;
use offshoot_codec::CodecError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The first byte of a reply.
#[derive(Copy, Clone, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// The encoded value.
    Value = 0,
    /// An error of the function: length of its text, the text, the encoded error.
    Error = 1,
    /// The encoded error of a call that failed itself.
    Failed = 2,
}

/// Returns a reply of this kind with these bytes.
pub fn tagged(outcome: Outcome, bytes: Vec<u8>) -> Vec<u8> {
    let mut reply = bytes;
    reply.insert(0, outcome as u8);
    reply
}

/// Returns the reply for a call that failed itself.
pub fn failed(error: &Error) -> Vec<u8> {
    codec::own_behind(vec![Outcome::Failed as u8], error)
}

/// Returns true if a reply says that the call itself failed.
pub fn is_failed(reply: &[u8]) -> bool {
    reply.first() == Some(&(Outcome::Failed as u8))
}

/// Returns a reply with a value of a service.
pub fn value<T: Serialize>(value: &T) -> Vec<u8> {
    codec::own_behind(vec![Outcome::Value as u8], value)
}

/// Returns the text of the error in a reply; `None` if it has a value.
pub fn failure_of(reply: &[u8]) -> Option<String> {
    match reply.split_first() {
        Some((&tag, _)) if tag == Outcome::Value as u8 => None,
        Some((&tag, bytes)) if tag == Outcome::Error as u8 => {
            Some(split_error(bytes).map_or_else(String::new, |(text, _)| {
                String::from_utf8_lossy(text).into_owned()
            }))
        }
        Some((_, bytes)) => Some(
            codec::from_own::<Error>(bytes).map_or_else(|error| error.0, |error| error.to_string()),
        ),
        None => Some(String::new()),
    }
}

/// Splits an error of a function into its text and the encoded error.
pub fn split_error(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))
}

/// Decodes the reply of a service of `context`.
///
/// # Errors
/// Returns the error in the reply, or one if the reply cannot be decoded.
pub fn read_value<T: DeserializeOwned>(context: &str, reply: &[u8]) -> Result<T, Error> {
    let value = value_of(context, reply)?;
    codec::from_bytes(value).map_err(|error| codec_error(context, error))
}

/// Decodes a reply as [`read_value`] does, by the decoder of the tree's own messages, which is the
/// only one in a stock agent.
///
/// # Errors
/// Returns an error as [`read_value`] does.
pub fn read_own<T: DeserializeOwned>(context: &str, reply: &[u8]) -> Result<T, Error> {
    let value = value_of(context, reply)?;
    codec::from_own(value).map_err(|error| codec_error(context, error))
}

/// Returns the encoded value in a reply.
fn value_of<'a>(context: &str, reply: &'a [u8]) -> Result<&'a [u8], Error> {
    match reply.split_first() {
        Some((&tag, bytes)) if tag == Outcome::Value as u8 => Ok(bytes),
        _ => Err(read_failure(context, reply)),
    }
}

/// Decodes the error in a reply of `context` without a value.
pub fn read_failure(context: &str, reply: &[u8]) -> Error {
    let error = match reply.split_first() {
        Some((&tag, bytes)) if tag == Outcome::Failed as u8 => codec::from_own::<Error>(bytes),
        _ => Err(CodecError("an empty or unknown reply".into())),
    };
    error.unwrap_or_else(|error| codec_error(context, error))
}
