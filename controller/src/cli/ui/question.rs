//! The question that is shown on a terminal. Other output and job control clear
//! it and show it again.

use super::shared_fd::in_foreground;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The control sequence that clears the current line.
const CLEAR: &[u8] = b"\r\x1b[K";

/// The current question.
static ASKED: Mutex<Option<Asked>> = Mutex::new(None);

/// True once this program ends. Changed while [`ASKED`] is locked.
static CLOSED: AtomicBool = AtomicBool::new(false);

struct Asked {
    terminal: File,
    question: String,
    /// The settings of the terminal before the question.
    before: Termios,
    /// True if the answer is shown while it is typed.
    echo: bool,
    /// True while the settings are those of the question and the question is on the last line.
    shown: bool,
}

impl Asked {
    /// Turns off the echo and shows the question, in this order, so that nothing typed after the
    /// question is visible.
    fn show(&mut self, clear: &str) -> io::Result<()> {
        let now = tcgetattr(&self.terminal)?;
        // If the echo is off already, this program has turned it off, and those settings are not
        // the original ones.
        if now.local_flags.contains(LocalFlags::ECHO) || !self.shown {
            self.before = now;
        }
        let mut silent = self.before.clone();
        if !self.echo {
            silent.local_flags.remove(LocalFlags::ECHO);
        }
        self.shown = true;
        // Flushes the input: text typed before the question is not an answer to it.
        tcsetattr(&self.terminal, SetArg::TCSAFLUSH, &silent)?;
        write!(self.terminal, "{clear}{}", self.question)
    }

    /// Restores the settings of the terminal.
    fn restore(&mut self) {
        if std::mem::take(&mut self.shown) {
            // Without waiting for output, because a terminal that is held by Ctrl-S would block. An
            // error cannot be shown.
            let _ = tcsetattr(&self.terminal, SetArg::TCSANOW, &self.before);
        }
    }
}

fn asked() -> MutexGuard<'static, Option<Asked>> {
    ASKED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows a question on a terminal that is in the foreground, with the echo off unless the answer
/// may be seen.
///
/// # Errors
/// Returns an error if the terminal's settings cannot be read or set, if the question cannot be
/// written, or if this program ends.
pub(crate) fn ask(terminal: &File, question: &str, echo: bool) -> io::Result<()> {
    let before = tcgetattr(terminal)?;
    let mut question = Asked {
        terminal: terminal.try_clone()?,
        question: question.into(),
        before,
        echo,
        shown: false,
    };
    let mut asked = asked();
    if CLOSED.load(Ordering::Relaxed) {
        return Err(io::Error::other("this program ends"));
    }
    let shown = question.show("");
    *asked = Some(question);
    shown
}

/// Removes the question for good, because this program ends: nothing is asked any more, so that the
/// terminal keeps its settings.
pub(crate) fn close() {
    let mut asked = asked();
    CLOSED.store(true, Ordering::Relaxed);
    if let Some(mut asked) = asked.take() {
        asked.restore();
    }
}

/// Removes the question and restores the settings of its terminal.
pub(crate) fn remove() {
    if let Some(mut asked) = asked().take() {
        asked.restore();
    }
}

/// Restores the settings of the terminal before this program stops. The question stays, for
/// [`show_again`].
pub(crate) fn suspend() {
    if let Some(asked) = &mut *asked() {
        asked.restore();
    }
}

/// Shows the question again after this program was stopped, because other programs have used the
/// terminal since. Does nothing in the background: the thread that waits for the answer shows it in
/// the foreground.
pub(crate) fn show_again() {
    if let Some(asked) = &mut *asked()
        && in_foreground(&asked.terminal)
    {
        // If this fails, reading the answer fails as well, and that is reported.
        let _ = asked.show("\r");
    }
}

/// Calls `write`, which writes these bytes to the terminal. If there is a question, clears it
/// before and shows it again on a new line. Returns the result of `write`, and true if there was a
/// question.
pub(crate) fn write_beside<T>(bytes: &[u8], write: impl FnOnce() -> T) -> (T, bool) {
    let mut asked = asked();
    let Some(asked) = asked.as_mut().filter(|asked| asked.shown) else {
        drop(asked);
        return (write(), false);
    };
    // If this fails, `write` fails as well, because it writes to the same terminal.
    let _ = asked.terminal.write_all(CLEAR);
    let result = write();
    let end = if bytes.ends_with(b"\n") { "" } else { "\r\n" };
    let _ = write!(asked.terminal, "{end}{}", asked.question);
    (result, true)
}
