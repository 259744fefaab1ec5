//! The flows of a node, by key and by peer, and the number of requests of each peer.

use crate::collections::index_map::IndexMap;
use crate::id::ContextId;
use crate::id::FlowKey;
use crate::node::flow::Flow;
use crate::node::peer_lists::PeerLists;
use alloc::vec::Vec;

/// Maximum number of refusals of one context in [`REFUSALS_IN`] milliseconds; more violate the
/// protocol.
const REFUSALS: u32 = 1 << 16;

const REFUSALS_IN: u64 = 16_000;

/// Flows by key, with a list for each peer, so that losing a peer costs time for its own flows
/// only.
#[derive(Default)]
pub(crate) struct FlowTable {
    flows: IndexMap<FlowKey, Flow>,
    chains: PeerLists,
    /// Flows that wait until their neighbour accepts frames to the peer again.
    blocked: PeerLists,
    /// Number of open requests by peer, for peers that are not obeyed: to services of the tree in
    /// the lower 16 bits, to services of programs in the upper 16.
    asked: IndexMap<ContextId, u32>,
    /// Number of refusals by context, and the time in milliseconds at which counting began.
    refused: (u64, IndexMap<ContextId, u32>),
}

/// Returns one request in the format of `asked`.
fn one(offered: bool) -> u32 {
    if offered { 1 << 16 } else { 1 }
}

impl FlowTable {
    /// Returns the number of flows.
    pub(crate) fn len(&self) -> usize {
        self.flows.len()
    }

    /// Returns true if the flow exists.
    pub(crate) fn contains(&self, key: FlowKey) -> bool {
        self.flows.contains_key(&key)
    }

    /// Returns the flow with this key.
    pub(crate) fn get(&self, key: FlowKey) -> Option<&Flow> {
        self.flows.get(&key)
    }

    /// Returns the flow with this key for modification.
    pub(crate) fn get_mut(&mut self, key: FlowKey) -> Option<&mut Flow> {
        self.flows.get_mut(&key)
    }

    /// Adds a flow, which must not exist yet.
    pub(crate) fn insert(&mut self, key: FlowKey, flow: Flow) {
        if flow.unprivileged.is_some() {
            let asked = self.asked.get(&key.peer).copied().unwrap_or(0);
            self.asked.insert(key.peer, asked + one(flow.offered));
        }
        let place = self.flows.add(key, flow);
        self.chains.add(key.peer, place);
    }

    /// Removes and returns a flow.
    pub(crate) fn remove(&mut self, key: FlowKey) -> Option<Flow> {
        let (place, flow) = self.flows.take(&key)?;
        self.chains.remove(key.peer, place);
        if flow.blocked {
            self.blocked.remove(key.peer, place);
        }
        if flow.unprivileged.is_some()
            && let Some(asked) = self.asked.get_mut(&key.peer)
        {
            *asked -= one(flow.offered);
            if *asked == 0 {
                self.asked.remove(&key.peer);
            }
        }
        Some(flow)
    }

    /// Returns the number of open requests of a context that is not obeyed: to services of programs
    /// if `offered`, else to services of the tree.
    pub(crate) fn requests_of(&self, peer: ContextId, offered: bool) -> usize {
        let asked = self.asked.get(&peer).copied().unwrap_or(0);
        (if offered { asked >> 16 } else { asked & 0xFFFF }) as usize
    }

    /// Counts a refusal of a context at the time `now`. Returns false if there were too many.
    pub(crate) fn refused(&mut self, peer: ContextId, now: u64) -> bool {
        if now - self.refused.0 >= REFUSALS_IN {
            self.refused = (now, IndexMap::default());
        }
        let count = self.refused.1.get(&peer).copied().unwrap_or(0);
        self.refused.1.insert(peer, count + 1);
        count < REFUSALS
    }

    /// Marks a flow as waiting until its neighbour accepts frames to the peer again.
    pub(crate) fn block(&mut self, key: FlowKey) {
        if let Some((place, flow)) = self.flows.find(&key).filter(|(_, flow)| !flow.blocked) {
            flow.blocked = true;
            self.blocked.add(key.peer, place);
        }
    }

    /// Returns the flows that waited for the neighbour to accept frames to a context, and unmarks
    /// them.
    pub(crate) fn unblock(&mut self, peer: ContextId) -> Vec<FlowKey> {
        let mut flows = Vec::new();
        // Oldest first.
        for place in self.blocked.of(peer).into_iter().rev() {
            self.blocked.remove(peer, place);
            if let Some((key, flow)) = self.flows.at_mut(place) {
                flow.blocked = false;
                flows.push(*key);
            }
        }
        flows
    }

    /// Returns the flows with one peer, sorted.
    pub(crate) fn with_peer(&self, peer: ContextId) -> Vec<FlowKey> {
        let mut keys: Vec<_> = self
            .chains
            .of(peer)
            .into_iter()
            .filter_map(|place| self.flows.at(place))
            .map(|(key, _)| *key)
            .collect();
        keys.sort_unstable();
        keys
    }

    /// Returns all flows in arbitrary order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (FlowKey, &Flow)> {
        self.flows.iter().map(|(key, flow)| (*key, flow))
    }

    /// Returns the keys of all flows, sorted.
    pub(crate) fn keys(&self) -> Vec<FlowKey> {
        let mut keys: Vec<_> = self.flows.iter().map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys
    }
}
