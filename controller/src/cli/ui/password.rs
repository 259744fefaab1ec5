//! Passwords: from a file, or asked for on the terminal with the echo off. They are never printed, logged or kept
//! anywhere but in a [`Secret`].

use super::jobs;
use super::output::{Inlet, end_line, tell};
use nix::sys::signal::Signal;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use offshoot::Secret;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The longest password that is read, in bytes.
const LONGEST: usize = 1024;
/// Empties the line that the cursor is on.
const CLEAR: &[u8] = b"\r\x1b[K";

/// The question that a terminal is being asked.
static ASKED: Mutex<Option<Asked>> = Mutex::new(None);

struct Asked {
    terminal: File,
    question: String,
    /// The settings that the terminal had.
    before: Termios,
    /// Whether its echo is off and the question stands on its last line.
    shown: bool,
}

impl Asked {
    /// Takes the echo off and shows the question, in this order: what is typed from the moment it shows is not seen.
    fn show(&mut self, clear: &str) -> io::Result<()> {
        let now = tcgetattr(&self.terminal)?;
        // Where the echo was off before this, it is this program that has taken it off.
        if now.local_flags.contains(LocalFlags::ECHO) || !self.shown {
            self.before = now;
        }
        let mut silent = self.before.clone();
        silent.local_flags.remove(LocalFlags::ECHO);
        self.shown = true;
        // What was typed before the question is no answer to it.
        tcsetattr(&self.terminal, SetArg::TCSAFLUSH, &silent)?;
        write!(self.terminal, "{clear}{}", self.question)
    }

    fn give_back(&mut self) {
        if std::mem::take(&mut self.shown) {
            // There is nobody to tell. At once, for a terminal whose output is held up (Ctrl-S) would hold this up.
            let _ = tcsetattr(&self.terminal, SetArg::TCSANOW, &self.before);
        }
    }
}

fn asked() -> MutexGuard<'static, Option<Asked>> {
    ASKED.lock().unwrap_or_else(PoisonError::into_inner)
}

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
        let (terminal, before) = (self.0.try_clone()?, tcgetattr(&self.0)?);
        let mut question = Asked { terminal, question: question.into(), before, shown: false };
        let shown = {
            let mut asked = asked();
            let shown = question.show("");
            *asked = Some(question);
            shown
        };
        let answer = shown.and_then(|()| read_line(&mut Inlet::terminal(&self.0)?));
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

/// Gives a terminal that is being asked its settings back: on the way out, however that came.
pub fn restore() {
    if let Some(mut asked) = asked().take() {
        asked.give_back();
    }
}

/// Gives a terminal that is being asked its settings back before this program stops.
pub fn give_back() {
    if let Some(asked) = &mut *asked() {
        asked.give_back();
    }
}

/// Asks again what a terminal was being asked, for this program was stopped meanwhile, and others have set and used it.
/// In the background nothing is asked: whoever waits for the answer is stopped until that changes.
pub fn ask_again() {
    if let Some(asked) = &mut *asked()
        && jobs::in_foreground(&asked.terminal)
    {
        // A terminal that cannot be asked cannot be read from either, which is told.
        let _ = asked.show("\r");
    }
}

/// Writes to the terminal that is being asked, if one is: the question is taken away and shown again behind it, on a new
/// line. Returns whether that was done.
pub fn beside_question<T>(bytes: &[u8], write: impl FnOnce() -> T) -> (T, bool) {
    let mut asked = asked();
    let Some(asked) = asked.as_mut().filter(|asked| asked.shown) else {
        drop(asked);
        return (write(), false);
    };
    // What cannot be written is told by `write`, which writes to the same terminal.
    let _ = asked.terminal.write_all(CLEAR);
    let result = write();
    let end = if bytes.ends_with(b"\n") { "" } else { "\r\n" };
    let _ = write!(asked.terminal, "{end}{}", asked.question);
    (result, true)
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
