//! Errors of std's input and output, for `?` in functions that read and write streams.
//!
//! The one file of this crate that can name std: `extern crate` here binds the name for this module alone.

extern crate std;

use crate::error::Error;
use alloc::string::ToString;

/// Becomes [`Error::System`].
impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Error {
        Error::System { action: "reading or writing".into(), detail: error.to_string() }
    }
}
