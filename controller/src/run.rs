//! `run`: a tree for as long as some work takes.

use offshoot_agent::{Result, Router};

/// Runs `work` with a new tree and ends the tree after it, whatever happened: an error, a panic, a clone of a context
/// that another thread still has.
///
/// # Errors
/// Those of `work`, and of [`Router::new`].
pub fn run<T>(work: impl FnOnce(&Router) -> Result<T>) -> Result<T> {
    let router = Router::new()?;
    work(&router)
}
