//! Reassembly of messages: their maximum length, and which of them may continue.

use crate::id::ContextId;
use crate::id::FlowKey;
use alloc::collections::BTreeMap;
use offshoot_codec::MAX_MESSAGE;

/// Maximum number of bytes of incomplete messages of all senders together, beyond their windows.
const PARTIAL: usize = 8 << 20;

/// Maximum length in bytes of a message from a context that is not obeyed.
const STRANGER_MESSAGE: usize = 1 << 20;

/// Returns the maximum length in bytes of a message from a context that is obeyed or not.
pub fn longest_of(obeyed: bool) -> usize {
    if obeyed {
        MAX_MESSAGE
    } else {
        STRANGER_MESSAGE
    }
}

/// The incomplete messages that may continue: all of them, or if they exceed their limit together,
/// the longest of each context, so that one that never continues blocks no other context.
pub struct Longest(BTreeMap<ContextId, (usize, FlowKey)>);

impl Longest {
    /// Decides for incomplete messages, given as their flows and present lengths.
    pub fn of(partials: impl Iterator<Item = (FlowKey, usize)> + Clone) -> Self {
        let mut longest = BTreeMap::new();
        if partials.clone().map(|(_, length)| length).sum::<usize>() >= PARTIAL {
            for (flow, length) in partials {
                let longest = longest.entry(flow.peer).or_insert((length, flow));
                *longest = (length, flow).max(*longest);
            }
        }
        Self(longest)
    }

    /// Returns true if the message of this flow, of this length, may continue.
    pub fn lets(&self, flow: FlowKey, length: usize) -> bool {
        length == 0
            || self
                .0
                .get(&flow.peer)
                .is_none_or(|(_, longest)| flow == *longest)
    }
}
