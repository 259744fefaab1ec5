//! Reads and writes the messages of the tree itself.
//!
//! By the same format as [`read`](crate::read), but without an error at each step: what does not fit is remembered, everything
//! behind it reads as nothing, and the end tells. An agent reads a dozen of these messages and never goes on with one in the middle,
//! so all of the branches that serde's derived code has for errors are for nothing; here they are not even compiled. Types of users
//! are read by the other reader, which says what is wrong, and whose values may object. The same goes for writing: memory never refuses.

mod never;
mod read;
mod write;

pub use read::read;
pub use write::write;
