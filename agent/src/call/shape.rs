//! The shapes of the types in a function's signature, by which two builds are compared and values
//! that cannot be sent are refused.
//!
//! The functions of the stock agent have none: its image has no code for them.

use offshoot_codec::{Facts, Shape};
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::sync::LazyLock;

/// The shapes of the types of one function, read when they are first needed.
pub type LazyShape = LazyLock<Shape>;

/// The shapes of the types in one function's signature.
pub trait Described: Sync {
    /// Returns a hash of all that is known.
    fn sum(&self) -> u32;
    /// Adds a hash of the name and one of the content of each struct and enum, in the form of
    /// signatures.
    fn add_types(&self, types: &mut Vec<u64>);
    /// Returns the name of a type that has another content in `theirs`.
    fn differing(&self, theirs: &[u64]) -> Option<&'static str>;
    /// Returns the positions of fields and variants in its types.
    fn facts(&self) -> &Facts;
    /// Returns the reason why the function's values cannot be sent, with the type and its place.
    fn fault(&self) -> Option<&str>;
}

impl Described for LazyShape {
    fn sum(&self) -> u32 {
        Shape::sum(self)
    }

    fn add_types(&self, types: &mut Vec<u64>) {
        types.extend(self.types().iter().map(signature));
    }

    fn differing(&self, theirs: &[u64]) -> Option<&'static str> {
        let differs = |of: &(&'static str, u32)| {
            let mine = signature(of);
            !theirs.contains(&mine) && theirs.iter().any(|theirs| theirs >> 32 == mine >> 32)
        };
        self.types().into_iter().find(differs).map(|(name, _)| name)
    }

    fn facts(&self) -> &Facts {
        Shape::facts(self)
    }

    fn fault(&self) -> Option<&str> {
        Shape::fault(self)
    }
}

/// Returns the hashes of a type. A space keeps its name apart from those of functions.
fn signature((name, content): &(&'static str, u32)) -> u64 {
    let name = crate::call::signature::signature(&format!("type {name}"), "");
    name >> 32 << 32 | u64::from(*content)
}

/// The selector for a type that may be one that serialises. Errors and messages need not be, and
/// for others the compiler complains elsewhere. The attribute chooses by auto-referencing.
pub struct OfType<T>(PhantomData<T>);

impl<T> OfType<T> {
    /// Returns the selector for `T`.
    #[must_use]
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Default for OfType<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// The selection for types that serialise.
pub trait IsSeen {
    /// Adds the type.
    fn add_to(&self, shape: Shape, what: &str) -> Shape;
}

impl<T: DeserializeOwned> IsSeen for &OfType<T> {
    fn add_to(&self, shape: Shape, what: &str) -> Shape {
        shape.with::<T>(what)
    }
}

/// The selection for all other types.
pub trait IsUnseen {
    /// Adds nothing.
    fn add_to(&self, shape: Shape, what: &str) -> Shape;
}

impl<T> IsUnseen for OfType<T> {
    fn add_to(&self, shape: Shape, _: &str) -> Shape {
        shape
    }
}
