//! The error that neither reader nor writer of the tree's own messages has.

/// There is none of it. A message that asked for one all the same, as a float or a type with checks of its own would, is no
/// message: the first test that reads it ends here.
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

/// Result of a step that cannot fail.
pub type Result<T> = std::result::Result<T, Never>;
