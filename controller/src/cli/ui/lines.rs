//! The lines of one stream among those of others, each with its label.
//!
//! A line that stays incomplete is shown after a short time. Its rest follows on the same line, or,
//! if another stream has written since, on a new line with the label again. No byte is lost, but a
//! terminal gets none that could overwrite other lines.

use super::outlet::{Line, Outlet};
use super::shared_terminal::tamed;
use super::utf8::unfinished;
use std::borrow::Cow;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::{Duration, Instant};

/// The time that an incomplete line is buffered.
const PATIENCE: Duration = Duration::from_millis(400);
/// The longest incomplete line that is buffered, in bytes.
const LONGEST: usize = 1 << 20;

/// A stream as lines with a label.
pub(crate) struct Lines {
    outlet: Outlet,
    label: String,
    /// The number of the writer at the outlet.
    number: u64,
    /// The buffered incomplete line.
    waiting: Vec<u8>,
    /// The number of times that something was shown.
    turn: u64,
    /// The turn for which a timer was last set.
    reminded: Option<u64>,
    /// True if the last byte shown was a carriage return, which moved the cursor back to the label.
    returned: bool,
}

impl Lines {
    /// Returns a stream that is shown at `outlet`.
    pub(crate) fn new(outlet: Outlet, label: String) -> Arc<Mutex<Self>> {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let lines = Self {
            outlet,
            label,
            number,
            waiting: Vec::new(),
            turn: 0,
            reminded: None,
            returned: false,
        };
        Arc::new(Mutex::new(lines))
    }

    /// Shows the complete lines of a piece of the stream and buffers the rest.
    ///
    /// # Errors
    /// Returns an error in the same cases as [`Outlet::put`].
    pub(crate) fn piece(lines: &Arc<Mutex<Self>>, bytes: &[u8]) -> io::Result<()> {
        let mut this = locked(lines);
        this.waiting.extend_from_slice(bytes);
        let whole = match this.waiting.iter().rposition(|byte| *byte == b'\n') {
            _ if this.waiting.len() >= LONGEST => this.waiting.len(),
            Some(at) => at + 1,
            None => 0,
        };
        if whole > 0 {
            this.show(whole)?;
        }
        if !this.waiting.is_empty() && this.reminded != Some(this.turn) {
            this.reminded = Some(this.turn);
            remind(Instant::now() + PATIENCE, Arc::downgrade(lines), this.turn);
        }
        Ok(())
    }

    /// Shows the buffered rest and ends its line.
    ///
    /// # Errors
    /// Returns an error in the same cases as [`Outlet::put`].
    pub(crate) fn end(lines: &Mutex<Self>) -> io::Result<()> {
        let mut this = locked(lines);
        let count = this.waiting.len();
        this.show(count)?;
        this.outlet.put(this.number, |line| {
            Cow::Borrowed(if line == Line::Own { b"\n" } else { b"" })
        })
    }

    /// Shows the first bytes of the buffer.
    fn show(&mut self, count: usize) -> io::Result<()> {
        let rest = self.waiting.split_off(count);
        let mut bytes = std::mem::replace(&mut self.waiting, rest);
        if self.outlet.terminal {
            bytes = tamed(&bytes);
        }
        self.turn += 1;
        let (label, returned) = (&self.label, self.returned);
        self.returned = bytes.last().map_or(returned, |last| *last == b'\r');
        self.outlet.put(self.number, |line| {
            Cow::Owned(labelled(label, &bytes, line, returned))
        })
    }
}

fn locked(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the bytes of a stream with the label inserted at the beginning of each line and after
/// each carriage return. `line` is the state of the current line at the outlet, and `returned` is
/// true if this stream ended with a carriage return.
fn labelled(label: &str, bytes: &[u8], line: Line, returned: bool) -> Vec<u8> {
    let mut shown = Vec::with_capacity(bytes.len() + label.len());
    if bytes.is_empty() {
        return shown;
    }
    if line == Line::Others {
        shown.push(b'\n');
    }
    let (mut begins, mut returned) = (line != Line::Own, line == Line::Own && returned);
    for part in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
        if begins || (returned && part != b"\n") {
            shown.extend_from_slice(label.as_bytes());
        }
        shown.extend_from_slice(part);
        begins = part.ends_with(b"\n");
        returned = part.ends_with(b"\r");
    }
    shown
}

/// A timer for an incomplete line: its time, the stream, and the turn at which the timer is void.
type Due = (Instant, Weak<Mutex<Lines>>, u64);

static WAITING: Mutex<Vec<Due>> = Mutex::new(Vec::new());
static MORE: Condvar = Condvar::new();

/// Sets a timer.
fn remind(due: Instant, lines: Weak<Mutex<Lines>>, turn: u64) {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        // Without this thread, incomplete lines are shown once they are complete.
        let _ = std::thread::Builder::new()
            .name("lines".into())
            .spawn(show_in_time);
    });
    WAITING
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push((due, lines, turn));
    MORE.notify_one();
}

/// Shows incomplete lines when their timers expire.
fn show_in_time() {
    let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        // All timers have the same length, so the first one expires first.
        let Some((due, ..)) = waiting.first() else {
            waiting = MORE.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        let left = due.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            (waiting, _) = MORE
                .wait_timeout(waiting, left)
                .unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        let (_, lines, turn) = waiting.remove(0);
        drop(waiting);
        if let Some(lines) = lines.upgrade() {
            let mut lines = locked(&lines);
            if lines.turn == turn {
                // A character that is split between two pieces stays buffered.
                let count = lines.waiting.len() - unfinished(&lines.waiting);
                // The thread that reads the stream will get the same error.
                let _ = lines.show(count);
            }
        }
        waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8], line: Line, returned: bool) -> String {
        String::from_utf8(labelled("web1: ", bytes, line, returned)).unwrap()
    }

    #[test]
    fn each_line_is_labelled_once() {
        assert_eq!(
            shown(b"one\ntwo\n\nfour", Line::None, false),
            "web1: one\nweb1: two\nweb1: \nweb1: four"
        );
        assert_eq!(
            shown(b" and the rest\nnext\n", Line::Own, false),
            " and the rest\nweb1: next\n"
        );
        assert_eq!(shown(b"", Line::Others, true), "");
    }

    #[test]
    fn a_line_continued_after_another_target_is_labelled_again() {
        assert_eq!(
            shown(b"the rest\n", Line::Others, false),
            "\nweb1: the rest\n"
        );
        assert_eq!(shown(b"the rest\n", Line::None, true), "web1: the rest\n");
    }

    #[test]
    fn progress_that_overwrites_itself_keeps_its_label() {
        assert_eq!(
            shown(b"10%\r20%\r\n", Line::None, false),
            "web1: 10%\rweb1: 20%\r\n"
        );
        assert_eq!(shown(b"30%\r", Line::Own, true), "web1: 30%\r");
        assert_eq!(shown(b"\nnext", Line::Own, true), "\nweb1: next");
    }
}
