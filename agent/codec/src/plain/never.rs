//! The error type of steps that cannot fail.

/// An error that does not occur. Floating-point numbers and types with checks of their own would
/// need one, so they cannot be part of a message of the tree; the first test that decodes one fails
/// here.
#[derive(Debug)]
pub enum Never {}

impl std::fmt::Display for Never {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {}
    }
}

impl std::error::Error for Never {}

impl serde::de::Error for Never {
    #[cold]
    fn custom<T: std::fmt::Display>(_: T) -> Self {
        std::process::abort()
    }
}

impl serde::ser::Error for Never {
    #[cold]
    fn custom<T: std::fmt::Display>(_: T) -> Self {
        std::process::abort()
    }
}

/// Result of a step that cannot fail.
pub(crate) type Result<T> = std::result::Result<T, Never>;
