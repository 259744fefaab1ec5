//! The state of one flow of a node.

use crate::flow::FIRST_WINDOW;
use crate::flow::RecvCredit;
use crate::flow::SendCredit;
use crate::id::LinkId;

/// A flow as this node sees it.
#[derive(Default)]
pub struct Flow {
    pub(crate) outgoing: SendCredit,
    pub(crate) incoming: RecvCredit,
    /// How many flows came with this one; they end with it when it breaks off.
    pub(crate) streams: u8,
    /// The link of a question from below.
    pub(crate) question: Option<LinkId>,
    /// Whether it is to something that a program offers.
    pub(crate) offered: bool,
    /// Whether it is told when its link has room.
    pub(crate) waits: bool,
    /// Whether that is when the neighbour takes what goes to its peer.
    pub(crate) stuck: bool,
    /// What its user has taken and still holds; counted where it is a question.
    pub(crate) kept: u32,
    /// Whether it waits until credit can be lent to it.
    pub(crate) starves: bool,
    /// Whether a secret has come on it.
    pub(crate) secret: bool,
}

impl Flow {
    /// What may be there of it: come, or still to come, or kept.
    pub fn sum(&self) -> usize {
        let room = if self.incoming.ended() { 0 } else { self.incoming.room() };
        self.incoming.held() as usize + room + self.kept as usize
    }

    /// What of that is lent.
    pub fn lent(&self) -> usize {
        self.sum().saturating_sub(FIRST_WINDOW as usize)
    }
}
