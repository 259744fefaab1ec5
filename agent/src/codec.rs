//! Values to bytes and back: the only module that names the serialisation format.
//!
//! bincode 1.3 with variable-length integers, always with a limit, so that no length in a message can make this side
//! allocate more than the message itself could hold.

use bincode::Options;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;

/// The most bytes one message (an argument list, a result) may take: 128 MiB.
pub const MAX_MESSAGE: usize = 128 << 20;

/// A value could not be turned into bytes or back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CodecError(pub String);

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CodecError {}

fn options() -> impl Options {
    bincode::DefaultOptions::new().with_limit(MAX_MESSAGE as u64)
}

/// A value as bytes.
///
/// # Errors
/// When the value does not serialise or is larger than [`MAX_MESSAGE`].
#[inline(never)]
pub fn to_bytes<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
    // Without bincode's own limit: that would serialise twice, once to count.
    let mut bytes = Vec::new();
    crate::secret::in_frame(|| options().with_no_limit().serialize_into(&mut bytes, value))
        .map_err(|error| CodecError(error.to_string()))?;
    if bytes.len() > MAX_MESSAGE {
        return Err(CodecError(format!("{} bytes, the limit is {MAX_MESSAGE}", bytes.len())));
    }
    Ok(bytes)
}

/// Bytes as a value; all of them must be used.
///
/// # Errors
/// When the bytes are not a `T`.
#[inline(never)]
pub fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    options().deserialize(bytes).map_err(|error| CodecError(error.to_string()))
}
