//! What a node looks like from inside, as plain numbers for who debugs it. It changes nothing and decides nothing.

use crate::id::ContextId;
use crate::id::FlowKey;
use crate::id::Handle;
use crate::id::LinkId;
use crate::node::machine::Node;
use crate::routing::Policy;

/// What the numbers of a link are. Whether the other end has said hello; whether nothing is read from it, because too much waits
/// because of it; bytes of frames that go before all others, and of others, those included that the neighbour does not take for
/// now; in how many lanes they wait; bytes of a frame that has come in part; bytes that wait anywhere because of what came over the
/// link; whether the neighbour takes nothing for now, or for how many contexts; how many neighbours are asked to hold back what
/// goes over the link; how many flows of this node wait for room.
pub const LINK: &str = "up paused control bulk held lanes pending caused choked choked-for told waiting";

/// What the numbers of a flow are. The context at the other end; whether this end has opened it; how many bytes were sent, may be,
/// and whether the end was; how many have come, were taken and may come, by how much that is to be ahead of what was taken, and
/// whether the end has come.
pub const FLOW: &str = "peer ours sent limit end received consumed limit window end";

impl Node {
    /// The links: what is at their other ends, none for the parent, and the numbers of [`LINK`].
    pub fn look_at_links(&self) -> impl Iterator<Item = (LinkId, Option<ContextId>, [u64; 12])> {
        self.links.iter().map(|(link, state)| {
            let lanes = &state.lanes;
            let numbers = [
                state.up.into(),
                state.paused.into(),
                lanes.urgent as u64,
                lanes.bulk as u64,
                lanes.held as u64,
                lanes.count() as u64,
                state.decoder.pending() as u64,
                state.caused as u64,
                state.choked.all.into(),
                state.choked.some.len() as u64,
                state.told.len() as u64,
                state.waiting.len() as u64,
            ];
            (*link, state.child, numbers)
        })
    }

    /// The flows with the numbers of [`FLOW`].
    pub fn look_at_flows(&self) -> impl Iterator<Item = (FlowKey, [u64; 10])> {
        self.flows.iter().map(|(flow, state)| {
            let [sent, may_be_sent] = state.outgoing.position();
            let [received, consumed, may_come, window] = state.incoming.position();
            let (sent_end, received_end) = (state.outgoing.ended().into(), state.incoming.ended().into());
            let (peer, ours) = (flow.peer.0.into(), flow.opener.into());
            let numbers =
                [peer, ours, sent, may_be_sent, sent_end, received, consumed, may_come, window, received_end];
            (flow, numbers)
        })
    }

    /// The services that are offered here, and to whom.
    pub fn services(&self) -> impl Iterator<Item = &(Handle, Policy)> {
        self.services.iter()
    }
}
