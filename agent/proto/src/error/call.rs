//! Errors of calls.

use crate::error::Error;
use crate::text;
use alloc::boxed::Box;
use alloc::string::ToString;
use core::convert::Infallible;
use core::fmt;
use serde::Deserialize;
use serde::Serialize;

/// The reason why a call has no value: the function returned its own error, or the call itself
/// failed. Can be sent, for instance as a part of a result.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum CallError<E = Infallible> {
    /// The function has returned an error of its own.
    Function {
        /// The error.
        error: E,
        /// Context in which the function ran.
        #[serde(deserialize_with = "text::read")]
        context: Box<str>,
        /// Full name of the function.
        #[serde(deserialize_with = "text::read")]
        function: Box<str>,
    },
    /// The function did not run, or its result did not arrive.
    Failed(Error),
}

impl<E> CallError<E> {
    /// Returns the function's own error, if it returned one.
    pub fn function(self) -> Option<E> {
        match self {
            Self::Function { error, .. } => Some(error),
            Self::Failed(_) => None,
        }
    }
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Function {
                error,
                context,
                function,
            } => write!(f, "{context}: {function}: {error}"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

// No bound `E: Error`, because functions may fail with a text. No `source()`: the text is that of
// the wrapped error, and a report that prints all causes would repeat it.
impl<E: fmt::Debug + fmt::Display> core::error::Error for CallError<E> {}

impl<E> From<Error> for CallError<E> {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl<E: fmt::Display> From<CallError<E>> for Error {
    fn from(error: CallError<E>) -> Self {
        match error {
            CallError::Failed(error) => error,
            own => Self::Function(own.to_string()),
        }
    }
}
