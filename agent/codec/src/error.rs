//! The error of the codec, and the size limit of messages.

use std::fmt;

/// Maximum size of one message, such as an argument list or a result, in bytes: 128 MiB.
pub const MAX_MESSAGE: usize = 128 << 20;

/// Text for a type that cannot be decoded, whatever its bytes are.
pub(crate) const UNTOLD: &str = "a type that does not say what comes";

/// The error for a value that cannot be encoded or decoded; a text for the reader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CodecError(pub String);

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CodecError {}

impl CodecError {
    /// Returns the error for a value of `length` bytes that exceeds [`MAX_MESSAGE`].
    pub fn too_large(length: usize) -> Self {
        Self(too_large(length))
    }

    /// Returns true if the type is at fault, even between equal builds.
    pub fn is_of_type(&self) -> bool {
        self.0.ends_with(UNTOLD)
    }

    /// Returns true if the value exceeds [`MAX_MESSAGE`].
    pub fn is_too_large(&self) -> bool {
        self.0.ends_with(TOO_LARGE)
    }
}

/// End of the text for a value that is too large.
pub(crate) const TOO_LARGE: &str =
    " bytes, the limit is 134217728; use a Reader or Writer for more";

const _: () = assert!(MAX_MESSAGE == 134_217_728);

/// Returns the text for a value of `length` bytes or more.
#[cold]
pub(crate) fn too_large(length: usize) -> String {
    format!("{length}{TOO_LARGE}")
}
