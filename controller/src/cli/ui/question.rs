//! The question that a terminal is being asked, with the echo off. Other writers and job control take it away and show it
//! again.

use super::shared_fd::in_foreground;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

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

/// Shows a question on a terminal that is in the foreground, with the echo off.
///
/// # Errors
/// Returns an error if the terminal's settings cannot be read or set, or the question cannot be written.
pub fn ask(terminal: &File, question: &str) -> io::Result<()> {
    let before = tcgetattr(terminal)?;
    let mut question =
        Asked { terminal: terminal.try_clone()?, question: question.into(), before, shown: false };
    let mut asked = asked();
    let shown = question.show("");
    *asked = Some(question);
    shown
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
        && in_foreground(&asked.terminal)
    {
        // A terminal that cannot be asked cannot be read from either, which is told.
        let _ = asked.show("\r");
    }
}

/// Writes to the terminal that is being asked, if one is: the question is taken away and shown again behind it, on a new
/// line. Returns whether that was done.
pub fn write_beside<T>(bytes: &[u8], write: impl FnOnce() -> T) -> (T, bool) {
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
