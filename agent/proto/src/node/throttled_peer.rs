//! A neighbour that was asked to pause frames for a link.

use crate::collections::index_map::IndexMap;
use crate::id::ContextId;
use crate::id::LinkId;
use alloc::vec::Vec;

/// A neighbour that was asked to pause frames.
pub(crate) struct ThrottledPeer {
    /// Link of the neighbour.
    pub link: LinkId,
    /// True if frames to all contexts are paused.
    pub all: bool,
    /// Contexts whose frames are paused. The value is 1 if the context is in `open`, and 0 if the
    /// neighbour of the full link has paused it as well.
    pub some: IndexMap<ContextId, u32>,
    /// Contexts that may be resumed once the link has room.
    pub open: Vec<ContextId>,
}

impl ThrottledPeer {
    /// Lets a context be resumed once the link has room.
    pub(crate) fn look_at(&mut self, id: ContextId) {
        if let Some(open) = self.some.get_mut(&id).filter(|open| **open == 0) {
            *open = 1;
            self.open.push(id);
        }
    }
}
