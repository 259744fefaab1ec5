//! Contexts that are no more, and why: a call that comes too late is told the same as one that was on its way.

use crate::error::Reason;
use crate::id::ContextId;
use std::collections::VecDeque;

/// How many contexts are remembered.
pub const REMEMBERED: usize = 4096;
/// The most of a reason's text that is kept.
const TEXT_LIMIT: usize = 256;

struct Loss {
    /// In order.
    contexts: Vec<ContextId>,
    reason: Reason,
    text: String,
}

/// The losses that a node has seen, the latest of them.
#[derive(Default)]
pub struct Lost {
    losses: VecDeque<Loss>,
    contexts: usize,
}

impl Lost {
    /// Remembers that `contexts` (in order) are gone. The oldest losses make room for it.
    pub fn remember(&mut self, contexts: &[ContextId], reason: Reason, text: &str) {
        let contexts = contexts[contexts.len().saturating_sub(REMEMBERED)..].to_vec();
        self.contexts += contexts.len();
        let text = crate::text::shortened(text, TEXT_LIMIT).to_owned();
        self.losses.push_back(Loss { contexts, reason, text });
        while self.contexts > REMEMBERED {
            self.contexts -= self.losses.pop_front().map_or(self.contexts, |loss| loss.contexts.len());
        }
    }

    /// Why `id` is gone.
    pub fn why(&self, id: ContextId) -> Option<(Reason, &str)> {
        let loss = self.losses.iter().rev().find(|loss| loss.contexts.binary_search(&id).is_ok())?;
        Some((loss.reason, &loss.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_losses_are_remembered_with_their_reasons() {
        let mut lost = Lost::default();
        lost.remember(&[ContextId(1), ContextId(2)], Reason::Lost, "cut");
        lost.remember(&[ContextId(3)], Reason::ConnectFailed, &"é".repeat(1000));
        assert_eq!(lost.why(ContextId(2)), Some((Reason::Lost, "cut")));
        assert!(lost.why(ContextId(3)).is_some_and(|(_, text)| text.len() <= TEXT_LIMIT));
        assert_eq!(lost.why(ContextId(4)), None);
        for id in 10..10 + REMEMBERED as u32 {
            lost.remember(&[ContextId(id)], Reason::Lost, "");
        }
        assert_eq!(lost.why(ContextId(1)), None);
        assert_eq!((lost.contexts, lost.losses.len()), (REMEMBERED, REMEMBERED));
        let many: Vec<_> = (0..10_000).map(ContextId).collect();
        lost.remember(&many, Reason::Lost, "all");
        assert_eq!((lost.contexts, lost.losses.len()), (REMEMBERED, 1));
    }
}
