//! `run`: a tree for as long as some work takes.

use offshoot_agent::{Result, Router};

/// Runs `work` with a new tree and ends the tree after it, whatever happened: an error, a panic, a clone of a context
/// that another thread still has.
///
/// The stock agent is sent to hosts, which runs programs and has a few functions ([`stock`](crate::stock)). For functions of your own,
/// [`Builder::run`](crate::Builder::run) does the same with settings: `Router::builder().own_image().run(...)`.
///
/// # Errors
/// Those of `work`, and of [`Router::new`].
pub fn run<T>(work: impl FnOnce(&Router) -> Result<T>) -> Result<T> {
    Router::builder().run(work)
}
