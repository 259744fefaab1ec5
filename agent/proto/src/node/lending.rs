//! Credit for flows from contexts that this node does not obey, within the account of their link.

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
    /// The user of a flow took `length` bytes.
    pub fn consume(&mut self, flow: FlowKey, length: usize) {
        self.take(flow, length, 0);
    }

    /// The user of a flow took `length` bytes; of all that it has taken it still holds `kept`.
    pub fn take(&mut self, flow: FlowKey, length: usize, kept: usize) {
        self.go_on(flow, length, kept, false);
    }

    fn go_on(&mut self, flow: FlowKey, length: usize, kept: usize, turn: bool) {
        let Some(state) = self.flows.get_mut(flow) else { return };
        let question = state.question;
        let limit = match question.and_then(|link| self.links.get_mut(&link)) {
            None => state.incoming.consume(length, &mut self.spare),
            Some(link) => {
                let ledger = &mut link.ledger;
                let before = state.lent();
                state.kept = kept as u32;
                state.incoming.consume_within(length, &mut 0, 0);
                ledger.lent = ledger.lent + state.lent() - before;
                let (before, sum) = (state.lent(), state.sum());
                let most = ledger.left_for(flow, sum, turn) + (FIRST_WINDOW as usize).saturating_sub(sum);
                let limit = state.incoming.consume_within(0, &mut self.spare, most as u32);
                ledger.lent = ledger.lent + state.lent() - before;
                if limit.is_none() && state.incoming.is_starving() && !state.starves {
                    state.starves = true;
                    ledger.starving.push(flow);
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
        self.lend(question);
    }

    /// The last bytes of a flow have come: what it might still have brought is lent to others.
    pub fn whole(&mut self, flow: FlowKey, lent_before: usize) {
        let Some(state) = self.flows.get(flow) else { return };
        let (question, lent) = (state.question, state.lent());
        if let Some(link) = question.and_then(|link| self.links.get_mut(&link)) {
            link.ledger.lent = link.ledger.lent + lent - lent_before;
            link.ledger.settle(flow);
        }
        self.lend(question);
    }

    /// A flow of one that is not obeyed is over.
    pub fn repaid(&mut self, flow: FlowKey, state: &Flow) {
        if let Some(link) = state.question.and_then(|link| self.links.get_mut(&link)) {
            link.questions -= 1;
            link.ledger.lent -= state.lent();
            link.ledger.settle(flow);
            if state.starves {
                link.ledger.starving.retain(|other| *other != flow);
            }
        }
        self.lend(state.question);
    }

    /// Gives credit to those behind a link that wait for it, as far as there is any.
    fn lend(&mut self, link: Option<LinkId>) {
        while let Some(flow) =
            link.and_then(|link| self.links.get_mut(&link)).and_then(|link| link.ledger.next())
        {
            if let Some(state) = self.flows.get_mut(flow) {
                state.starves = false;
                let kept = state.kept as usize;
                self.go_on(flow, 0, kept, true);
            }
        }
    }

    /// How much is lent to those behind a link, and how many flows they have.
    #[cfg(feature = "count-steps")]
    pub fn lent(&self, link: LinkId) -> (usize, usize) {
        self.links.get(&link).map_or((0, 0), |link| (link.ledger.lent, link.questions as usize))
    }
}
