//! Returned messages.

use crate::error::Error;
use crate::error::reason::Reason;
use crate::id::ContextId;
use crate::text;
use alloc::format;
use alloc::string::String;
use serde::Deserialize;
use serde::Serialize;

/// A returned message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Reason.
    pub reason: Reason,
    /// Context that has returned the message.
    pub by: ContextId,
    /// Details.
    #[serde(deserialize_with = "text::read")]
    pub text: String,
}

impl DeadLetter {
    /// Returns an error about `context`. `by` is the name of the context that has returned the
    /// message, and empty if this node has returned it.
    pub fn into_error(self, context: &str, by: &str) -> Error {
        // A dead letter of this node may quote a program that has taken a hop.
        let mut detail = text::one_line(&self.text);
        if !by.is_empty() && by != context {
            detail = match detail.is_empty() {
                true => format!("reported by {by}"),
                false => format!("{detail} (reported by {by})"),
            };
        }
        Error::Undelivered {
            context: context.into(),
            reason: self.reason,
            detail,
        }
    }
}
