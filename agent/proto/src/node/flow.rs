//! The state of one flow of a node.

use crate::flow::FIRST_WINDOW;
use crate::flow::RecvCredit;
use crate::flow::SendCredit;
use crate::id::LinkId;

/// A flow, seen from this node.
#[derive(Default)]
pub(crate) struct Flow {
    /// Credit for sending.
    pub(crate) outgoing: SendCredit,
    /// Credit for receiving.
    pub(crate) incoming: RecvCredit,
    /// Number of additional flows that were opened with this one and end with it if it breaks off.
    pub(crate) streams: u8,
    /// Link of the peer, if the flow is a request from a context that this node does not obey.
    pub(crate) unprivileged: Option<LinkId>,
    /// True if the flow belongs to a service of a program, false for a service of the tree.
    pub(crate) offered: bool,
    /// True if [`Event::Room`](crate::node::Event::Room) is due once the link has room.
    pub(crate) waits: bool,
    /// True if that event is due only once the neighbour accepts frames to the peer again.
    pub(crate) blocked: bool,
    /// Number of bytes that the user of the flow has consumed and still holds; counted for requests
    /// from contexts that are not obeyed.
    pub(crate) kept: u32,
    /// True if the flow waits for credit from its link's account.
    pub(crate) awaits_credit: bool,
    /// True if a secret has arrived on the flow.
    pub(crate) secret: bool,
}

impl Flow {
    /// Returns the number of bytes that this node holds or may receive for the flow.
    pub(crate) fn sum(&self) -> usize {
        let room = if self.incoming.ended() {
            0
        } else {
            self.incoming.room()
        };
        self.incoming.held() as usize + room + self.kept as usize
    }

    /// Returns the part of these bytes that counts against the link's account.
    pub(crate) fn lent(&self) -> usize {
        self.sum().saturating_sub(FIRST_WINDOW as usize)
    }
}
