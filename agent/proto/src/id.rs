//! The names of things in a tree: contexts, the handles within them, and the links between them.
//!
//! These are types and not integers so that one cannot be given where another is meant.

use core::fmt;
use serde::Deserialize;
use serde::Serialize;

/// A process in the tree. The root is 0; every other number is granted by the root and never used twice.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContextId(pub u32);

impl ContextId {
    /// The controller.
    pub const ROOT: ContextId = ContextId(0);
}

impl fmt::Display for ContextId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

impl fmt::Debug for ContextId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is addressed within a context: a service with a fixed number, or one end of a flow.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Handle(pub u32);

impl Handle {
    /// No handle: what a frame carries where it addresses nothing.
    pub const NONE: Handle = Handle(0);
    /// Runs a registered function.
    pub const CALL: Handle = Handle(1);
    /// Starts a child context.
    pub const CONNECT: Handle = Handle(2);
    /// Runs a program with its streams.
    pub const EXEC: Handle = Handle(3);
    /// The root's grant of context ids to contexts that start children of their own.
    pub const ALLOCATE: Handle = Handle(4);
    /// The root's store of images for other platforms.
    pub const IMAGE: Handle = Handle(5);
    /// Log records on their way to the root.
    pub const LOG: Handle = Handle(6);
    /// Ends one child, with everything below it.
    pub const DISCONNECT: Handle = Handle(7);
    /// Lets a program, or the context itself, go.
    pub const DETACH: Handle = Handle(8);
    /// Runs calls one after the other.
    pub const CHAIN: Handle = Handle(9);
    /// What the context is about right now, for who debugs it.
    pub const DUMP: Handle = Handle(10);
    /// Signals for programs.
    pub const SIGNAL: Handle = Handle(11);
    /// The handlers of programs are numbered from here; below are the tree's own services.
    pub const FIRST_CUSTOM: Handle = Handle(256);
    /// The hubs of channels and pipes are numbered from here. Whoever opens an end of one can reach nothing else with it.
    pub const FIRST_HUB: Handle = Handle(1 << 31);
    /// Flows are numbered from here, by whoever opens them.
    pub const FIRST_FLOW: Handle = Handle(1000);
}

impl Handle {
    /// Whether it is one that handlers of programs have.
    pub fn is_handlers(self) -> bool {
        (Handle::FIRST_CUSTOM..Handle::FIRST_HUB).contains(&self)
    }
}

/// A byte stream to a neighbour, numbered by the node that holds it. Numbers are not used twice.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct LinkId(pub u32);

/// One flow as one of its two ends knows it.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FlowKey {
    /// The context at the other end.
    pub peer: ContextId,
    /// The number the opener chose.
    pub handle: Handle,
    /// Whether this end opened it; both ends number their flows alike, so the pair alone is ambiguous.
    pub opener: bool,
}
