//! Numbers about links and flows for debugging. Nothing here changes the node.

use crate::id::ContextId;
use crate::id::FlowKey;
use crate::id::Handle;
use crate::id::LinkId;
use crate::node::machine::Node;
use crate::routing::Policy;

/// Names of the numbers of a link, in order:
///
/// - `up`: 1 if the neighbour has said hello
/// - `paused`: 1 if the link is not read from, because too much is queued because of it
/// - `control`: bytes of control frames in the send queue
/// - `bulk`: bytes of other frames in the send queue
/// - `held`: bytes among these that the neighbour has paused
/// - `lanes`: number of flows in the send queue
/// - `pending`: bytes of an incomplete incoming frame
/// - `caused`: bytes queued anywhere because of frames from the link
/// - `choked`: 1 if the neighbour has paused everything
/// - `choked-for`: number of contexts that the neighbour has paused
/// - `told`: number of neighbours that were asked to pause
/// - `waiting`: number of flows of this node that wait for room
pub const LINK: &str =
    "up paused control bulk held lanes pending caused choked choked-for told waiting";

/// Names of the numbers of a flow, in order: the peer, 1 if this node has opened it; bytes sent,
/// send limit, 1 if the end was sent; bytes received, bytes consumed, receive limit, window, 1 if
/// the end was received.
pub const FLOW: &str = "peer ours sent limit end received consumed limit window end";

impl Node {
    /// Returns each link with its child, `None` for the parent, and the numbers of [`LINK`].
    pub fn look_at_links(&self) -> impl Iterator<Item = (LinkId, Option<ContextId>, [u64; 12])> {
        self.links.iter().map(|(link, state)| {
            let queue = &state.queue;
            let numbers = [
                state.up.into(),
                state.paused.into(),
                queue.urgent as u64,
                queue.bulk as u64,
                queue.held as u64,
                queue.count() as u64,
                state.decoder.pending() as u64,
                state.bytes_attributed as u64,
                state.choked.all.into(),
                state.choked.some.len() as u64,
                state.throttled.len() as u64,
                state.waiting.len() as u64,
            ];
            (*link, state.child, numbers)
        })
    }

    /// Returns each flow with the numbers of [`FLOW`].
    pub fn look_at_flows(&self) -> impl Iterator<Item = (FlowKey, [u64; 10])> {
        self.flows.iter().map(|(flow, state)| {
            let [sent, may_be_sent] = state.outgoing.position();
            let [received, consumed, may_come, window] = state.incoming.position();
            let (sent_end, received_end) =
                (state.outgoing.ended().into(), state.incoming.ended().into());
            let (peer, ours) = (flow.peer.0.into(), flow.opener.into());
            let numbers = [
                peer,
                ours,
                sent,
                may_be_sent,
                sent_end,
                received,
                consumed,
                may_come,
                window,
                received_end,
            ];
            (flow, numbers)
        })
    }

    /// Returns the services of this node with their policies.
    pub fn services(&self) -> impl Iterator<Item = &(Handle, Policy)> {
        self.services.iter()
    }
}
