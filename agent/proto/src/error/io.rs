//! Conversion from and to std's I/O errors, for `?` in functions that read and write streams.
//!
//! The only file of this crate that can name std: `extern crate` binds the name in this module
//! only.

extern crate std;

use crate::error::Error;
use crate::error::call::CallError;
use crate::message::channel::RecvError;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString;
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

/// An I/O error of the function is returned as it is, with its kind and number. Any other becomes a
/// text that names the context and the function.
impl<E> From<CallError<E>> for std::io::Error
where
    E: Into<Box<dyn core::error::Error + Send + Sync>>,
{
    fn from(error: CallError<E>) -> Self {
        match error {
            CallError::Failed(error) => error.into(),
            CallError::Function {
                error,
                context,
                function,
            } => match error.into().downcast::<Self>() {
                Ok(own) => *own,
                Err(own) => Self::other(Error::Function(format!("{context}: {function}: {own}"))),
            },
        }
    }
}

/// Converts as its [`Error`] does.
impl From<RecvError> for std::io::Error {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::TimedOut => Self::new(ErrorKind::TimedOut, error),
            error => Error::from(error).into(),
        }
    }
}
