//! The flows of a node, found by their key and by the context at their other end, and what each of these has asked for.

use crate::collections::index_map::IndexMap;
use crate::collections::index_map::Slot;
use crate::id::ContextId;
use crate::id::FlowKey;
use crate::node::flow::Flow;
use crate::node::peer_chains::PeerLists;
use alloc::vec::Vec;

/// How often one context may be refused something in so many milliseconds; more is an offence.
const REFUSALS: u32 = 1 << 16;

const REFUSALS_IN: u64 = 16_000;

/// Flows, those with one peer chained to each other: a peer that is lost costs what it had, not what there is.
#[derive(Default)]
pub struct FlowTable {
    flows: IndexMap<FlowKey, Flow>,
    chains: PeerLists,
    /// Those that wait until what goes to their peer is taken again.
    stuck: PeerLists,
    /// How many flows those have open that are not obeyed: to services of the tree, and, in the upper half, to what programs
    /// offer.
    asked: IndexMap<ContextId, u32>,
    /// How often each of them was refused something, and since when that is counted.
    refused: (u64, IndexMap<ContextId, u32>),
}

/// One flow, as it is counted.
fn one(offered: bool) -> u32 {
    if offered { 1 << 16 } else { 1 }
}

impl FlowTable {
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    pub fn contains(&self, key: FlowKey) -> bool {
        self.flows.contains_key(&key)
    }

    pub fn get(&self, key: FlowKey) -> Option<&Flow> {
        self.flows.get(&key)
    }

    pub fn get_mut(&mut self, key: FlowKey) -> Option<&mut Flow> {
        self.flows.get_mut(&key)
    }

    /// Adds a flow that is not there yet.
    pub fn insert(&mut self, key: FlowKey, flow: Flow) {
        if flow.question.is_some() {
            let asked = self.asked.get(&key.peer).copied().unwrap_or(0);
            self.asked.insert(key.peer, asked + one(flow.offered));
        }
        let place = self.flows.add(key, flow);
        self.chains.add(key.peer, place);
    }

    pub fn remove(&mut self, key: FlowKey) -> Option<Flow> {
        let (place, flow) = self.flows.take(&key)?;
        self.chains.remove(key.peer, place);
        if flow.stuck {
            self.stuck.remove(key.peer, place);
        }
        if flow.question.is_some()
            && let Some(asked) = self.asked.get_mut(&key.peer)
        {
            *asked -= one(flow.offered);
            if *asked == 0 {
                self.asked.remove(&key.peer);
            }
        }
        Some(flow)
    }

    /// How many flows a context has open to services of the tree, or to what programs offer, without being obeyed.
    pub fn asked_by(&self, peer: ContextId, offered: bool) -> usize {
        let asked = self.asked.get(&peer).copied().unwrap_or(0);
        (if offered { asked >> 16 } else { asked & 0xFFFF }) as usize
    }

    /// A context is refused something. Whether it may be.
    pub fn refused(&mut self, peer: ContextId, now: u64) -> bool {
        if now - self.refused.0 >= REFUSALS_IN {
            self.refused = (now, IndexMap::default());
        }
        let count = self.refused.1.get(&peer).copied().unwrap_or(0);
        self.refused.1.insert(peer, count + 1);
        count < REFUSALS
    }

    /// A flow waits until what goes to its peer is taken again.
    pub fn stick(&mut self, key: FlowKey) {
        if let Some((place, flow)) = self.flows.find(&key).filter(|(_, flow)| !flow.stuck) {
            flow.stuck = true;
            self.stuck.add(key.peer, place);
        }
    }

    /// What goes to a context is taken again: the flows that have waited for that.
    pub fn unstick(&mut self, peer: ContextId) -> Vec<FlowKey> {
        let places: Vec<Slot> = self.stuck.of(peer).collect();
        let mut flows = Vec::new();
        // The oldest first.
        for place in places.into_iter().rev() {
            self.stuck.remove(peer, place);
            if let Some((key, flow)) = self.flows.at_mut(place) {
                flow.stuck = false;
                flows.push(*key);
            }
        }
        flows
    }

    /// The flows with one peer, in order.
    pub fn with_peer(&self, peer: ContextId) -> Vec<FlowKey> {
        let mut keys: Vec<_> =
            self.chains.of(peer).filter_map(|place| self.flows.at(place)).map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys
    }

    /// All flows with what is known of them, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (FlowKey, &Flow)> {
        self.flows.iter().map(|(key, flow)| (*key, flow))
    }

    /// All flows, in order.
    pub fn keys(&self) -> Vec<FlowKey> {
        let mut keys: Vec<_> = self.flows.iter().map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys
    }
}
