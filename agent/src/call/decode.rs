use crate::call::function::{Remote, read_as};
use crate::context::Context;
use crate::context::transfer;
use offshoot_codec as codec;
use offshoot_codec::CodecError;
use offshoot_proto::CallError;
use offshoot_proto::Error;
use offshoot_proto::error::about_value;
use offshoot_proto::error::codec_error;
use offshoot_proto::error::unsent;
use offshoot_proto::message::outcome::Outcome;
use offshoot_proto::message::outcome::failed;
use offshoot_proto::message::outcome::read_failure;
use offshoot_proto::message::outcome::split_error;
use offshoot_proto::message::outcome::value;
use offshoot_proto::routing::Origin;
use offshoot_proto::text::shortened;
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use std::sync::Arc;

/// The most bytes of an error's text that are sent beside the error itself.
pub(crate) const TEXT_LIMIT: usize = 4 << 10;

/// Decodes the arguments of a function, runs it, and encodes the outcome. Used by the attribute.
#[must_use]
pub fn run_encoded<F: Remote>(
    cx: &Context,
    origin: Origin,
    request: Vec<u8>,
    at: usize,
) -> Vec<u8> {
    let call = transfer::decode_incoming::<F>(cx, (origin, cx.name()), &Arc::new(request), at);
    outcome(
        cx,
        call.map_err(|error| about_value(error, "the arguments of ", F::NAME)),
    )
}

/// Does the same with the node locked, which excludes contexts and ends of streams. Used by the
/// attribute.
#[must_use]
pub fn run_encoded_locked<F: Remote>(
    cx: &Context,
    _: Origin,
    request: Vec<u8>,
    at: usize,
) -> Vec<u8> {
    transfer::locked(|| {
        let call = codec::from_message::<F>(&Arc::new(request), at);
        outcome(cx, call.map_err(|error| codec_error(cx.name(), error)))
    })
}

/// Runs a function of the stock agent as [`run_encoded_locked`] does. Its types are as simple as
/// the tree's own messages and it cannot fail, so the agent has no other code for values.
#[must_use]
pub fn run_own<F: Remote<Error = Infallible>>(
    cx: &Context,
    _: Origin,
    request: Vec<u8>,
    at: usize,
) -> Vec<u8> {
    match codec::from_own::<F>(request.get(at..).unwrap_or_default()).map(|call| call.run(cx)) {
        Ok(Ok(result)) => value(&result),
        Ok(Err(never)) => match never {},
        Err(error) => failed(&codec_error(cx.name(), error)),
    }
}

pub(crate) fn outcome<F: Remote>(cx: &Context, call: Result<F, Error>) -> Vec<u8> {
    let call = match call {
        Ok(call) => call,
        Err(error) => return failed(&error),
    };
    let of_result = |error| about_value(unsent(cx.name(), error), "the result of ", F::NAME);
    match call.run(cx) {
        Ok(result) => read_as::<F, _>(|| codec::append(vec![Outcome::Value as u8], &result))
            .unwrap_or_else(|error| failed(&of_result(error))),
        Err(error) => match read_as::<F, _>(|| F::encode_error(&error)) {
            Ok((text, error)) => {
                let text = shortened(&text, TEXT_LIMIT);
                let length = (text.len() as u16).to_le_bytes();
                [
                    &[Outcome::Error as u8],
                    &length[..],
                    text.as_bytes(),
                    &error,
                ]
                .concat()
            }
            Err(error) => failed(&of_result(error)),
        },
    }
}

/// Decodes the reply of a function.
pub(crate) fn read_reply<F: Remote>(
    context: &Context,
    reply: Vec<u8>,
) -> Result<F::Value, CallError<F::Error>> {
    let from = (Origin::of(context.id()), context.name());
    match reply.split_first() {
        Some((&tag, bytes)) if tag == Outcome::Error as u8 => {
            let error = transfer::decode_incoming_with(context, from, || {
                let (_, error) =
                    split_error(bytes).ok_or_else(|| CodecError("a cut error".into()))?;
                F::decode_error(error)
            });
            Err(match error {
                Ok(error) => CallError::Function {
                    error,
                    context: context.name().into(),
                    function: F::NAME.into(),
                },
                Err(error) => CallError::Failed(error),
            })
        }
        Some((&tag, _)) if tag == Outcome::Value as u8 => {
            let value = transfer::decode_incoming(context, from, &Arc::new(reply), 1);
            Ok(value.map_err(|error| about_value(error, "the result of ", F::NAME))?)
        }
        _ => Err(read_failure(context.name(), &reply)
            .naming(context.name())
            .into()),
    }
}

/// Decodes a reply whose error can only be one of this crate.
pub(crate) fn read_value_from<T: DeserializeOwned>(
    context: &Context,
    reply: &[u8],
) -> Result<T, Error> {
    match reply.split_first() {
        Some((&tag, bytes)) if tag == Outcome::Value as u8 => {
            let from = (Origin::of(context.id()), context.name());
            transfer::decode_incoming_with(context, from, || codec::from_bytes(bytes))
        }
        _ => Err(read_failure(context.name(), reply).naming(context.name())),
    }
}
