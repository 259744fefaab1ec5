//! The account of one link: bytes held for all contexts behind it that this node does not obey.
//!
//! Each of their flows may bring [`FIRST_WINDOW`] unasked. Everything beyond that counts as lent:
//! unused credit, bytes that were not consumed, and consumed bytes of messages that are incomplete
//! or not answered yet. Once [`LENT`] is reached, flows wait for credit. One flow each of up to
//! [`FAVOURED`] contexts is favoured and may continue, so that incomplete messages do not block
//! each other.

use crate::flow::FIRST_WINDOW;
use crate::id::FlowKey;
use alloc::vec::Vec;

/// Maximum number of bytes lent to all contexts behind one link.
pub const LENT: usize = 4 << 20;

/// Maximum number of favoured flows.
pub const FAVOURED: usize = 4;

/// Maximum number of bytes lent to one favoured flow: one message and its immediate reply.
pub const FAVOUR: usize = (1 << 20) + (128 << 10);

/// Minimum number of bytes for which credit is granted.
const LEAST: usize = FIRST_WINDOW as usize / 2;

/// The account of one link.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Bytes lent at present.
    pub lent: usize,
    /// Flows that wait for credit, oldest first.
    pub waiting_flows: Vec<FlowKey>,
    favoured: Vec<FlowKey>,
}

impl Ledger {
    /// Returns the number of bytes that may still be lent to a flow that holds `sum`. Waiting flows
    /// come first, unless it is this flow's turn.
    pub(crate) fn left_for(&self, flow: FlowKey, sum: usize, turn: bool) -> usize {
        if self.favoured.contains(&flow) {
            (LENT + FAVOURED * FAVOUR)
                .saturating_sub(self.lent)
                .min(FAVOUR.saturating_sub(sum))
        } else if turn || self.waiting_flows.is_empty() {
            LENT.saturating_sub(self.lent)
        } else {
            0
        }
    }

    /// Removes and returns the next waiting flow to which credit can be lent.
    pub(crate) fn next(&mut self) -> Option<FlowKey> {
        if self.waiting_flows.is_empty() || self.lent + LEAST > LENT + FAVOURED * FAVOUR {
            return None;
        }
        let full = self.lent + LEAST > LENT;
        let favoured = &self.favoured;
        let may = |flow: &FlowKey| {
            let another =
                favoured.len() < FAVOURED && favoured.iter().all(|other| other.peer != flow.peer);
            !full || another || favoured.contains(flow)
        };
        let at = self.waiting_flows.iter().position(may)?;
        let flow = self.waiting_flows.remove(at);
        if full && !self.favoured.contains(&flow) {
            self.favoured.push(flow);
        }
        Some(flow)
    }

    /// Ends the favour of a flow that has received its message or is closed.
    pub(crate) fn settle(&mut self, flow: FlowKey) {
        self.favoured.retain(|other| *other != flow);
    }
}
