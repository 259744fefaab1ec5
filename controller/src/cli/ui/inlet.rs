//! This program's stdin or its terminal, read without a buffer.

use super::jobs;
use super::shared_fd::{in_foreground, wait_or_fail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use std::fs::File;
use std::io::{self, IsTerminal, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};

/// How long, in ms, a question waits for input before it looks whether this program is still in the
/// foreground: unlike a read, `poll` does not end when a shell continues it in the background.
const LOOK: u8 = 200;

/// Our stdin or our terminal.
pub(crate) struct Inlet {
    file: File,
    /// True for a terminal, where reading in the background stops a program.
    terminal: bool,
    /// True if a read waits for input before it waits for the foreground.
    patient: bool,
    /// Ends a read when it becomes readable or is closed.
    until: Option<PipeReader>,
}

impl Inlet {
    /// Returns this program's stdin.
    ///
    /// # Errors
    /// Returns an error if the descriptor cannot be duplicated.
    pub(crate) fn stdin() -> io::Result<Self> {
        Self::of(io::stdin().as_fd(), true, None)
    }

    /// Returns the controlling terminal, which is read only in the foreground. A read fails once
    /// `until` is readable or closed.
    ///
    /// # Errors
    /// Returns an error if the descriptor cannot be duplicated.
    pub(crate) fn terminal(terminal: &File, until: Option<PipeReader>) -> io::Result<Self> {
        Self::of(terminal.as_fd(), false, until)
    }

    fn of(fd: BorrowedFd<'_>, patient: bool, until: Option<PipeReader>) -> io::Result<Self> {
        let file = File::from(fd.try_clone_to_owned()?);
        let terminal = file.is_terminal();
        Ok(Self {
            file,
            terminal,
            patient,
            until,
        })
    }

    /// Waits for input of the terminal, for a short time. Returns false if there is none yet.
    ///
    /// # Errors
    /// Returns an error if the input is not wanted any more.
    fn wait(&self, until: &PipeReader) -> io::Result<bool> {
        let watched = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut fds = [watched(self.file.as_fd()), watched(until.as_fd())];
        match poll(&mut fds, PollTimeout::from(LOOK)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let [input, end] = fds.map(|fd| fd.any().unwrap_or(false));
        if end {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(input)
    }

    /// Returns true if there is unread input. Takes one byte of it.
    pub(crate) fn has_data(&mut self) -> bool {
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
                if self.patient
                    && poll(&mut fds, PollTimeout::NONE) == Err(nix::errno::Errno::EINTR)
                {
                    continue;
                }
                if !jobs::wait_for_foreground(&self.file, Signal::SIGTTIN) {
                    return Err(nix::errno::Errno::EIO.into());
                }
                if let Some(until) = &self.until
                    && !(self.wait(until)? && in_foreground(&self.file))
                {
                    continue;
                }
            }
            match self.file.read(buffer) {
                Ok(count) => return Ok(count),
                // This program has moved to the background since the check.
                Err(_) if self.terminal && !in_foreground(&self.file) => {}
                Err(error) => wait_or_fail(&self.file, PollFlags::POLLIN, error)?,
            }
        }
    }
}
