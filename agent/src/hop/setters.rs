//! Typed setters of hops, defined beside each method.

/// Defines setters of a method on its hop: each takes the hop and returns it.
macro_rules! setters {
    ($method:ty { $($(#[$doc:meta])* $name:ident: $type:ty => |$this:ident| $set:expr;)* }) => {
        impl Hop<$method> {
            $($(#[$doc])* #[must_use] pub fn $name(mut self, $name: $type) -> Self {
                let $this = self.method_mut();
                $set;
                self
            })*
        }
    };
}
pub(crate) use setters;
