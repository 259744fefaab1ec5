//! Passwords: from a file, or asked for on the terminal with the echo off. They are never printed, logged or kept
//! anywhere but in a [`Secret`].

use super::inlet::Inlet;
use super::notes::{end_line, tell};
use super::{jobs, question};
use nix::sys::signal::Signal;
use offshoot::Secret;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

/// The longest password that is read, in bytes.
const LONGEST: usize = 1024;

/// The person at the terminal.
#[derive(Debug)]
pub struct Terminal(File);

impl Terminal {
    /// The terminal that this process belongs to, if it has one.
    pub fn open() -> Option<Terminal> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(nix::libc::O_NOCTTY)
            .open("/dev/tty")
            .ok()
            .map(Terminal)
    }

    /// Asks for a password. None is given where the person gives up with an end of input.
    ///
    /// # Errors
    /// When the terminal cannot be used, or this program is in its background and nothing stops it.
    pub fn ask(&mut self, question: &str) -> io::Result<Option<Secret>> {
        if !jobs::wait_for_foreground(&self.0, Signal::SIGTTIN) {
            return Err(io::Error::other("the terminal is another program's"));
        }
        end_line();
        let shown = question::ask(&self.0, question);
        let answer = shown.and_then(|()| read_line(&mut Inlet::terminal(&self.0)?));
        question::restore();
        // The person's own end of line was not shown either.
        writeln!(self.0)?;
        answer
    }

    /// Says something about the question.
    pub fn say(&mut self, text: &str) {
        // Where this cannot be said, the next question cannot be asked either, and that is told.
        let _ = writeln!(self.0, "{text}");
    }
}

/// The password in a file: its first line.
///
/// # Errors
/// When the file cannot be read, or its first line is empty, too long or not UTF-8.
pub fn from_file(path: &str) -> io::Result<Secret> {
    if path == "-" {
        return read_line(&mut Inlet::stdin()?)?.ok_or_else(|| io::Error::other("stdin ended before it"));
    }
    let mut file = File::open(path)?;
    let about = file.metadata()?;
    let mode = about.permissions().mode();
    if about.is_file() && mode & 0o077 != 0 {
        let mode = mode & 0o7777;
        tell(&format!(
            "{path} has a password and is open to other users (mode {mode:04o}); chmod 600 keeps it to yours"
        ));
    }
    read_line(&mut file)?.ok_or_else(|| io::Error::other("it is empty"))
}

/// Reads a line byte by byte, so that nothing after it is taken.
fn read_line(source: &mut impl Read) -> io::Result<Option<Secret>> {
    // It never grows, so no copy of the password is left behind in memory that was given back.
    let mut line = Vec::with_capacity(LONGEST);
    let mut byte = [0];
    let ended = loop {
        match source.read(&mut byte) {
            Ok(0) => break true,
            Ok(_) if byte[0] == b'\n' => break false,
            Ok(_) if line.len() == LONGEST => {
                return Err(io::Error::other("it is longer than a password may be"));
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
        .map_err(|_| io::Error::other("it is not UTF-8"))
}
