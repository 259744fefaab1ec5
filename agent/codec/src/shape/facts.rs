//! The positions by which the format knows fields and variants, as a type's `Deserialize` has read
//! them. The encoder compares them with those that `Serialize` gives: attributes that leave a part
//! out in one direction only would make it another part on the other side.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// The structs and enums of a type.
#[derive(Default, Debug)]
pub struct Facts {
    /// The name of each struct, with the number of its parts that were read.
    structs: BTreeSet<(&'static str, usize)>,
    /// The name and the names of the variants of each enum, with what was read of it.
    enums: BTreeMap<(&'static str, Names), Variants>,
}

/// The names that an enum's `Deserialize` knows: its variants in order, with their aliases.
type Names = &'static [&'static str];

/// The variants that were read, by position, each with the numbers of its parts.
type Variants = BTreeMap<usize, BTreeSet<usize>>;

impl Facts {
    pub(super) fn add_struct(&mut self, name: &'static str, parts: usize) {
        self.structs.insert((name, parts));
    }

    pub(super) fn add_variant(
        &mut self,
        name: &'static str,
        names: Names,
        at: usize,
        parts: Option<usize>,
    ) {
        let variants = self.enums.entry((name, names)).or_default();
        variants.entry(at).or_default().extend(parts);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.structs.extend(&other.structs);
        for (of, variants) in &other.enums {
            let known = self.enums.entry(*of).or_default();
            for (at, parts) in variants {
                known.entry(*at).or_default().extend(parts);
            }
        }
    }

    /// Returns false if a struct of this name is read with another number of parts.
    pub(crate) fn has_struct(&self, name: &str, parts: usize) -> bool {
        let known = || self.structs.iter().filter(|(known, _)| *known == name);
        known().next().is_none() || known().any(|(_, read)| *read == parts)
    }

    /// Returns false if an enum of this name is read with another variant at this position, or with
    /// another number of parts in it.
    pub(crate) fn has_variant(
        &self,
        name: &str,
        (index, variant): (u32, &str),
        parts: Option<usize>,
    ) -> bool {
        let index = index as usize;
        let mut any = false;
        for ((known, names), variants) in &self.enums {
            if *known != name {
                continue;
            }
            any = true;
            let placed = if variants.len() == names.len() {
                names.get(index) == Some(&variant)
            } else {
                // With aliases, or if not all were read, each variant before it has a name or more.
                names.iter().position(|name| *name == variant) >= Some(index)
            };
            let read = variants.get(&index).filter(|read| !read.is_empty());
            let counted = match (parts, read) {
                (Some(parts), Some(read)) => read.contains(&parts),
                _ => true,
            };
            if placed && counted {
                return true;
            }
        }
        !any
    }
}

thread_local! {
    /// The facts about the type that is being encoded.
    static CURRENT: Cell<Option<&'static Facts>> = const { Cell::new(None) };
}

/// The facts about types by their full names.
static KNOWN: Mutex<BTreeMap<&'static str, &'static Facts>> = Mutex::new(BTreeMap::new());

/// Runs `work`, in which values of types with these facts are encoded.
pub fn read_as<T>(facts: Option<&'static Facts>, work: impl FnOnce() -> T) -> T {
    /// Restores the previous facts when dropped, also if user code panics.
    struct Before(Option<&'static Facts>);
    impl Drop for Before {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    let _before = Before(CURRENT.replace(facts));
    work()
}

/// Returns the facts about the type that is being encoded.
pub(crate) fn current() -> Option<&'static Facts> {
    CURRENT.get()
}

/// Keeps the facts about a type of this full name.
pub(super) fn keep(name: &'static str, facts: Facts) {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    // The types of a program are few, and each is kept once.
    known
        .entry(name)
        .or_insert_with(|| Box::leak(Box::new(facts)));
}

/// Returns the facts about the type `T`, if it is part of a function's signature.
pub fn facts_of<T: ?Sized>() -> Option<&'static Facts> {
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.get(std::any::type_name::<T>()).copied()
}
