//! Encoding and decoding of values. No other crate names the serialisation format.
//!
//! Values are encoded by bincode 1.3 with variable-length integers. The decoder is this crate's
//! own: it checks each length against the rest of the message before it allocates, so that no
//! message takes more memory than a few times its size.
#![forbid(unsafe_code)]
#![warn(clippy::print_stdout)]

mod blob;
mod codec;
mod error;
mod message;
mod plain;
mod read;
mod secret;
mod write;

pub use blob::Blob;
pub use codec::{
    append, from_bytes, from_message, from_own, own, own_behind, to_bytes, to_message,
};
pub use error::{CodecError, MAX_MESSAGE};
pub use message::Message;
pub use read::DEPTH;
pub use secret::{Secret, Written, is_in_frame, reserve, was_written, zero};

/// Hash of the sources of this crate, in hexadecimal.
pub const SOURCES: &str = env!("OFFSHOOT_SOURCES");
