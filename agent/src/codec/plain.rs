//! Reads and writes the messages of the tree itself.
//!
//! By the same format as [`read`](super::read), but without an error at each step: what does not fit is remembered, everything
//! behind it reads as nothing, and the end tells. An agent reads a dozen of these messages and never goes on with one in the middle,
//! so all of the branches that serde's derived code has for errors are for nothing; here they are not even compiled. Types of users
//! are read by the other reader, which says what is wrong, and whose values may object. The same goes for writing: memory never refuses.

mod read;
mod write;

pub(super) use read::read;
pub(super) use write::write;

/// There is none of it. A message that asked for one all the same, as a float or a type with checks of its own would, is no
/// message: the first test that reads it ends here.
#[derive(Debug)]
enum Never {}

impl std::fmt::Display for Never {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {}
    }
}

impl std::error::Error for Never {}

impl serde::de::Error for Never {
    #[cold]
    fn custom<T: std::fmt::Display>(_: T) -> Never {
        std::process::abort()
    }
}

impl serde::ser::Error for Never {
    #[cold]
    fn custom<T: std::fmt::Display>(_: T) -> Never {
        std::process::abort()
    }
}

type Result<T> = std::result::Result<T, Never>;
