//! File descriptors: duplication, pipes, reading and writing.

use crate::errno::result;
use crate::write_signals;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;

/// Takes over the descriptor that a system call has returned.
pub(crate) fn owned(value: libc::c_long) -> io::Result<OwnedFd> {
    let fd = result(value)?;
    // SAFETY: the kernel has just created this descriptor, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Duplicates `from` as `to`, without the close-on-exec flag.
///
/// # Errors
/// Returns an error if `from` is not open.
///
/// # Safety
/// Nothing in this process owns `to`, which is closed if it is open.
pub(crate) unsafe fn duplicate_to(from: RawFd, to: RawFd) -> io::Result<()> {
    // SAFETY: plain numbers; the caller answers for the owner of `to`.
    result(unsafe { libc::dup2(from, to) }.into()).map(drop)
}

/// One of the standard streams of a process.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum StdStream {
    /// Standard input, descriptor 0.
    In = 0,
    /// Standard output, descriptor 1.
    Out = 1,
    /// Standard error, descriptor 2.
    Err = 2,
}

/// Replaces a standard stream of this process with a duplicate of `from`.
///
/// # Errors
/// Returns an error if the system refuses the duplicate.
pub fn replace_stdio(from: impl AsFd, stream: StdStream) -> io::Result<()> {
    // SAFETY: no value owns a standard stream.
    unsafe { duplicate_to(from.as_fd().as_raw_fd(), stream as RawFd) }
}

/// Duplicates `fd` as the lowest free number from `least` on, closed on exec.
///
/// # Errors
/// Returns an error if the process has no free descriptor.
pub(crate) fn duplicate_above(fd: BorrowedFd<'_>, least: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: a valid descriptor and plain numbers.
    owned(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, least) }.into())
}

/// Takes over a descriptor that this process was started with, and sets close-on-exec.
///
/// # Errors
/// Returns an error if the descriptor is not open.
pub fn inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: plain numbers; fails if the descriptor is not open.
    result(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) }.into())?;
    // SAFETY: the descriptor is open, and the parent has passed it to this process for this owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Duplicates a standard stream as a number above 2, closed on exec.
///
/// # Errors
/// Returns an error if the stream is closed or the process has no free descriptor.
pub fn take_stdio(stream: StdStream) -> io::Result<OwnedFd> {
    // SAFETY: no value closes a standard stream, and the borrow ends with the statement.
    duplicate_above(unsafe { BorrowedFd::borrow_raw(stream as RawFd) }, 3)
}

/// Creates a pipe and returns (read end, write end), both closed on exec.
///
/// # Errors
/// Returns an error if the process or the system has no free descriptor.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: `ends` has room for the two numbers.
    result(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }.into())?;
    // SAFETY: the kernel has just created both descriptors.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// Sets a descriptor to non-blocking mode.
///
/// # Errors
/// Returns an error if the system refuses.
pub fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: a valid descriptor and plain numbers.
    unsafe {
        let flags = result(libc::fcntl(fd, libc::F_GETFL).into())?;
        result(libc::fcntl(fd, libc::F_SETFL, flags as libc::c_int | libc::O_NONBLOCK).into())?;
    }
    Ok(())
}

/// Sets the capacity of a pipe to `size` bytes, as far as the system allows. Has no effect on other
/// descriptors.
pub fn widen_pipe(fd: impl AsFd, size: usize) {
    // SAFETY: a valid descriptor and a plain number.
    unsafe {
        libc::fcntl(
            fd.as_fd().as_raw_fd(),
            libc::F_SETPIPE_SZ,
            size as libc::c_int,
        )
    };
}

/// Reads once. Returns `None` if no data is available yet, and 0 at end of file; a peer that
/// disconnected and a terminal that hung up count as end of file.
///
/// # Errors
/// Returns an error if the read fails otherwise.
pub fn read(fd: impl AsFd, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        // SAFETY: the buffer is exclusively borrowed for its length.
        let count = unsafe {
            libc::read(
                fd.as_fd().as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
            )
        };
        if count >= 0 {
            return Ok(Some(count as usize));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::EAGAIN) => return Ok(None),
            Some(libc::EIO | libc::ECONNRESET | libc::EPIPE) => return Ok(Some(0)),
            _ => return Err(error),
        }
    }
}

/// Writes once. Returns `None` if the descriptor accepts no data yet.
///
/// # Errors
/// Returns an error if the write fails.
pub fn write(fd: impl AsFd, bytes: &[u8]) -> io::Result<Option<usize>> {
    loop {
        let count = write_signals::write(fd.as_fd().as_raw_fd(), bytes);
        if count >= 0 {
            return Ok(Some(count as usize));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::EAGAIN) => return Ok(None),
            _ => return Err(error),
        }
    }
}

/// Writes all bytes, blocking while the descriptor accepts no data.
///
/// # Errors
/// Returns an error if a write fails.
pub fn write_all(fd: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match write(fd, bytes)? {
            Some(count) => bytes = &bytes[count..],
            None => {
                let mut wait = [nix::poll::PollFd::new(
                    fd.as_fd(),
                    nix::poll::PollFlags::POLLOUT,
                )];
                nix::poll::poll(&mut wait, nix::poll::PollTimeout::NONE)?;
            }
        }
    }
    Ok(())
}
