//! Policies of services.

/// The contexts that may open flows to a service. There is no service without a policy.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Policy {
    /// The contexts that this node obeys: its ancestors and itself.
    Ancestors,
    /// The parent, and this node itself.
    Parent,
    /// The descendants, and this node itself.
    Descendants,
    /// The children, and this node itself.
    Children,
    /// All contexts from which frames are accepted: ancestors, descendants, and those to which the
    /// root has opened a path.
    Anyone,
}
