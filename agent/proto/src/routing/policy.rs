/// Who may open a flow to a service. There is no service without one of these.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Policy {
    /// Only those this node obeys: its ancestors, and itself.
    Ancestors,
    /// The node above, and itself.
    Parent,
    /// Any context below, and itself.
    Descendants,
    /// The contexts directly below, and itself.
    Children,
    /// Whoever a frame may come from at all: ancestors, descendants, and those the root has opened a path to.
    Anyone,
}
