//! Descriptors that this program shares with others: who is in the foreground, and who has made them non-blocking.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{getpgrp, tcgetpgrp};
use std::io;
use std::os::fd::AsFd;

/// Returns true if this program is in the foreground of a terminal, or `fd` is none that it belongs to.
pub fn in_foreground(fd: impl AsFd) -> bool {
    tcgetpgrp(fd).map_or(true, |group| group == getpgrp())
}

/// Whoever shares our terminal may have made it non-blocking for all.
pub fn wait_or_fail(fd: impl AsFd, wanted: PollFlags, error: io::Error) -> io::Result<()> {
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
