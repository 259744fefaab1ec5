//! Functions that can be called from another context: the trait the attribute implements, the table of an image, and how
//! outcomes travel. How errors of each type travel is in [`error_form`](crate::error_form).

use crate::codec::{self, CodecError};
use crate::context::Context;
use crate::error::{CallError, Error, codec_error, unsent};
use crate::invoke::Way;
use crate::router::Policy;
use crate::text::shortened;
use crate::told::Origin;
use crate::travel;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// A call of one function: its arguments, and how it runs. Implemented by `#[offshoot::remote]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no call of a remote function",
    label = "not a call",
    note = "mark the function with #[offshoot::remote] and give its arguments as fields: context.call(name {{ argument: value }})"
)]
pub trait Remote: Serialize + DeserializeOwned + Send + 'static {
    /// What the function returns.
    type Value: Serialize + DeserializeOwned + Send + 'static;
    /// Its own error; [`std::convert::Infallible`] for one that cannot fail.
    type Error: Send + 'static;
    /// The function's full name, by which an image knows it.
    const NAME: &'static str;
    /// Sums of its name and of its signature's text, by which both sides see whether they mean the same.
    const SIGNATURE: u64;
    /// Whether its callers are answered before it runs.
    const NO_REPLY: bool;
    /// Runs the function in the context `cx`.
    ///
    /// # Errors
    /// The function's own.
    fn run(self, cx: &Context) -> Result<Self::Value, Self::Error>;
    /// The function's error as it travels: its text, and itself.
    fn encode_error(error: &Self::Error) -> Result<(String, Vec<u8>), CodecError>;
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
    /// See [`Remote::SIGNATURE`].
    pub signature: u64,
    /// Who may call it, beside the context itself.
    pub policy: Policy,
    /// Whether its callers are answered before it runs.
    pub no_reply: bool,
    /// When and on which thread it runs.
    pub way: Way,
    /// Decodes the arguments from where they begin in a request of somebody, runs it, encodes the outcome.
    pub run: fn(&Context, Origin, Vec<u8>, usize) -> Vec<u8>,
}

/// All functions that are compiled into this program.
#[linkme::distributed_slice]
pub static FUNCTIONS: [Function];

/// The sum of a function's name in the upper half, of its signature's text in the lower. Used by the attribute.
#[must_use]
pub const fn signature(name: &str, text: &str) -> u64 {
    (sum(name.as_bytes()) as u64) << 32 | sum(text.as_bytes()) as u64
}

/// FNV-1a, 32 bits.
const fn sum(bytes: &[u8]) -> u32 {
    let (mut sum, mut at) = (0x811c_9dc5_u32, 0);
    while at < bytes.len() {
        sum = (sum ^ bytes[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    sum
}

/// The first byte of a reply.
#[derive(Copy, Clone, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Outcome {
    Value = 0,
    /// The function's own error: the length of its text, the text, the error.
    Error = 1,
    Failed = 2,
}

/// The most of an error's text that goes beside the error itself.
const TEXT_LIMIT: usize = 4 << 10;

pub(crate) fn tagged(outcome: Outcome, bytes: Vec<u8>) -> Vec<u8> {
    let mut reply = bytes;
    reply.insert(0, outcome as u8);
    reply
}

/// A reply that says the call itself failed.
pub(crate) fn failed(error: &Error) -> Vec<u8> {
    codec::own_behind(vec![Outcome::Failed as u8], error)
}

/// Whether that is what a reply says.
pub(crate) fn is_failed(reply: &[u8]) -> bool {
    reply.first() == Some(&(Outcome::Failed as u8))
}

/// A reply with a value that is not a function's.
pub(crate) fn value<T: Serialize>(value: &T) -> Vec<u8> {
    codec::own_behind(vec![Outcome::Value as u8], value)
}

/// Why a reply has no value, as a text; none where it has one.
pub(crate) fn failure_of(reply: &[u8]) -> Option<String> {
    match reply.split_first() {
        Some((&tag, _)) if tag == Outcome::Value as u8 => None,
        Some((&tag, bytes)) if tag == Outcome::Error as u8 => Some(
            split_error(bytes)
                .map_or_else(String::new, |(text, _)| String::from_utf8_lossy(text).into_owned()),
        ),
        Some((_, bytes)) => {
            Some(codec::from_own::<Error>(bytes).map_or_else(|error| error.0, |error| error.to_string()))
        }
        None => Some(String::new()),
    }
}

fn split_error(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))
}

/// Runs a function from its table entry. Used by the attribute.
#[must_use]
pub fn run_encoded<F: Remote>(cx: &Context, origin: Origin, request: Vec<u8>, at: usize) -> Vec<u8> {
    let call = travel::arrive::<F>(cx, (origin, cx.name()), &Arc::new(request), at);
    outcome(cx, call.map_err(|error| of_what(error, "the arguments of ", F::NAME)))
}

/// The same where the node is locked: contexts and ends of streams cannot arrive there.
#[must_use]
pub fn run_encoded_locked<F: Remote>(cx: &Context, _: Origin, request: Vec<u8>, at: usize) -> Vec<u8> {
    travel::locked(|| {
        let call = codec::from_message::<F>(&Arc::new(request), at);
        outcome(cx, call.map_err(|error| codec_error(cx.name(), error)))
    })
}

fn outcome<F: Remote>(cx: &Context, call: Result<F, Error>) -> Vec<u8> {
    let call = match call {
        Ok(call) => call,
        Err(error) => return failed(&error),
    };
    match call.run(cx) {
        Ok(result) => codec::append(vec![Outcome::Value as u8], &result)
            .unwrap_or_else(|error| failed(&unsent(cx.name(), error))),
        Err(error) => match F::encode_error(&error) {
            Ok((text, error)) => {
                let text = shortened(&text, TEXT_LIMIT);
                let length = (text.len() as u16).to_le_bytes();
                [&[Outcome::Error as u8], &length[..], text.as_bytes(), &error].concat()
            }
            Err(error) => failed(&unsent(cx.name(), error)),
        },
    }
}

/// An error about a value, with what that is of which function.
fn of_what(error: Error, what: &str, function: &str) -> Error {
    match error {
        Error::Codec { context, detail } => match detail.strip_prefix("a value ") {
            Some(rest) => Error::Codec { context, detail: [what, function, " ", rest].concat() },
            None => Error::Codec { context, detail },
        },
        other => other,
    }
}

/// What a reply says that has come to `context`, for a function.
pub(crate) fn read_reply<F: Remote>(
    context: &Context,
    reply: Vec<u8>,
) -> Result<F::Value, CallError<F::Error>> {
    let from = (Origin::of(context.id()), context.name());
    match reply.split_first() {
        Some((&tag, bytes)) if tag == Outcome::Error as u8 => {
            let error = travel::arriving(context, from, || {
                let (_, error) = split_error(bytes).ok_or_else(|| CodecError("a cut error".into()))?;
                F::decode_error(error)
            });
            Err(error.map_or_else(CallError::Failed, CallError::Function))
        }
        Some((&tag, _)) if tag == Outcome::Value as u8 => {
            let value = travel::arrive(context, from, &Arc::new(reply), 1);
            Ok(value.map_err(|error| of_what(error, "the result of ", F::NAME))?)
        }
        _ => read_value(context.name(), &reply).map_err(|error| error.naming(context.name()).into()),
    }
}

/// What a reply says, where only this crate's errors are possible and the value may be bound to where it arrives.
pub(crate) fn read_value_from<T: DeserializeOwned>(context: &Context, reply: &[u8]) -> Result<T, Error> {
    match reply.split_first() {
        Some((&tag, bytes)) if tag == Outcome::Value as u8 => {
            let from = (Origin::of(context.id()), context.name());
            travel::arriving(context, from, || codec::from_bytes(bytes))
        }
        _ => read_value(context.name(), reply).map_err(|error| error.naming(context.name())),
    }
}

/// What a reply says, where only this crate's errors are possible.
pub(crate) fn read_value<T: DeserializeOwned>(context: &str, reply: &[u8]) -> Result<T, Error> {
    let codec = |error| codec_error(context, error);
    match reply.split_first() {
        Some((&tag, bytes)) if tag == Outcome::Value as u8 => codec::from_bytes(bytes).map_err(codec),
        Some((&tag, bytes)) if tag == Outcome::Failed as u8 => {
            Err(codec::from_own::<Error>(bytes).map_err(codec)?)
        }
        _ => Err(codec(CodecError("an empty or unknown reply".into()))),
    }
}
