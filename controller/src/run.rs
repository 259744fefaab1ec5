//! `run`: a tree for the duration of a closure.

use offshoot_agent::{Result, Router};

/// Runs `work` with a new tree and ends the tree afterwards, also after an error or a panic, and
/// also if another thread still holds a clone of a context.
///
/// Hosts get the stock agent, which runs programs and has a few functions
/// ([`stock`](crate::stock)). For functions of your own, [`Builder::run`](crate::Builder::run) does
/// the same with settings: `Router::builder().own_image().run(...)`.
///
/// # Errors
/// Returns an error if `work` returns one, or if the tree cannot be started: see [`Router::new`].
pub fn run<T>(work: impl FnOnce(&Router) -> Result<T>) -> Result<T> {
    Router::builder().run(work)
}
