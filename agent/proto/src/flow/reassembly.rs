//! Messages that have begun and are not whole yet: how long they may become, and which of them may go on.

use crate::id::ContextId;
use crate::id::FlowKey;
use alloc::collections::BTreeMap;
use offshoot_codec::MAX_MESSAGE;

/// So many bytes of messages that are not whole yet may be there for all senders together, beyond what their windows hold.
const PARTIAL: usize = 8 << 20;

/// The longest message from one that is not obeyed.
const STRANGER_MESSAGE: usize = 1 << 20;

/// The longest message of a context that is obeyed, or is not.
pub fn longest_of(obeyed: bool) -> usize {
    if obeyed { MAX_MESSAGE } else { STRANGER_MESSAGE }
}

/// Whose messages may go on that have begun and are not whole: all of them; or, where they are too much together, the longest
/// of each context, so that one that never goes on is no reason for another context to wait.
pub struct Longest(BTreeMap<ContextId, (usize, FlowKey)>);

impl Longest {
    /// Of all that have begun: on which flow, and how long they are so far.
    pub fn of(partials: impl Iterator<Item = (FlowKey, usize)> + Clone) -> Longest {
        let mut longest = BTreeMap::new();
        if partials.clone().map(|(_, length)| length).sum::<usize>() >= PARTIAL {
            for (flow, length) in partials {
                let longest = longest.entry(flow.peer).or_insert((length, flow));
                *longest = (length, flow).max(*longest);
            }
        }
        Longest(longest)
    }

    /// Whether the one of that flow may.
    pub fn lets(&self, flow: FlowKey, length: usize) -> bool {
        length == 0 || self.0.get(&flow.peer).is_none_or(|(_, longest)| flow == *longest)
    }
}
