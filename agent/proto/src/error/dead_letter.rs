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
    /// Returns an error about `context`; `by` is the name of the context that has returned the
    /// message.
    pub fn into_error(self, context: &str, by: &str) -> Error {
        let by = if self.by == ContextId::ROOT {
            "the controller"
        } else {
            by
        };
        // A dead letter of this node may quote a program that has taken a hop.
        let text = text::one_line(&self.text);
        let detail = if text.is_empty() {
            format!("reported by {by}")
        } else {
            format!("{text} (reported by {by})")
        };
        Error::Undelivered {
            context: context.into(),
            reason: self.reason,
            detail,
        }
    }
}
