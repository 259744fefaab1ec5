//! The limit of open descriptors: a node takes what the system lets it have, and what it starts gets what it was given.
//!
//! The usual soft limit of 1,024 is there for programs that use `select`; a node does not, and a child costs it several.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// The soft limit before it was raised, and after; both 0 where it was not.
static BEFORE: AtomicU64 = AtomicU64::new(0);
static AFTER: AtomicU64 = AtomicU64::new(0);

fn limit() -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a place for the result.
    super::result(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) }.into())?;
    Ok(limit)
}

fn set(limit: &libc::rlimit) -> io::Result<()> {
    // SAFETY: a whole limit that is only read.
    super::result(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, limit) }.into()).map(drop)
}

/// Raises the soft limit of this process to the hard one. Where the system refuses, it stays.
pub fn raise_descriptors() {
    let Ok(found) = limit() else { return };
    let raised = libc::rlimit { rlim_cur: found.rlim_max, ..found };
    if found.rlim_cur < found.rlim_max && set(&raised).is_ok() {
        BEFORE.store(found.rlim_cur, Ordering::Relaxed);
        AFTER.store(raised.rlim_cur, Ordering::Relaxed);
    }
}

/// Gives a new process the limit that this one was started with, unless somebody has set another since. For the moment
/// between fork and exec.
pub fn restore_descriptors() -> io::Result<()> {
    let (before, after) = (BEFORE.load(Ordering::Relaxed), AFTER.load(Ordering::Relaxed));
    let found = limit()?;
    if after == 0 || found.rlim_cur != after {
        return Ok(());
    }
    set(&libc::rlimit { rlim_cur: before.min(found.rlim_max), ..found })
}
