//! Ids for new contexts: the root's own, or blocks that it has granted to this process.

use crate::context::Context;
use crate::runtime::extensions::locked;
use offshoot_proto::node::Opening;
use offshoot_proto::{ContextId, Error, Handle, Result};
use std::sync::{Arc, Mutex};

/// Ids that the root has granted to this process: the next one, and the end of the block. The lock
/// is held during a request for a block: without it, two callers could each request one and one of
/// the blocks would be lost.
#[derive(Default)]
struct Granted(Mutex<(u32, u32)>);

impl Context {
    /// Returns an id for a new context.
    ///
    /// # Errors
    /// Returns an error if the root has no more, refuses to grant more, or cannot be reached.
    pub(crate) fn allocate(&self) -> Result<ContextId> {
        let used = || Error::System {
            action: "numbering a context".into(),
            detail: "all numbers are used".into(),
        };
        {
            let mut core = self.node().lock();
            if core.node.id() == ContextId::ROOT {
                return core.node.new_context().ok_or_else(used);
            }
        }
        let granted: Arc<Granted> = self.node().extensions.get();
        let mut block = locked(&granted.0);
        if block.0 == block.1 {
            let opening = Opening::default();
            let (_, slot) = self.node().request(
                ContextId::ROOT,
                Handle::ALLOCATE,
                Vec::new(),
                opening,
                |_, _| {},
            )?;
            let (first, count): (u32, u32) = slot.value("controller")?;
            *block = (first, first.saturating_add(count));
        }
        if block.0 == block.1 {
            return Err(used());
        }
        block.0 += 1;
        Ok(ContextId(block.0 - 1))
    }
}
