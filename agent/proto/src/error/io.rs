//! Conversion from and to std's I/O errors, for `?` in functions that read and write streams.
//!
//! The only file of this crate that can name std: `extern crate` binds the name in this module
//! only.

extern crate std;

use crate::error::Error;
use crate::error::call::CallError;
use alloc::string::ToString;
use core::fmt::Display;
use std::io::ErrorKind;

/// Converts to [`Error::System`].
impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::System {
            action: "reading or writing".into(),
            detail: error.to_string(),
        }
    }
}

/// Keeps the error, whose sentence is the text of the new one.
impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::TimedOut { .. } => ErrorKind::TimedOut,
            Error::Spawn { errno, .. } => Self::from_raw_os_error(*errno).kind(),
            Error::Connect(_) | Error::Undelivered { .. } | Error::ShutDown => {
                ErrorKind::ConnectionAborted
            }
            _ => ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// Converts a function's own error to its text.
impl<E: Display> From<CallError<E>> for std::io::Error {
    fn from(error: CallError<E>) -> Self {
        Error::from(error).into()
    }
}
