//! What is held because of those behind one link who are not obeyed: one sum, however many contexts they make up.
//!
//! Each of their flows may bring [`FIRST_WINDOW`] unasked. All beyond that is lent: credit that was given and not used, bytes
//! that have come and were not taken, and those that were taken and are still held, of messages that are not whole or not
//! answered yet. Where as much is lent as may be, flows wait for credit; of some contexts one flow each is favoured and may go
//! on all the same, so that messages that wait for their rest do not wait for each other.

use crate::flow::FIRST_WINDOW;
use crate::id::FlowKey;
use crate::id::LinkId;
use crate::node::machine::Flow;
use crate::node::machine::Node;
use crate::wire::Flags;
use crate::wire::Frame;
use crate::wire::Header;
use crate::wire::Kind;
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
    starving: Vec<FlowKey>,
    favoured: Vec<FlowKey>,
}

impl Ledger {
    /// How much more may be lent to a flow of which so much is there. Unless it is its turn, those that wait come first.
    fn left_for(&self, flow: FlowKey, sum: usize, turn: bool) -> usize {
        if self.favoured.contains(&flow) {
            (LENT + FAVOURED * FAVOUR).saturating_sub(self.lent).min(FAVOUR.saturating_sub(sum))
        } else if turn || self.starving.is_empty() {
            LENT.saturating_sub(self.lent)
        } else {
            0
        }
    }

    /// The next of those that wait to whom something may be lent.
    fn next(&mut self) -> Option<FlowKey> {
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
    fn settle(&mut self, flow: FlowKey) {
        self.favoured.retain(|other| *other != flow);
    }
}

impl Flow {
    /// What may be there of it: come, or still to come, or kept.
    fn sum(&self) -> usize {
        let room = if self.incoming.ended() { 0 } else { self.incoming.room() };
        self.incoming.held() as usize + room + self.kept as usize
    }

    /// What of that is lent.
    pub fn lent(&self) -> usize {
        self.sum().saturating_sub(FIRST_WINDOW as usize)
    }
}

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
