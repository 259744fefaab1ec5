use offshoot_proto::LinkId;

/// The role of this node.
#[derive(Copy, Clone)]
pub(crate) enum NodeRole {
    /// The root, in a program that uses this crate.
    Root,
    /// An agent, with the link to its parent.
    Agent(LinkId),
    /// A detached agent: it has no parent any more.
    Alone,
    /// A process that has joined the tree, with the link to its parent. It continues after it has
    /// left the tree; only the contexts that it started end then.
    Joined(LinkId),
}

impl NodeRole {
    /// Returns true if this process is an agent, and not a program that uses this crate.
    pub(crate) fn is_agent(&self) -> bool {
        matches!(self, Self::Agent(_) | Self::Alone)
    }

    /// Returns the link to the parent.
    pub(crate) fn up(&self) -> Option<LinkId> {
        match self {
            Self::Agent(up) | Self::Joined(up) => Some(*up),
            Self::Root | Self::Alone => None,
        }
    }
}
