//! This program's stdin, or its terminal, read without a buffer.

use super::jobs;
use super::shared_fd::{in_foreground, wait_or_fail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::{AsFd, BorrowedFd};

/// What this program reads, without a buffer: its stdin or its terminal.
pub struct Inlet {
    file: File,
    /// Whether reading from it in the background stops a program.
    terminal: bool,
    /// Whether that may wait until there is something to read.
    patient: bool,
}

impl Inlet {
    /// This program's stdin.
    ///
    /// # Errors
    /// When the system gives no descriptor.
    pub fn stdin() -> io::Result<Inlet> {
        Inlet::of(io::stdin().as_fd(), true)
    }

    /// The terminal that this program belongs to, to be read from in the foreground alone.
    ///
    /// # Errors
    /// When the system gives no descriptor.
    pub fn terminal(terminal: &File) -> io::Result<Inlet> {
        Inlet::of(terminal.as_fd(), false)
    }

    fn of(fd: BorrowedFd<'_>, patient: bool) -> io::Result<Inlet> {
        let file = File::from(fd.try_clone_to_owned()?);
        let terminal = file.is_terminal();
        Ok(Inlet { file, terminal, patient })
    }

    /// Whether there is something to read that nobody has read.
    pub fn has_data(&mut self) -> bool {
        let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0);
        ready && self.file.read(&mut [0]).is_ok_and(|count| count > 0)
    }
}

impl Read for Inlet {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.terminal {
                let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
                if self.patient && poll(&mut fds, PollTimeout::NONE) == Err(nix::errno::Errno::EINTR) {
                    continue;
                }
                if !jobs::wait_for_foreground(&self.file, Signal::SIGTTIN) {
                    return Err(nix::errno::Errno::EIO.into());
                }
            }
            match self.file.read(buffer) {
                Ok(count) => return Ok(count),
                // It has come into the background meanwhile.
                Err(_) if self.terminal && !in_foreground(&self.file) => {}
                Err(error) => wait_or_fail(&self.file, PollFlags::POLLIN, error)?,
            }
        }
    }
}
