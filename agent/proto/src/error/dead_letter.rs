use crate::error::Error;
use crate::error::reason::Reason;
use crate::id::ContextId;
use crate::text;
use alloc::format;
use alloc::string::String;
use serde::Deserialize;
use serde::Serialize;

/// A message that came back, as it travels.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Why.
    pub reason: Reason,
    /// The context that decided.
    pub by: ContextId,
    /// The particulars.
    #[serde(deserialize_with = "text::read")]
    pub text: String,
}

impl DeadLetter {
    /// This dead letter as an error about `context`; `by` is what the one is called who decided.
    pub fn into_error(self, context: &str, by: &str) -> Error {
        let by = if self.by == ContextId::ROOT { "the controller" } else { by };
        // A letter of this node's own may quote a program that has taken a hop.
        let text = text::one_line(&self.text);
        let detail = if text.is_empty() { format!("said {by}") } else { format!("{text} (said {by})") };
        Error::Undelivered { context: context.into(), reason: self.reason, detail }
    }
}
