//! Error numbers, and results of system calls.

use std::io;

pub use libc::{E2BIG, EACCES, EINVAL, EMFILE, ENOENT, ENOEXEC, ENOTDIR, EOPNOTSUPP};
pub use nix::errno::Errno;

/// Returns the value of a system call, or its error if the value is negative.
pub(crate) fn result(value: libc::c_long) -> io::Result<libc::c_long> {
    if value < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(value)
    }
}

/// Returns true if an error means that a limit of this process, its user or the system is reached:
/// of open files, processes or memory.
pub fn is_limit(error: &io::Error) -> bool {
    let limits = [EMFILE, libc::ENFILE, libc::EAGAIN, libc::ENOMEM];
    error
        .raw_os_error()
        .is_some_and(|number| limits.contains(&number))
}
