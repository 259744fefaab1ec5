//! Limits of this process that are not those of what it starts: open descriptors, of which a node takes what the system
//! lets it have, and core files, of which an agent leaves none. What they start gets the limits that they were given.
//!
//! The usual soft limit of 1,024 descriptors is there for programs that use `select`; a node does not, and a child costs it
//! several.

use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// A resource whose soft limit this process may have changed.
struct Changed {
    resource: libc::c_int,
    /// The soft limit before, and after; the same where it was not changed.
    before: AtomicU64,
    after: AtomicU64,
}

impl Changed {
    const fn new(resource: libc::c_int) -> Changed {
        Changed { resource, before: AtomicU64::new(0), after: AtomicU64::new(0) }
    }

    fn limit(&self) -> io::Result<libc::rlimit> {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `limit` is a place for the result. The C libraries differ in the type of the resource alone.
        crate::result(unsafe { libc::getrlimit(self.resource as _, &mut limit) }.into())?;
        Ok(limit)
    }

    fn set(&self, limit: &libc::rlimit) -> io::Result<()> {
        // SAFETY: a whole limit that is only read.
        crate::result(unsafe { libc::setrlimit(self.resource as _, limit) }.into()).map(drop)
    }

    /// Changes the soft limit. Where the system refuses, it stays.
    fn change(&self, to: impl FnOnce(&libc::rlimit) -> libc::rlim_t) {
        let Ok(found) = self.limit() else { return };
        let changed = libc::rlimit { rlim_cur: to(&found), ..found };
        if changed.rlim_cur != found.rlim_cur && self.set(&changed).is_ok() {
            self.before.store(found.rlim_cur, Ordering::Relaxed);
            self.after.store(changed.rlim_cur, Ordering::Relaxed);
        }
    }

    fn restore(&self) -> io::Result<()> {
        let (before, after) = (self.before.load(Ordering::Relaxed), self.after.load(Ordering::Relaxed));
        let found = self.limit()?;
        if before == after || found.rlim_cur != after {
            return Ok(());
        }
        self.set(&libc::rlimit { rlim_cur: before.min(found.rlim_max), ..found })
    }
}

static DESCRIPTORS: Changed = Changed::new(libc::RLIMIT_NOFILE as libc::c_int);

static CORE: Changed = Changed::new(libc::RLIMIT_CORE as libc::c_int);

/// Raises the soft limit of descriptors of this process to the hard one.
pub fn raise_descriptors() {
    DESCRIPTORS.change(|found| found.rlim_max);
}

/// Has this process leave no core file.
pub fn leave_no_core() {
    CORE.change(|_| 0);
}

/// Gives a new process the limits that this one was started with, unless somebody has set others since. For the moment
/// between fork and exec.
pub fn restore() -> io::Result<()> {
    DESCRIPTORS.restore()?;
    CORE.restore()
}
