//! Descriptors that this program shares with other programs, such as a terminal.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{getpgrp, tcgetpgrp};
use std::io;
use std::os::fd::AsFd;

/// Returns true if this program is in the foreground of a terminal, or if `fd` is not its
/// controlling terminal.
pub(super) fn in_foreground(fd: impl AsFd) -> bool {
    tcgetpgrp(fd).map_or(true, |group| group == getpgrp())
}

/// Handles an error of a read or a write. Waits until the descriptor is ready if another program
/// has made it non-blocking for all.
///
/// # Errors
/// Returns any other error.
pub(super) fn wait_or_fail(fd: impl AsFd, wanted: PollFlags, error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::Interrupted => Ok(()),
        io::ErrorKind::WouldBlock => {
            let mut fds = [PollFd::new(fd.as_fd(), wanted)];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
                Err(errno) => Err(errno.into()),
            }
        }
        _ => Err(error),
    }
}
