//! Doubly linked lists through the entries of an [`IndexMap`], one for each context: all entries of
//! a context are found and removed in time proportional to their own number.

use crate::collections::index_map::IndexMap;
use crate::collections::index_map::Slot;
use crate::id::ContextId;
use alloc::vec::Vec;

/// Number of entries for which memory is kept when there are none.
const KEPT: usize = 64;

/// The lists of one map, by context.
#[derive(Default)]
pub(crate) struct PeerLists {
    /// Number of each list's first slot. Not a [`Slot`], so that many maps share the code.
    first: IndexMap<ContextId, u32>,
    /// Previous and next slot in the list, by slot.
    around: Vec<[Option<Slot>; 2]>,
}

impl PeerLists {
    fn at(&mut self, place: Option<Slot>) -> Option<&mut [Option<Slot>; 2]> {
        self.around.get_mut(place?.index())
    }

    /// Adds an entry to the list of `id`, at its front.
    pub(crate) fn add(&mut self, id: ContextId, place: Slot) {
        let after = self.first.insert(id, place.number()).and_then(Slot::of);
        if self.around.len() <= place.index() {
            self.around.resize(place.index() + 1, [None; 2]);
        }
        if let Some([before, _]) = self.at(after) {
            *before = Some(place);
        }
        if let Some(around) = self.at(Some(place)) {
            *around = [None, after];
        }
    }

    /// Removes an entry from the list of `id`.
    pub(crate) fn remove(&mut self, id: ContextId, place: Slot) {
        let Some([before, after]) = self.at(Some(place)).map(core::mem::take) else {
            return;
        };
        if let Some([its_before, _]) = self.at(after) {
            *its_before = before;
        }
        match (before, after) {
            (Some(_), _) => {
                if let Some([_, its_after]) = self.at(before) {
                    *its_after = after;
                }
            }
            (None, Some(after)) => {
                self.first.insert(id, after.number());
            }
            (None, None) => {
                self.first.remove(&id);
                if self.first.len() == 0 && self.around.capacity() > KEPT {
                    self.around = Vec::new();
                }
            }
        }
    }

    /// Returns the slots in the list of `id`, latest first.
    pub(crate) fn of(&self, id: ContextId) -> Vec<Slot> {
        let mut places = Vec::new();
        let mut next = self.first.get(&id).copied().and_then(Slot::of);
        while let Some(place) = next {
            crate::collections::steps::count(1);
            places.push(place);
            next = self.around.get(place.index()).and_then(|around| around[1]);
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn chains_agree_with_a_model_in_any_order_of_removal() {
        let mut random = 88_172_645_463_325_252_u64;
        let mut next = move |below: u32| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % u64::from(below)) as u32
        };
        let (mut map, mut chains) = (IndexMap::default(), PeerLists::default());
        let mut model: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for round in 0..20_000 {
            // It grows, shrinks to nothing, and grows again.
            let (key, growing) = (ContextId(next(200)), round % 4000 < 2000);
            let group = ContextId(key.0 % 7);
            if map.contains_key(&key) && (!growing || next(3) == 0) {
                let (place, ()) = map.take(&key).unwrap();
                chains.remove(group, place);
                model
                    .get_mut(&group.0)
                    .unwrap()
                    .retain(|other| *other != key.0);
            } else if growing && !map.contains_key(&key) {
                chains.add(group, map.add(key, ()));
                model.entry(group.0).or_default().insert(0, key.0);
            }
            let group = next(7);
            let found: Vec<u32> = chains
                .of(ContextId(group))
                .into_iter()
                .filter_map(|place| map.at(place))
                .map(|(key, ())| key.0)
                .collect();
            assert_eq!(found, model.get(&group).cloned().unwrap_or_default());
        }
    }
}
