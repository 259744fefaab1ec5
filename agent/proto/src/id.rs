//! Identifiers in a tree: contexts, handles within them, and links between them.
//!
//! They are distinct types, so that one cannot be passed for another.

use core::fmt;
use serde::Deserialize;
use serde::Serialize;

/// Number of a context, which is a process of the tree. The root is 0; the root grants all other
/// numbers, and none is used twice.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContextId(pub u32);

impl ContextId {
    /// The root: the controller.
    pub const ROOT: Self = Self(0);
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

/// Address within a context: a service with a fixed number, or one end of a flow.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Handle(pub u32);

impl Handle {
    /// No handle, in frames that address nothing within a context.
    #[doc(hidden)]
    pub const NONE: Self = Self(0);
    /// Service that calls functions.
    #[doc(hidden)]
    pub const CALL: Self = Self(1);
    /// Service that starts child contexts.
    #[doc(hidden)]
    pub const CONNECT: Self = Self(2);
    /// Service that runs programs.
    #[doc(hidden)]
    pub const EXEC: Self = Self(3);
    /// Service of the root that grants context numbers.
    #[doc(hidden)]
    pub const ALLOCATE: Self = Self(4);
    /// Service of the root that provides images for other platforms.
    #[doc(hidden)]
    pub const IMAGE: Self = Self(5);
    /// Destination of log records at the root.
    #[doc(hidden)]
    pub const LOG: Self = Self(6);
    /// Service that ends a child and everything below it.
    #[doc(hidden)]
    pub const DISCONNECT: Self = Self(7);
    /// Service that detaches a program, or the context itself.
    #[doc(hidden)]
    pub const DETACH: Self = Self(8);
    /// Service that runs chains of calls.
    #[doc(hidden)]
    pub const CHAIN: Self = Self(9);
    /// Service that returns a dump for debugging.
    #[doc(hidden)]
    pub const DUMP: Self = Self(10);
    /// Service that sends signals to programs.
    #[doc(hidden)]
    pub const SIGNAL: Self = Self(11);
    /// First handle of handlers of programs; lower handles are services of the tree.
    #[doc(hidden)]
    pub const FIRST_CUSTOM: Self = Self(256);
    /// First handle of hubs of channels and pipes. Senders and receivers can open flows to hubs
    /// only.
    #[doc(hidden)]
    pub const FIRST_HUB: Self = Self(1 << 31);
    /// First handle of flows, allocated by their openers.
    #[doc(hidden)]
    pub const FIRST_FLOW: Self = Self(1000);
}

impl Handle {
    /// Returns true for handles of programs' handlers.
    pub fn is_handlers(self) -> bool {
        (Self::FIRST_CUSTOM..Self::FIRST_HUB).contains(&self)
    }
}

/// Number of a link, assigned by the node that holds it and never used twice.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct LinkId(pub u32);

/// Identity of a flow at one of its ends.
#[derive(Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FlowKey {
    /// Context at the other end.
    pub peer: ContextId,
    /// Handle that the opener has chosen.
    pub handle: Handle,
    /// True if this end has opened the flow. Both ends allocate the same handles, so peer and
    /// handle alone are ambiguous.
    pub opener: bool,
}
