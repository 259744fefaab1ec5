//! The shape of a type as serde describes it: the names of its structs and enums, their fields and
//! variants in order, and what they consist of.
//!
//! A probe gives a type's `Deserialize` made-up values and notes what it asks for. That finds types
//! that the format cannot carry before one is sent, and tells two builds of a type apart. A type
//! that rejects all values that it is given is unknown from there on. Nothing depends on the
//! process or the platform, so that equal types have equal shapes everywhere.

mod facts;
mod places;
mod probe;
mod sum;

pub(crate) use facts::current;
pub use facts::{Facts, facts_of, read_as};
use places::Places;
use probe::{Probe, Stop};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use sum::Sum;

/// The most times that one type is read. Each time shows another variant of its enums.
const PASSES: usize = 200;

/// The shapes of the types in a signature.
#[derive(Default)]
pub struct Shape {
    sum: Sum,
    /// Each named type, with a hash of each of its contents that were seen.
    types: BTreeSet<(&'static str, u32)>,
    facts: Facts,
    fault: Option<String>,
}

impl Shape {
    /// Adds the type `T`, called `what` in errors.
    #[must_use]
    pub fn with<T: DeserializeOwned>(mut self, what: &str) -> Self {
        let (mut places, mut facts) = (Places::default(), Facts::default());
        for _ in 0..PASSES {
            let mut probe = Probe::new(&mut self.sum, &mut self.types, &mut places, &mut facts);
            // The `Deserialize` of a user may panic.
            let outcome = catch_unwind(AssertUnwindSafe(|| T::deserialize(&mut probe).map(drop)));
            let fault = probe.fault.take();
            let stop = outcome.unwrap_or(Err(Stop)).is_err();
            if let Some(fault) = fault {
                let fault = format!("{what}: {fault}");
                self.fault.get_or_insert(fault);
                break;
            }
            self.sum.add(&[b'.', u8::from(stop)]);
            if !places.go_on(stop) {
                break;
            }
        }
        self.facts.merge(&facts);
        facts::keep(std::any::type_name::<T>(), facts);
        self
    }

    /// Returns the positions of fields and variants that were read.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Returns a hash of everything that was seen.
    pub fn sum(&self) -> u32 {
        self.sum.get()
    }

    /// Returns the names of the structs and enums that were seen, each with a hash of its own
    /// content.
    pub fn types(&self) -> Vec<(&'static str, u32)> {
        let mut types: Vec<(&'static str, Sum)> = Vec::new();
        for (name, content) in &self.types {
            match types.last_mut().filter(|(last, _)| last == name) {
                Some((_, sum)) => sum.add(&content.to_le_bytes()),
                None => {
                    let mut sum = Sum::default();
                    sum.add(&content.to_le_bytes());
                    types.push((name, sum));
                }
            }
        }
        types
            .into_iter()
            .map(|(name, sum)| (name, sum.get()))
            .collect()
    }

    /// Returns the reason why no value can be sent, with its type and place.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }
}

#[cfg(test)]
mod tests;
