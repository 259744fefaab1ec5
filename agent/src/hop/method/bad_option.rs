//! The error for an option or a value that a method does not take.

use std::fmt;

/// An option or a value that a method does not take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadOption {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
    /// Fault of the value, or the values that there are; may be empty.
    pub advice: &'static str,
}

impl BadOption {
    /// Returns the error for a key and a value.
    pub fn new(key: &str, value: &str) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
            advice: "",
        }
    }

    /// Adds what is wrong with the value, or what it would have to be.
    #[must_use]
    pub fn because(self, advice: &'static str) -> Self {
        Self { advice, ..self }
    }
}

impl fmt::Display for BadOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the method does not take {}={}", self.key, self.value)?;
        match self.advice {
            "" => Ok(()),
            advice => write!(f, ": {advice}"),
        }
    }
}

impl std::error::Error for BadOption {}
