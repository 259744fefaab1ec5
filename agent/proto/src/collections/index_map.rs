//! A hash map whose lookup is compiled once for all types of entries.
//!
//! std's map costs two kilobytes of code for each pair of types, and agents are sent over the wire.
//! Here the hash table holds numbers only. Keys and values are in a list beside it and are iterated
//! in the list's order, so that a node's behaviour is deterministic. A hostile child may choose
//! keys; the hash is therefore seeded per process.

use crate::id::ContextId;
use crate::id::FlowKey;
use crate::id::Handle;
use alloc::vec;
use alloc::vec::Vec;
use core::num::NonZeroU32;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering;

const UNSEEDED: u64 = 0x243F_6A88_85A3_08D3;
static SEED: AtomicU64 = AtomicU64::new(UNSEEDED);

/// Sets the seed of all maps created from now on. Called once with random bytes.
pub fn seed(random: [u8; 8]) {
    let _set_before = SEED.compare_exchange(
        UNSEEDED,
        u64::from_le_bytes(random),
        Ordering::Relaxed,
        Ordering::Relaxed,
    );
}

/// A key: a small copyable value that is hashed as two words.
pub trait Key: Copy + Eq {
    /// Returns the whole key as two words.
    fn words(&self) -> [u64; 2];
}

impl Key for ContextId {
    fn words(&self) -> [u64; 2] {
        [self.0.into(), 0]
    }
}

impl Key for FlowKey {
    fn words(&self) -> [u64; 2] {
        [
            u64::from(self.peer.0) << 32 | u64::from(self.handle.0),
            self.opener.into(),
        ]
    }
}

impl Key for (ContextId, ContextId, Handle, bool) {
    fn words(&self) -> [u64; 2] {
        [
            u64::from(self.0.0) << 32 | u64::from(self.1.0),
            u64::from(self.2.0) << 1 | u64::from(self.3),
        ]
    }
}

fn hash(seed: u64, words: [u64; 2]) -> u32 {
    // Two full multiplications, folded, carry every bit of key and seed to the low bits, which
    // choose the cell.
    let fold = |one: u64, other: u64| {
        let product = u128::from(one) * u128::from(other);
        (product as u64) ^ (product >> 64) as u64
    };
    let sum = fold(
        words[0] ^ seed,
        words[1] ^ 0x9E37_79B9_7F4A_7C15 ^ seed.rotate_left(32),
    );
    let sum = fold(sum ^ seed, 0xD6E8_FEB8_6659_FD93);
    (sum ^ (sum >> 32)) as u32
}

/// A cell: the hash, and the number of the entry counted from 1; 0 is empty.
type Cell = (u32, u32);

/// The cells: open addressing with linear probing, at most three quarters full.
struct Cells {
    cells: Vec<Cell>,
    used: usize,
    seed: u64,
}

impl Default for Cells {
    fn default() -> Self {
        Self {
            cells: Vec::new(),
            used: 0,
            seed: SEED.load(Ordering::Relaxed),
        }
    }
}

impl Cells {
    fn find(&self, hash: u32, is: &dyn Fn(u32) -> bool) -> Option<usize> {
        if self.cells.is_empty() {
            return None;
        }
        let mask = self.cells.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            match self.cells[at] {
                (_, 0) => return None,
                (other, entry) if other == hash && is(entry - 1) => return Some(at),
                _ => at = (at + 1) & mask,
            }
        }
    }

    fn add(&mut self, hash: u32, entry: u32) {
        if (self.used + 1) * 4 > self.cells.len() * 3 {
            let bigger = vec![(0, 0); (self.cells.len() * 2).max(8)];
            for (hash, entry) in core::mem::replace(&mut self.cells, bigger) {
                if entry != 0 {
                    self.place(hash, entry);
                }
            }
        }
        self.place(hash, entry + 1);
        self.used += 1;
    }

    fn place(&mut self, hash: u32, entry: u32) {
        let mask = self.cells.len() - 1;
        let mut at = hash as usize & mask;
        while self.cells[at].1 != 0 {
            at = (at + 1) & mask;
        }
        self.cells[at] = (hash, entry);
    }

    /// Empties a cell, moves displaced cells behind it back, and returns its entry.
    fn take(&mut self, at: usize) -> u32 {
        let mask = self.cells.len() - 1;
        let entry = self.cells[at].1 - 1;
        let (mut hole, mut at) = (at, at);
        loop {
            at = (at + 1) & mask;
            let (hash, other) = self.cells[at];
            if other == 0 {
                break;
            }
            let home = hash as usize & mask;
            // True if the cell's home position is at or before the hole, modulo the table.
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.cells[hole] = (hash, other);
                hole = at;
            }
        }
        self.cells[hole] = (0, 0);
        self.used -= 1;
        entry
    }
}

/// The position of an entry, counted from 1.
#[derive(Copy, Clone)]
pub struct Slot(NonZeroU32);

impl Slot {
    /// Returns the position as a number.
    pub fn number(self) -> u32 {
        self.0.get()
    }

    /// Returns the position with this number; `None` for 0.
    pub fn of(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Slot)
    }

    /// Returns the position counted from 0.
    pub fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// A hash map.
pub struct IndexMap<K, V> {
    cells: Cells,
    entries: Vec<Option<(K, V)>>,
    free: Vec<u32>,
}

impl<K, V> Default for IndexMap<K, V> {
    fn default() -> Self {
        Self {
            cells: Cells::default(),
            entries: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<K: Key, V> IndexMap<K, V> {
    fn cell(&self, key: &K) -> Option<usize> {
        crate::collections::steps::count(1);
        let is =
            |entry: u32| matches!(&self.entries[entry as usize], Some((other, _)) if other == key);
        self.cells.find(hash(self.cells.seed, key.words()), &is)
    }

    fn entry(&self, key: &K) -> Option<usize> {
        self.cell(key)
            .map(|cell| self.cells.cells[cell].1 as usize - 1)
    }

    /// Returns the value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries[self.entry(key)?]
            .as_ref()
            .map(|(_, value)| value)
    }

    /// Returns the value of a key for modification.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let entry = self.entry(key)?;
        self.entries[entry].as_mut().map(|(_, value)| value)
    }

    /// Returns the value of a key and its slot.
    pub fn find(&mut self, key: &K) -> Option<(Slot, &mut V)> {
        let entry = self.entry(key)?;
        let place = Slot(NonZeroU32::MIN.saturating_add(entry as u32));
        self.entries[entry]
            .as_mut()
            .map(|(_, value)| (place, value))
    }

    /// Returns true if the key is present.
    pub fn contains_key(&self, key: &K) -> bool {
        self.cell(key).is_some()
    }

    /// Inserts an entry. Returns the previous value of the key.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        if let Some(there) = self.get_mut(&key) {
            return Some(core::mem::replace(there, value));
        }
        self.add(key, value);
        None
    }

    /// Adds an entry whose key must not be present. Returns its slot, which stays the same until
    /// the entry is removed.
    pub fn add(&mut self, key: K, value: V) -> Slot {
        let entry = match self.free.pop() {
            Some(entry) => {
                self.entries[entry as usize] = Some((key, value));
                entry
            }
            None => {
                self.entries.push(Some((key, value)));
                (self.entries.len() - 1) as u32
            }
        };
        self.cells.add(hash(self.cells.seed, key.words()), entry);
        Slot(NonZeroU32::MIN.saturating_add(entry))
    }

    /// Returns the entry at a slot.
    pub fn at(&self, place: Slot) -> Option<&(K, V)> {
        crate::collections::steps::count(1);
        self.entries[place.index()].as_ref()
    }

    /// Returns the entry at a slot for modification.
    pub(crate) fn at_mut(&mut self, place: Slot) -> Option<(&K, &mut V)> {
        crate::collections::steps::count(1);
        self.entries[place.index()]
            .as_mut()
            .map(|(key, value)| (&*key, value))
    }

    /// Removes a key. Returns its value.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.take(key).map(|(_, value)| value)
    }

    /// Removes a key. Returns its value and the slot that has become free.
    pub fn take(&mut self, key: &K) -> Option<(Slot, V)> {
        let cell = self.cell(key)?;
        let entry = self.cells.take(cell);
        let (_, value) = self.entries[entry as usize].take()?;
        if self.cells.used == 0 {
            // Releases the memory of an earlier peak.
            *self = Self::default();
        } else {
            self.free.push(entry);
        }
        Some((Slot(NonZeroU32::MIN.saturating_add(entry)), value))
    }

    /// Returns the number of entries.
    #[allow(clippy::len_without_is_empty, reason = "no caller asks")]
    pub fn len(&self) -> usize {
        self.cells.used
    }

    /// Returns all entries in the order of the list: that of insertion, unless entries were
    /// removed.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        crate::collections::steps::count(self.entries.len());
        self.entries
            .iter()
            .filter_map(|entry| entry.as_ref().map(|(key, value)| (key, value)))
    }

    /// Removes and returns all entries.
    #[expect(
        clippy::filter_map_identity,
        reason = "`flatten` has the code of two more iterators, for each type of entries"
    )]
    pub fn drain(&mut self) -> impl Iterator<Item = (K, V)> + use<K, V> {
        crate::collections::steps::count(self.entries.len());
        core::mem::take(self)
            .entries
            .into_iter()
            .filter_map(|entry| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_map_agrees_with_a_btree_map() {
        let mut random = 88_172_645_463_325_252_u64;
        let mut next = move |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        for span in [4, 60, 5000] {
            let (mut map, mut model) = (IndexMap::default(), BTreeMap::new());
            for step in 0..20_000 {
                let key = ContextId(next(span) as u32);
                if next(3) == 0 {
                    assert_eq!(map.remove(&key), model.remove(&key));
                } else {
                    assert_eq!(map.insert(key, step), model.insert(key, step));
                }
                assert_eq!(map.len(), model.len());
                let probe = ContextId(next(span) as u32);
                assert_eq!(map.get(&probe), model.get(&probe));
            }
            let mut all: Vec<_> = map.iter().map(|(key, value)| (*key, *value)).collect();
            all.sort_unstable();
            assert!(all.into_iter().eq(model.clone()));
            let mut rest: Vec<_> = map.drain().collect();
            rest.sort_unstable();
            assert!(rest.into_iter().eq(model) && map.len() == 0);
        }
    }

    #[test]
    fn sequential_keys_spread_over_the_table() {
        let mut map = IndexMap::default();
        for handle in 1000..101_000 {
            map.insert(
                FlowKey {
                    peer: ContextId(1),
                    handle: Handle(handle),
                    opener: true,
                },
                (),
            );
        }
        let cells = &map.cells.cells;
        let mask = cells.len() - 1;
        let far = |(at, (hash, entry)): (usize, &Cell)| {
            if *entry == 0 {
                0
            } else {
                at.wrapping_sub(*hash as usize) & mask
            }
        };
        let steps: usize = cells.iter().enumerate().map(far).sum();
        assert!(steps < 400_000, "{steps} steps for 100,000 keys");
    }
}
