//! Pseudo terminals.

use crate::errno::result;
use crate::fd::owned;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;

/// Returns the number of columns of a terminal, `None` if it is unknown.
pub fn columns(terminal: impl AsFd) -> Option<u16> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let fd = terminal.as_fd().as_raw_fd();
    // SAFETY: the kernel writes one `winsize`, or nothing.
    let done = unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, &mut size) };
    Some(size.ws_col).filter(|columns| done == 0 && *columns > 0)
}

/// Opens a pseudo terminal with echo off. Returns (controlling end, end of the program).
///
/// # Errors
/// Returns an error if no terminals are mounted, or all are in use.
pub fn open_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    let unlocked: libc::c_int = 0;
    // SAFETY: each call gets C strings and variables of the type that it expects; TIOCGPTPEER takes
    // the flags as its argument.
    unsafe {
        let master = owned(libc::open(c"/dev/ptmx".as_ptr(), flags).into())?;
        result(libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &unlocked).into())?;
        let slave = owned(libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags).into())?;
        let mut attributes = std::mem::zeroed::<libc::termios>();
        if libc::tcgetattr(slave.as_raw_fd(), &mut attributes) == 0 {
            attributes.c_lflag &= !libc::ECHO;
            libc::tcsetattr(slave.as_raw_fd(), libc::TCSANOW, &attributes);
        }
        Ok((master, slave))
    }
}
