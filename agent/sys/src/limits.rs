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

    /// Returns the limit, and sets it to `new` if there is one.
    ///
    /// Not by `setrlimit`: musl's can stop all threads, for kernels without this system call.
    fn exchange(&self, new: Option<&libc::rlimit>) -> io::Result<libc::rlimit> {
        let mut old = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        let new = new.map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: `new` is null or a limit that is only read, and `old` is a variable for the
        // result. C libraries differ in the type of the resource.
        result(unsafe { libc::prlimit(0, self.resource as _, new, &mut old) }.into())?;
        Ok(old)
    }

    /// Changes the soft limit; keeps it if the system refuses.
    fn change(&self, to: impl FnOnce(&libc::rlimit) -> libc::rlim_t) {
        let Ok(found) = self.exchange(None) else {
            return;
        };
        let changed = libc::rlimit {
            rlim_cur: to(&found),
            ..found
        };
        if changed.rlim_cur != found.rlim_cur && self.exchange(Some(&changed)).is_ok() {
            self.before.store(found.rlim_cur, Ordering::Relaxed);
            self.after.store(changed.rlim_cur, Ordering::Relaxed);
        }
    }

    fn restore(&self) -> io::Result<()> {
        let (before, after) = (
            self.before.load(Ordering::Relaxed),
            self.after.load(Ordering::Relaxed),
        );
        let found = self.exchange(None)?;
        if before == after || found.rlim_cur != after {
            return Ok(());
        }
        let original = libc::rlimit {
            rlim_cur: before.min(found.rlim_max),
            ..found
        };
        self.exchange(Some(&original)).map(drop)
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
