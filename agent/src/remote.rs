//! Functions that can be called from another context: the trait the attribute implements, and the table of an image.

use crate::codec::{self, CodecError};
use crate::context::Context;
use crate::error::{CallError, Error, codec_error};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;

/// A call of one function: its arguments, and how it runs. Implemented by `#[offshoot::remote]`.
pub trait Remote: Serialize + DeserializeOwned + Send + 'static {
    /// What the function returns.
    type Value: Serialize + DeserializeOwned + Send + 'static;
    /// Its own error; [`std::convert::Infallible`] for one that cannot fail.
    type Error: Send + 'static;
    /// The function's full name, by which an image knows it.
    const NAME: &'static str;
    /// Runs the function in the context `cx`.
    ///
    /// # Errors
    /// The function's own.
    fn run(self, cx: &Context) -> Result<Self::Value, Self::Error>;
    /// The function's error as it travels.
    fn encode_error(error: &Self::Error) -> Result<Vec<u8>, CodecError>;
    /// The function's error as it arrives.
    ///
    /// # Errors
    /// When the bytes are no such error.
    fn decode_error(bytes: &[u8]) -> Result<Self::Error, CodecError>;
}

/// One entry of the table.
pub struct Function {
    /// The full name.
    pub name: &'static str,
    /// Whether it runs on the broker's thread: it never waits.
    pub quick: bool,
    /// Whether others than ancestors may call it: contexts below, and those to which the root has opened a path.
    pub anyone: bool,
    /// Decodes the arguments, runs it, encodes the outcome.
    pub run: fn(&Context, &[u8]) -> Vec<u8>,
}

/// All functions that are compiled into this program.
#[linkme::distributed_slice]
pub static FUNCTIONS: [Function];

/// The first byte of a reply.
#[derive(Copy, Clone, PartialEq, Eq)]
#[repr(u8)]
enum Outcome {
    Value = 0,
    Error = 1,
    Failed = 2,
}

fn tagged(outcome: Outcome, bytes: Vec<u8>) -> Vec<u8> {
    let mut reply = bytes;
    reply.insert(0, outcome as u8);
    reply
}

/// A reply that says the call itself failed.
pub(crate) fn failed(error: &Error) -> Vec<u8> {
    tagged(Outcome::Failed, codec::to_bytes(error).unwrap_or_default())
}

/// A reply with a value that is not a function's.
pub(crate) fn value<T: Serialize>(value: &T) -> Vec<u8> {
    match codec::to_bytes(value) {
        Ok(bytes) => tagged(Outcome::Value, bytes),
        Err(error) => failed(&Error::Codec { context: "this context".into(), detail: error.0 }),
    }
}

/// Runs a function from its table entry. Used by the attribute.
#[must_use]
pub fn run_encoded<F: Remote>(cx: &Context, arguments: &[u8]) -> Vec<u8> {
    let call = match codec::from_bytes::<F>(arguments) {
        Ok(call) => call,
        Err(error) => return failed(&codec_error(cx.name(), error)),
    };
    match call.run(cx) {
        Ok(result) => value(&result),
        Err(error) => match F::encode_error(&error) {
            Ok(bytes) => tagged(Outcome::Error, bytes),
            Err(error) => failed(&codec_error(cx.name(), error)),
        },
    }
}

/// What a reply says, for a function.
pub(crate) fn read_reply<F: Remote>(context: &str, reply: &[u8]) -> Result<F::Value, CallError<F::Error>> {
    let codec = |error| CallError::Failed(codec_error(context, error));
    match reply.split_first() {
        Some((&tag, bytes)) if tag == Outcome::Error as u8 => {
            Err(CallError::Function(F::decode_error(bytes).map_err(codec)?))
        }
        _ => read_value(context, reply).map_err(CallError::Failed),
    }
}

/// What a reply says, where only this crate's errors are possible.
pub(crate) fn read_value<T: DeserializeOwned>(context: &str, reply: &[u8]) -> Result<T, Error> {
    let codec = |error| codec_error(context, error);
    match reply.split_first() {
        Some((&tag, bytes)) if tag == Outcome::Value as u8 => codec::from_bytes(bytes).map_err(codec),
        Some((&tag, bytes)) if tag == Outcome::Failed as u8 => {
            Err(codec::from_bytes::<Error>(bytes).map_err(codec)?)
        }
        _ => Err(codec(CodecError("an empty or unknown reply".into()))),
    }
}

/// Picks, at compile time, how an error type travels: as itself where it serialises, as kind and text where it is an
/// [`io::Error`]. Used by the attribute through auto-referencing.
pub struct ErrorForm<E>(std::marker::PhantomData<E>);

impl<E> ErrorForm<E> {
    /// The chooser for `E`.
    #[must_use]
    pub fn new() -> Self {
        ErrorForm(std::marker::PhantomData)
    }
}

impl<E> Default for ErrorForm<E> {
    fn default() -> Self {
        Self::new()
    }
}

/// Errors that serialise travel as they are.
pub trait AsItself {
    /// The error.
    type Error;
    /// To bytes.
    ///
    /// # Errors
    /// When it does not serialise after all.
    fn encode(&self, error: &Self::Error) -> Result<Vec<u8>, CodecError>;
    /// From bytes.
    ///
    /// # Errors
    /// When they are no such error.
    fn decode(&self, bytes: &[u8]) -> Result<Self::Error, CodecError>;
}

impl<E: Serialize + DeserializeOwned> AsItself for ErrorForm<E> {
    type Error = E;
    fn encode(&self, error: &E) -> Result<Vec<u8>, CodecError> {
        codec::to_bytes(error)
    }
    fn decode(&self, bytes: &[u8]) -> Result<E, CodecError> {
        codec::from_bytes(bytes)
    }
}

/// An [`io::Error`] travels as the system's number, or as kind and text.
pub trait AsIoError {
    /// To bytes.
    ///
    /// # Errors
    /// When it is too large.
    fn encode(&self, error: &io::Error) -> Result<Vec<u8>, CodecError>;
    /// From bytes.
    ///
    /// # Errors
    /// When they are no such error.
    fn decode(&self, bytes: &[u8]) -> Result<io::Error, CodecError>;
}

/// The kinds that keep their meaning on the way; any other arrives as `Other` with its text.
const KINDS: [io::ErrorKind; 16] = [
    io::ErrorKind::Other,
    io::ErrorKind::NotFound,
    io::ErrorKind::PermissionDenied,
    io::ErrorKind::ConnectionRefused,
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::NotConnected,
    io::ErrorKind::AddrInUse,
    io::ErrorKind::BrokenPipe,
    io::ErrorKind::AlreadyExists,
    io::ErrorKind::WouldBlock,
    io::ErrorKind::InvalidInput,
    io::ErrorKind::InvalidData,
    io::ErrorKind::TimedOut,
    io::ErrorKind::UnexpectedEof,
    io::ErrorKind::Unsupported,
];

impl AsIoError for &ErrorForm<io::Error> {
    fn encode(&self, error: &io::Error) -> Result<Vec<u8>, CodecError> {
        let kind = KINDS.iter().position(|kind| *kind == error.kind()).unwrap_or(0) as u8;
        codec::to_bytes(&(error.raw_os_error(), kind, error.to_string()))
    }
    fn decode(&self, bytes: &[u8]) -> Result<io::Error, CodecError> {
        let (errno, kind, text): (Option<i32>, u8, String) = codec::from_bytes(bytes)?;
        Ok(match errno {
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => {
                io::Error::new(KINDS.get(usize::from(kind)).copied().unwrap_or(io::ErrorKind::Other), text)
            }
        })
    }
}
