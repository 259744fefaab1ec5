//! Resource limits that apply to this process but not to its children.
//!
//! A node raises its limit of open descriptors as far as the system allows, because each child
//! takes several; the usual 1,024 protect programs that use `select`. An agent leaves no core file.
//! Children get the original limits.

use crate::errno::result;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// A resource whose soft limit this process may have changed.
struct Changed {
    resource: libc::c_int,
    /// Soft limit before and after the change; equal if it was not changed.
    before: AtomicU64,
    after: AtomicU64,
}

impl Changed {
    const fn new(resource: libc::c_int) -> Self {
        Self {
            resource,
            before: AtomicU64::new(0),
            after: AtomicU64::new(0),
        }
    }

    fn limit(&self) -> io::Result<libc::rlimit> {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: `limit` is a variable for the result. C libraries differ in the type of the
        // resource.
        result(unsafe { libc::getrlimit(self.resource as _, &mut limit) }.into())?;
        Ok(limit)
    }

    fn set(&self, limit: &libc::rlimit) -> io::Result<()> {
        // SAFETY: the limit is only read.
        result(unsafe { libc::setrlimit(self.resource as _, limit) }.into()).map(drop)
    }

    /// Changes the soft limit; keeps it if the system refuses.
    fn change(&self, to: impl FnOnce(&libc::rlimit) -> libc::rlim_t) {
        let Ok(found) = self.limit() else { return };
        let changed = libc::rlimit {
            rlim_cur: to(&found),
            ..found
        };
        if changed.rlim_cur != found.rlim_cur && self.set(&changed).is_ok() {
            self.before.store(found.rlim_cur, Ordering::Relaxed);
            self.after.store(changed.rlim_cur, Ordering::Relaxed);
        }
    }

    fn restore(&self) -> io::Result<()> {
        let (before, after) = (
            self.before.load(Ordering::Relaxed),
            self.after.load(Ordering::Relaxed),
        );
        let found = self.limit()?;
        if before == after || found.rlim_cur != after {
            return Ok(());
        }
        self.set(&libc::rlimit {
            rlim_cur: before.min(found.rlim_max),
            ..found
        })
    }
}

static DESCRIPTORS: Changed = Changed::new(libc::RLIMIT_NOFILE as libc::c_int);

static CORE: Changed = Changed::new(libc::RLIMIT_CORE as libc::c_int);

/// Raises the soft limit of open descriptors to the hard limit.
pub fn raise_descriptors() {
    DESCRIPTORS.change(|found| found.rlim_max);
}

/// Prevents core files of this process.
pub fn leave_no_core() {
    CORE.change(|_| 0);
}

/// Restores the limits that this process was started with, unless they were changed again since.
/// Called between fork and exec.
///
/// # Errors
/// Returns an error if the system refuses.
pub fn restore() -> io::Result<()> {
    DESCRIPTORS.restore()?;
    CORE.restore()
}
