//! Credit for flows of contexts that this node does not obey, limited by the account of their link.

use crate::flow::FIRST_WINDOW;
use crate::id::FlowKey;
use crate::id::LinkId;
use crate::node::flow::Flow;
use crate::node::machine::Node;
use crate::wire::Flags;
use crate::wire::Frame;
use crate::wire::Header;
use crate::wire::Kind;
use alloc::vec::Vec;

impl Node {
    /// Records that the user of a flow has consumed `length` bytes.
    pub fn consume(&mut self, flow: FlowKey, length: usize) {
        self.take(flow, length, 0);
    }

    /// Records that the user of a flow has consumed `length` bytes, and still holds `kept` of all
    /// bytes that it has consumed.
    pub fn take(&mut self, flow: FlowKey, length: usize, kept: usize) {
        self.settle_credit(flow, length, kept, false);
    }

    fn settle_credit(&mut self, flow: FlowKey, length: usize, kept: usize, turn: bool) {
        let Some(state) = self.flows.get_mut(flow) else {
            return;
        };
        let unprivileged = state.unprivileged;
        let limit = match unprivileged.and_then(|link| self.links.get_mut(&link)) {
            None => state.incoming.consume(length, &mut self.growth_left),
            Some(link) => {
                let ledger = &mut link.ledger;
                let before = state.lent();
                state.kept = kept as u32;
                state.incoming.consume_within(length, &mut 0, 0);
                ledger.lent = ledger.lent + state.lent() - before;
                let (before, sum) = (state.lent(), state.sum());
                let most =
                    ledger.left_for(flow, sum, turn) + (FIRST_WINDOW as usize).saturating_sub(sum);
                let limit = state
                    .incoming
                    .consume_within(0, &mut self.growth_left, most as u32);
                ledger.lent = ledger.lent + state.lent() - before;
                if limit.is_none() && state.incoming.needs_credit() && !state.awaits_credit {
                    state.awaits_credit = true;
                    ledger.waiting_flows.push(flow);
                }
                if state.sum() == state.incoming.room() {
                    ledger.settle(flow);
                }
                limit
            }
        };
        if let Some(limit) = limit {
            let header = Header {
                handle: flow.handle,
                flags: Flags::default().with(Flags::OPENER, flow.opener),
                offset: limit,
                ..Header::new(Kind::Credit, self.id(), flow.peer)
            };
            self.dispatch(None, Frame::new(header, Vec::new()));
        }
        self.lend(unprivileged);
    }

    /// Handles the end of a flow's incoming bytes: lends its unused credit to others.
    pub fn whole(&mut self, flow: FlowKey, lent_before: usize) {
        let Some(state) = self.flows.get(flow) else {
            return;
        };
        let (unprivileged, lent) = (state.unprivileged, state.lent());
        if let Some(link) = unprivileged.and_then(|link| self.links.get_mut(&link)) {
            link.ledger.lent = link.ledger.lent + lent - lent_before;
            link.ledger.settle(flow);
        }
        self.lend(unprivileged);
    }

    /// Closes the account of a flow that was removed.
    pub(crate) fn close_account(&mut self, flow: FlowKey, state: &Flow) {
        if let Some(link) = state
            .unprivileged
            .and_then(|link| self.links.get_mut(&link))
        {
            link.unprivileged_flows -= 1;
            link.ledger.lent -= state.lent();
            link.ledger.settle(flow);
            if state.awaits_credit {
                link.ledger.waiting_flows.retain(|other| *other != flow);
            }
        }
        self.lend(state.unprivileged);
    }

    /// Grants credit to flows behind a link that wait for it, as far as there is any.
    fn lend(&mut self, link: Option<LinkId>) {
        while let Some(flow) = link
            .and_then(|link| self.links.get_mut(&link))
            .and_then(|link| link.ledger.next())
        {
            if let Some(state) = self.flows.get_mut(flow) {
                state.awaits_credit = false;
                let kept = state.kept as usize;
                self.settle_credit(flow, 0, kept, true);
            }
        }
    }

    /// Returns the number of bytes lent to contexts behind a link, and the number of their flows.
    #[cfg(feature = "count-steps")]
    pub fn lent(&self, link: LinkId) -> (usize, usize) {
        self.links.get(&link).map_or((0, 0), |link| {
            (link.ledger.lent, link.unprivileged_flows as usize)
        })
    }
}
