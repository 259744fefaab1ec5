//! Conversion of std's I/O errors, for `?` in functions that read and write streams.
//!
//! The only file of this crate that can name std: `extern crate` binds the name in this module
//! only.

extern crate std;

use crate::error::Error;
use alloc::string::ToString;

/// Converts to [`Error::System`].
impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::System {
            action: "reading or writing".into(),
            detail: error.to_string(),
        }
    }
}
