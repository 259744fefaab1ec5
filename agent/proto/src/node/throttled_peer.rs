//! A neighbour that was asked to hold frames back.

use crate::collections::index_map::IndexMap;
use crate::id::ContextId;
use crate::id::LinkId;
use alloc::vec::Vec;

/// Contexts for which a neighbour was asked to hold back.
pub struct ThrottledPeer {
    pub link: LinkId,
    pub all: bool,
    /// Each with 1 where it is looked at when the link has room; the others when what goes to them is taken again.
    pub some: IndexMap<ContextId, u32>,
    /// Those that are.
    pub open: Vec<ContextId>,
}

impl ThrottledPeer {
    /// It is looked at when the link has room.
    pub fn look_at(&mut self, id: ContextId) {
        if let Some(open) = self.some.get_mut(&id).filter(|open| **open == 0) {
            *open = 1;
            self.open.push(id);
        }
    }
}
