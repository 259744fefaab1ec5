//! The flows of a node, found by their key and by the context at their other end.

use super::Flow;
use crate::id::{ContextId, FlowKey};
use crate::map::{Map, Place};

/// Flows, those with one peer chained to each other: a peer that is lost costs what it had, not what there is.
#[derive(Default)]
pub(super) struct Book {
    flows: Map<FlowKey, Entry>,
    first: Map<ContextId, Place>,
}

struct Entry {
    flow: Flow,
    before: Option<Place>,
    after: Option<Place>,
}

impl Book {
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    pub fn contains(&self, key: FlowKey) -> bool {
        self.flows.contains_key(&key)
    }

    pub fn get(&self, key: FlowKey) -> Option<&Flow> {
        self.flows.get(&key).map(|entry| &entry.flow)
    }

    pub fn get_mut(&mut self, key: FlowKey) -> Option<&mut Flow> {
        self.flows.get_mut(&key).map(|entry| &mut entry.flow)
    }

    /// Adds a flow that is not there yet.
    pub fn insert(&mut self, key: FlowKey, flow: Flow) {
        let place = self.flows.add(key, Entry { flow, before: None, after: None });
        let after = self.first.insert(key.peer, place);
        if let Some(next) = after.and_then(|next| self.flows.at_mut(next)) {
            next.before = Some(place);
        }
        if let Some(entry) = self.flows.at_mut(place) {
            entry.after = after;
        }
    }

    pub fn remove(&mut self, key: FlowKey) -> Option<Flow> {
        let Entry { flow, before, after } = self.flows.remove(&key)?;
        if let Some(next) = after.and_then(|next| self.flows.at_mut(next)) {
            next.before = before;
        }
        match (before.and_then(|previous| self.flows.at_mut(previous)), after) {
            (Some(previous), _) => previous.after = after,
            (None, Some(next)) => {
                self.first.insert(key.peer, next);
            }
            (None, None) => {
                self.first.remove(&key.peer);
            }
        }
        Some(flow)
    }

    /// The flows with one peer, in order.
    pub fn with_peer(&self, peer: ContextId) -> Vec<FlowKey> {
        let mut keys = Vec::new();
        let mut at = self.first.get(&peer).copied();
        while let Some((key, entry)) = at.and_then(|place| self.flows.at(place)) {
            keys.push(*key);
            at = entry.after;
        }
        keys.sort_unstable();
        keys
    }

    /// All flows with what is known of them, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (FlowKey, &Flow)> {
        self.flows.iter().map(|(key, entry)| (*key, &entry.flow))
    }

    /// All flows, in order.
    pub fn keys(&self) -> Vec<FlowKey> {
        let mut keys: Vec<_> = self.flows.iter().map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys
    }
}
