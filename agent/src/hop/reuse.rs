//! Contexts that several callers share by a key.

use crate::context::Context;
use crate::context::reused::{Entry, ReusedContexts};
use crate::hop::connecting::Connecting;
use offshoot_proto::Result;
use std::sync::Arc;

/// Returns the context with this `key` below `parent`. If there is none, or it failed or was lost,
/// `start` begins a new one.
///
/// # Errors
/// Returns the error of `start`.
pub(crate) fn reuse(
    parent: &Context,
    key: &str,
    start: impl FnOnce() -> Result<Connecting>,
) -> Result<Connecting> {
    let shared = parent.node();
    let reused = ReusedContexts::of(shared);
    // The lock is held while a new context is begun, so that the next caller finds it. That takes
    // no longer than the allocation of an id.
    let mut entries = reused.lock();
    entries.retain(|entry| entry.is_good(shared));
    if let Some(entry) = entries
        .iter()
        .find(|entry| entry.parent == parent.id() && entry.key == key)
    {
        let context = parent.child(entry.id, Arc::clone(&entry.name));
        return Ok(Connecting {
            context,
            outcome: Arc::clone(&entry.outcome),
        });
    }
    let started = start()?;
    entries.push(Entry {
        parent: parent.id(),
        key: key.to_owned(),
        id: started.context.id(),
        name: started.context.name().into(),
        outcome: Arc::clone(&started.outcome),
    });
    Ok(started)
}
