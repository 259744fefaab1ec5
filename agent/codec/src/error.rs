//! Errors of the codec, and the limit that every message has.

use std::fmt;

/// The most bytes that one message (an argument list, a result) may take: 128 MiB.
pub const MAX_MESSAGE: usize = 128 << 20;

/// Text for a type that cannot be sent, whatever its bytes are.
pub const UNTOLD: &str = "a type that does not say what comes";

/// A value could not be turned into bytes or back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CodecError(pub String);

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CodecError {}

impl CodecError {
    /// A value of so many bytes is larger than a message may be.
    pub fn too_large(length: usize) -> CodecError {
        CodecError(format!("{length}{TOO_LARGE}"))
    }

    /// Whether it is the fault of a type, however well both sides agree. The stock agent's own types have no such fault.
    pub fn is_of_type(&self) -> bool {
        cfg!(panic = "unwind") && self.0.ends_with(UNTOLD)
    }

    /// Whether that is what it says.
    pub fn is_too_large(&self) -> bool {
        self.0.ends_with(TOO_LARGE)
    }
}

/// The end of what is said of a value that is too large.
pub const TOO_LARGE: &str = " bytes, the limit is 134217728; a Reader or Writer carries more";

const _: () = assert!(MAX_MESSAGE == 134_217_728);

/// Why bincode did not write a value. Its own texts for all that can be wrong when one is read would come along with `to_string`.
#[cold]
pub fn unwritten(error: bincode::ErrorKind) -> CodecError {
    CodecError(match error {
        bincode::ErrorKind::Custom(text) => text,
        // Memory never refuses, and there is no limit.
        _ => "a list or map that does not know its length cannot be sent: collect it first".into(),
    })
}
