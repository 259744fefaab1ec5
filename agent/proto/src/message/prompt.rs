//! A question of a hop's program, sent to the context that requested the hop.

use crate::text;
use alloc::string::String;
use serde::Deserialize;
use serde::Serialize;

/// The answer that a prompt asks for.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PromptKind {
    /// The password of the hop's own account.
    Password,
    /// The passphrase of a private key.
    Passphrase,
    /// The PIN of a security key.
    Pin,
    /// A one-time code.
    Code,
    /// The decision on an unknown host key: `yes`, `no` or its fingerprint.
    HostKey,
    /// A touch of a security key. Nothing is to be typed, and the answer is not used.
    Touch,
    /// Anything else. Its text is all that is known of it; a host on the way may have written it.
    Other,
}

/// A question of a hop's program. The reply is the answer, or `None` without one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PromptRequest {
    /// The answer that it asks for.
    pub kind: PromptKind,
    /// The number of the question among those of its hop. A touch has that of the question before.
    pub number: u32,
    /// The lines of the question; the last one is the prompt.
    #[serde(deserialize_with = "text::read_lines")]
    pub text: String,
}
