//! A small map that keeps its entries sorted. Most keys are ascending numbers, so that new entries
//! go to the end.
//!
//! Costs a tenth of a hash map's code for each type of value.

use alloc::vec::Vec;

/// A list of entries sorted by key.
pub struct SortedMap<K, V>(Vec<(K, V)>);

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Ord + Copy, V> SortedMap<K, V> {
    fn place(&self, key: &K) -> Result<usize, usize> {
        crate::collections::steps::count(1);
        match self.0.last() {
            Some((last, _)) if last < key => Err(self.0.len()),
            _ => self.0.binary_search_by(|(other, _)| other.cmp(key)),
        }
    }

    /// Returns the value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.place(key).ok().map(|at| &self.0[at].1)
    }

    /// Returns the value of a key for modification.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.place(key).ok().map(|at| &mut self.0[at].1)
    }

    /// Returns the entry with the greatest key not above `key`.
    pub(crate) fn get_at_or_before(&self, key: &K) -> Option<(K, &V)> {
        let at = self.place(key).map_or_else(|at| at.checked_sub(1), Some)?;
        self.0.get(at).map(|(key, value)| (*key, value))
    }

    /// Returns the entry with the greatest key not above `key`, for modification.
    pub(crate) fn at_or_before(&mut self, key: &K) -> Option<(K, &mut V)> {
        let at = self.place(key).map_or_else(|at| at.checked_sub(1), Some)?;
        self.0.get_mut(at).map(|(key, value)| (*key, value))
    }

    /// Inserts an entry, replacing one with the same key.
    pub fn insert(&mut self, key: K, value: V) {
        match self.place(&key) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (key, value)),
        }
    }

    /// Removes a key. Returns its value.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.place(key).ok().map(|at| self.0.remove(at).1)
    }

    /// Returns all entries, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        crate::collections::steps::count(self.0.len());
        self.0.iter()
    }

    /// Returns all entries for modification, sorted by key.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut (K, V)> {
        crate::collections::steps::count(self.0.len());
        self.0.iter_mut()
    }

    /// Returns all values, sorted by key.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        crate::collections::steps::count(self.0.len());
        self.0.iter().map(|(_, value)| value)
    }

    /// Returns all keys, sorted.
    pub fn keys(&self) -> Vec<K> {
        crate::collections::steps::count(self.0.len());
        self.0.iter().map(|(key, _)| *key).collect()
    }

    /// Removes the entries whose keys `keep` rejects.
    pub fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        crate::collections::steps::count(self.0.len());
        self.0.retain(|(key, _)| keep(key));
    }

    /// Returns true if there are no entries.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes all entries.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}
