//! What is held because of those behind one link who are not obeyed: one sum, however many contexts they make up.
//!
//! Each of their flows may bring [`FIRST_WINDOW`] unasked. All beyond that is lent: credit that was given and not used, bytes
//! that have come and were not taken, and those that were taken and are still held, of messages that are not whole or not
//! answered yet. Where as much is lent as may be, flows wait for credit; of some contexts one flow each is favoured and may go
//! on all the same, so that messages that wait for their rest do not wait for each other.

use crate::flow::FIRST_WINDOW;
use crate::id::FlowKey;
use alloc::vec::Vec;

/// How much may be lent to those behind one link, in bytes.
pub const LENT: usize = 4 << 20;

/// How many flows are favoured, and for how much each: a message of one that is not obeyed, and what it is told of at once.
pub const FAVOURED: usize = 4;

/// See [`FAVOURED`].
pub const FAVOUR: usize = (1 << 20) + (128 << 10);

/// The least for which credit is given.
const LEAST: usize = FIRST_WINDOW as usize / 2;

/// The account of a link.
#[derive(Default)]
pub struct Ledger {
    pub lent: usize,
    /// Flows that wait for credit.
    pub starving: Vec<FlowKey>,
    favoured: Vec<FlowKey>,
}

impl Ledger {
    /// How much more may be lent to a flow of which so much is there. Unless it is its turn, those that wait come first.
    pub fn left_for(&self, flow: FlowKey, sum: usize, turn: bool) -> usize {
        if self.favoured.contains(&flow) {
            (LENT + FAVOURED * FAVOUR).saturating_sub(self.lent).min(FAVOUR.saturating_sub(sum))
        } else if turn || self.starving.is_empty() {
            LENT.saturating_sub(self.lent)
        } else {
            0
        }
    }

    /// The next of those that wait to whom something may be lent.
    pub fn next(&mut self) -> Option<FlowKey> {
        if self.starving.is_empty() || self.lent + LEAST > LENT + FAVOURED * FAVOUR {
            return None;
        }
        let full = self.lent + LEAST > LENT;
        let favoured = &self.favoured;
        let may = |flow: &FlowKey| {
            let another = favoured.len() < FAVOURED && favoured.iter().all(|other| other.peer != flow.peer);
            !full || another || favoured.contains(flow)
        };
        let at = self.starving.iter().position(may)?;
        let flow = self.starving.remove(at);
        if full && !self.favoured.contains(&flow) {
            self.favoured.push(flow);
        }
        Some(flow)
    }

    /// A flow has got what it waited for, or is over.
    pub fn settle(&mut self, flow: FlowKey) {
        self.favoured.retain(|other| *other != flow);
    }
}
