//! Codec of the messages of the tree itself.
//!
//! Same format as [`read`](crate::read), but without an error at each step: the decoder records the
//! first mismatch, returns zeros from there on, and reports the mismatch at the end. An agent
//! decodes a dozen such messages and uses none before its end, so that the error branches of
//! serde's derived code would be dead weight; here they are not compiled. User types have the other
//! decoder, which says what is wrong and lets types reject their bytes. Encoding needs no errors
//! either, because writing to memory cannot fail.

mod never;
mod read;
mod write;

pub(crate) use read::read;
pub(crate) use write::write;
