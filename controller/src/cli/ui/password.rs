//! Passwords, from a file or from the terminal with the echo off. They are never printed or logged,
//! and are kept only in a [`Secret`].

use super::inlet::Inlet;
use super::notes::{end_line, tell};
use super::rows::rows;
use super::{jobs, question};
use nix::sys::signal::Signal;
use nix::sys::termios::{FlushArg, tcflush};
use offshoot::Secret;
use offshoot::target::password_line;
use offshoot_agent::command_line::columns;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, PipeReader, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

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

    /// Asks for a password, or for an answer that is `shown` while it is typed. Above the last of
    /// `lines`, which is the question, the others are printed; `label` begins each row. Returns
    /// `None` if the user enters end of file.
    ///
    /// # Errors
    /// Returns an error if the terminal cannot be used, or if this program is in the background and
    /// cannot be stopped. If it is because `until` is readable or closed, its kind is
    /// `ConnectionAborted`, and what was typed is discarded.
    pub(crate) fn ask(
        &mut self,
        (label, lines): (&str, &[&str]),
        shown: bool,
        until: Option<PipeReader>,
    ) -> io::Result<Option<Secret>> {
        if !jobs::wait_for_foreground(&self.0, Signal::SIGTTIN) {
            return Err(io::Error::other("another program has the terminal"));
        }
        end_line();
        let mut rows = rows(label, lines, columns(&self.0));
        let question = rows.pop().unwrap_or_default();
        for row in rows {
            self.write_line(&row);
        }
        let asked = question::ask(&self.0, &question, shown);
        let asked_at_all = asked.is_ok();
        let answer = asked.and_then(|()| password_line(&mut Inlet::terminal(&self.0, until)?));
        let withdrawn =
            matches!(&answer, Err(error) if error.kind() == ErrorKind::ConnectionAborted);
        if withdrawn {
            // Before the echo is on again. A part of a password is nobody's input.
            let _ = tcflush(&self.0, FlushArg::TCIFLUSH);
        }
        question::remove();
        // With the echo off, the end of line that the user typed was not shown.
        if asked_at_all && (!shown || withdrawn) {
            writeln!(self.0)?;
        }
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
        return password_line(&mut Inlet::stdin()?)?
            .ok_or_else(|| io::Error::other("stdin is empty"));
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
    password_line(&mut file)?.ok_or_else(|| io::Error::other("the file is empty"))
}
