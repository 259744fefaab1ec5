//! Lost contexts and the reasons of their loss, so that a late call gets the same error as one that
//! was under way.

use crate::collections::index_map::IndexMap;
use crate::error::reason::Reason;
use crate::id::ContextId;
use alloc::borrow::ToOwned;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

/// Maximum number of remembered contexts.
pub(crate) const REMEMBERED: usize = 4096;

/// Maximum length in bytes of a remembered reason.
const TEXT_LIMIT: usize = 256;

struct Loss {
    contexts: Vec<ContextId>,
    reason: Reason,
    text: String,
}

/// The latest losses that a node has seen.
#[derive(Default)]
pub struct LostContexts {
    losses: VecDeque<Loss>,
    contexts: usize,
    /// Number of forgotten losses.
    before: u32,
    /// The latest loss of each context, as a number that counts all losses.
    whose: IndexMap<ContextId, u32>,
}

impl LostContexts {
    /// Records that `contexts` are lost. Forgets the oldest losses to make room.
    pub(crate) fn remember(&mut self, contexts: &[ContextId], reason: Reason, text: &str) {
        let contexts = contexts[contexts.len().saturating_sub(REMEMBERED)..].to_vec();
        self.contexts += contexts.len();
        let number = self.before.wrapping_add(self.losses.len() as u32);
        for id in &contexts {
            self.whose.insert(*id, number);
        }
        let text = crate::text::shortened(text, TEXT_LIMIT).to_owned();
        self.losses.push_back(Loss {
            contexts,
            reason,
            text,
        });
        while self.contexts > REMEMBERED {
            let Some(oldest) = self.losses.pop_front() else {
                break;
            };
            self.contexts -= oldest.contexts.len();
            for id in &oldest.contexts {
                // The context may have been reached again and lost once more.
                if self.whose.get(id) == Some(&self.before) {
                    self.whose.remove(id);
                }
            }
            self.before = self.before.wrapping_add(1);
        }
    }

    /// Returns the reason why `id` was lost.
    pub fn why(&self, id: ContextId) -> Option<(Reason, &str)> {
        let at = self.whose.get(&id)?.wrapping_sub(self.before);
        let loss = self.losses.get(at as usize)?;
        Some((loss.reason, &loss.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_lost_contexts_are_remembered_with_their_reasons() {
        let mut lost = LostContexts::default();
        lost.remember(&[ContextId(1), ContextId(2)], Reason::Lost, "cut");
        lost.remember(&[ContextId(3)], Reason::ConnectFailed, &"é".repeat(1000));
        assert_eq!(lost.why(ContextId(2)), Some((Reason::Lost, "cut")));
        assert!(
            lost.why(ContextId(3))
                .is_some_and(|(_, text)| text.len() <= TEXT_LIMIT)
        );
        assert_eq!(lost.why(ContextId(4)), None);
        for id in 10..10 + REMEMBERED as u32 {
            lost.remember(&[ContextId(id)], Reason::Lost, "");
        }
        assert_eq!(lost.why(ContextId(1)), None);
        assert_eq!((lost.contexts, lost.losses.len()), (REMEMBERED, REMEMBERED));
        let many: Vec<_> = (0..10_000).map(ContextId).collect();
        lost.remember(&many, Reason::Lost, "all");
        assert_eq!((lost.contexts, lost.losses.len()), (REMEMBERED, 1));
        assert_eq!(
            lost.whose.len(),
            REMEMBERED,
            "nothing is kept of what is forgotten"
        );
    }

    #[test]
    fn a_context_lost_again_is_remembered_with_the_latest_reason() {
        let mut lost = LostContexts::default();
        for round in 0..3 * REMEMBERED as u32 {
            lost.remember(&[ContextId(7)], Reason::Lost, "again");
            lost.remember(&[ContextId(100 + round)], Reason::Lost, "once");
        }
        assert_eq!(lost.why(ContextId(7)), Some((Reason::Lost, "again")));
        lost.remember(&[ContextId(7)], Reason::ShutDown, "at last");
        assert_eq!(lost.why(ContextId(7)), Some((Reason::ShutDown, "at last")));
        assert!(lost.whose.len() <= REMEMBERED);
    }
}
