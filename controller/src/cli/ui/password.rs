//! Passwords, from a file or from the terminal with the echo off. They are never printed or logged,
//! and are kept only in a [`Secret`].

use super::inlet::Inlet;
use super::notes::{end_line, tell};
use super::{jobs, question};
use nix::sys::signal::Signal;
use offshoot::Secret;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

/// The longest password, in bytes.
const LONGEST: usize = 1024;

/// The controlling terminal, for questions to the user.
#[derive(Debug)]
pub(crate) struct Terminal(File);

impl Terminal {
    /// Opens the controlling terminal, if there is one.
    pub(crate) fn open() -> Option<Self> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(nix::libc::O_NOCTTY)
            .open("/dev/tty")
            .ok()
            .map(Terminal)
    }

    /// Asks for a password. Returns `None` if the user enters end of file.
    ///
    /// # Errors
    /// Returns an error if the terminal cannot be used, or if this program is in the background and
    /// cannot be stopped.
    pub(crate) fn ask(&mut self, question: &str) -> io::Result<Option<Secret>> {
        if !jobs::wait_for_foreground(&self.0, Signal::SIGTTIN) {
            return Err(io::Error::other("another program has the terminal"));
        }
        end_line();
        let shown = question::ask(&self.0, question);
        let answer = shown.and_then(|()| read_line(&mut Inlet::terminal(&self.0)?));
        question::remove();
        // With the echo off, the end of line that the user typed was not shown.
        writeln!(self.0)?;
        answer
    }

    /// Writes a line before a question.
    pub(crate) fn write_line(&mut self, text: &str) {
        // If this fails, the next question fails as well, and that is reported.
        let _ = writeln!(self.0, "{text}");
    }
}

/// Reads a password from the first line of a file, or of stdin for the path `-`.
///
/// # Errors
/// Returns an error if the file cannot be read, or if its first line is empty, too long or not
/// UTF-8.
pub(crate) fn from_file(path: &str) -> io::Result<Secret> {
    if path == "-" {
        return read_line(&mut Inlet::stdin()?)?.ok_or_else(|| io::Error::other("stdin is empty"));
    }
    let mut file = File::open(path)?;
    let about = file.metadata()?;
    let mode = about.permissions().mode();
    if about.is_file() && mode & 0o077 != 0 {
        let mode = mode & 0o7777;
        tell(&format!(
            "{path} has a password and is accessible to other users (mode {mode:04o}); restrict it with chmod 600"
        ));
    }
    read_line(&mut file)?.ok_or_else(|| io::Error::other("the file is empty"))
}

/// Reads a line byte by byte, so that the input after it stays unread. Returns `None` at end of
/// file.
fn read_line(source: &mut impl Read) -> io::Result<Option<Secret>> {
    // The buffer never grows, so no copy of the password stays behind in freed memory.
    let mut line = Vec::with_capacity(LONGEST);
    let mut byte = [0];
    let ended = loop {
        match source.read(&mut byte) {
            Ok(0) => break true,
            Ok(_) if byte[0] == b'\n' => break false,
            Ok(_) if line.len() == LONGEST => {
                return Err(io::Error::other("the password is too long"));
            }
            Ok(_) => line.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    };
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    if ended && line.is_empty() {
        return Ok(None);
    }
    String::from_utf8(line)
        .map(|line| Some(Secret::new(line)))
        .map_err(|_| io::Error::other("the password is not UTF-8"))
}
