//! The values and variants that a probe tries for each field of a type. A probe reads the type
//! several times, and each pass tries others.

use std::collections::BTreeMap;

/// A type and its field.
pub(super) type Place = (&'static str, &'static str);

/// The state of a variant: not tried, tried, or read to its end.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Tried {
    Not,
    Begun,
    Read,
}

/// The enums and the values that a type has asked for.
#[derive(Default)]
pub(super) struct Places {
    /// The variants of each enum, by its place and name.
    enums: BTreeMap<(Place, &'static str), Vec<Tried>>,
    /// The number of the value that a place gets.
    values: BTreeMap<Place, usize>,
    /// The place that got the last value in this pass, and the number of values there are for it.
    last: Option<(Place, usize)>,
    /// The variants that were begun in this pass.
    begun: Vec<((Place, &'static str), usize)>,
}

impl Places {
    /// Returns the number of the value for `place`, of `count`.
    pub(super) fn value(&mut self, place: Place, count: usize) -> usize {
        self.last = Some((place, count));
        self.values.get(&place).map_or(0, |at| at % count)
    }

    /// Returns the variant to try: one that was not tried, or else one that ends. There is none if
    /// the enum contains itself in all variants.
    pub(super) fn variant(
        &mut self,
        place: Place,
        name: &'static str,
        count: usize,
    ) -> Option<usize> {
        let tried = self.enums.entry((place, name)).or_default();
        tried.resize(count, Tried::Not);
        if let Some(at) = tried.iter().position(|tried| *tried == Tried::Not) {
            tried[at] = Tried::Begun;
            self.begun.push(((place, name), at));
            return Some(at);
        }
        tried.iter().position(|tried| *tried == Tried::Read)
    }

    /// Notes that a variant was read to its end.
    pub(super) fn read(&mut self, place: Place, name: &'static str, variant: usize) {
        if let Some(tried) = self.enums.get_mut(&(place, name)) {
            tried[variant] = Tried::Read;
        }
    }

    /// Ends a pass, which failed or not. Returns true if there is something to try in another.
    pub(super) fn go_on(&mut self, failed: bool) -> bool {
        let begun = std::mem::take(&mut self.begun);
        let last = self.last.take().filter(|_| failed);
        if let Some((place, count)) = last {
            let at = self.values.entry(place).or_insert(0);
            *at += 1;
            if *at < count {
                // The same again, with another value there.
                for (of, variant) in begun {
                    if let Some(tried) = self.enums.get_mut(&of) {
                        tried[variant] = Tried::Not;
                    }
                }
                return true;
            }
        }
        !begun.is_empty()
    }
}
