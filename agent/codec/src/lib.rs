//! Values to bytes and back: the only crate that names the serialisation format.
//!
//! bincode 1.3's format with variable-length integers writes values. A reader of our own checks every length against
//! the rest of the message before it allocates, so that no message can take more memory than a few times its length.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

mod blob;
mod codec;
mod error;
mod message;
mod plain;
mod read;
mod secret;
mod write;

pub use blob::Blob;
pub use codec::{append, from_bytes, from_message, from_own, own, own_behind, to_bytes, to_message};
pub use error::{CodecError, MAX_MESSAGE};
pub use message::Message;
pub use read::DEPTH;
pub use secret::{Secret, Written, in_frame, is_in_frame, reserve, was_written, zero};

/// Sum over the sources of this crate, as hexadecimal digits.
pub const SOURCES: &str = env!("OFFSHOOT_SOURCES");
