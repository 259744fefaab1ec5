//! Passwords: from a file, or asked for on the terminal with the echo off. They are never printed, logged or kept
//! anywhere but in a [`Secret`].

use super::output::{Inlet, tell};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use offshoot::Secret;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::sync::{Mutex, PoisonError};

/// The longest password that is read, in bytes.
const LONGEST: usize = 1024;

/// A terminal whose echo is off, with the settings it had.
static SILENCED: Mutex<Option<(File, Termios)>> = Mutex::new(None);

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
    /// When the terminal cannot be used.
    pub fn ask(&mut self, question: &str) -> io::Result<Option<Secret>> {
        // Silence first: what is typed from the moment the question shows is the answer, and is not seen.
        silence(&self.0)?;
        let answer = write!(self.0, "{question}").and_then(|()| read_line(&mut self.0));
        restore();
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

fn silence(terminal: &File) -> io::Result<()> {
    let before = tcgetattr(terminal)?;
    let mut silent = before.clone();
    silent.local_flags.remove(LocalFlags::ECHO);
    *SILENCED.lock().unwrap_or_else(PoisonError::into_inner) = Some((terminal.try_clone()?, before));
    // What was typed before the question is no answer to it.
    tcsetattr(terminal, SetArg::TCSAFLUSH, &silent)?;
    Ok(())
}

/// Gives a terminal that is being asked its echo back: on the way out, however that came.
pub fn restore() {
    if let Some((terminal, before)) = SILENCED.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // There is nobody left to tell.
        let _ = tcsetattr(&terminal, SetArg::TCSADRAIN, &before);
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
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o077 != 0 {
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
