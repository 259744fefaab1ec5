//! Encoding and decoding of values. No other crate names the serialisation format.
//!
//! Values are encoded as bincode 1.3 does, with variable-length integers. Encoder and decoder are
//! this crate's own. The decoder checks each length against the rest of the message before it
//! allocates, so that no message takes more memory than a few times its size. The tests compare
//! both with bincode.
#![forbid(unsafe_code)]
#![warn(clippy::print_stdout)]

mod any_path;
mod blob;
mod codec;
mod error;
mod message;
mod plain;
mod plain_list;
mod read;
mod secret;
mod shape;
mod varint;
mod write;
mod wrong;

pub use any_path::AnyPath;
pub use blob::Blob;
pub use codec::{
    append, from_bytes, from_message, from_own, own, own_behind, to_bytes, to_message,
};
pub use error::{CodecError, MAX_MESSAGE};
pub use message::Message;
pub use read::DEPTH;
pub use secret::{Secret, Written, is_in_frame, reserve, was_written, zero};
pub use shape::{Facts, Shape, facts_of, read_as};

/// Hash of the sources of this crate, in hexadecimal.
pub const SOURCES: &str = env!("OFFSHOOT_SOURCES");
