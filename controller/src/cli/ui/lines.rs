//! The lines of one stream among those of others, each with its label. A line whose end does not come is shown without it
//! after a moment, and goes on where it stands unless somebody else's line came between: then it goes on with its label
//! on a line of its own. No byte is left out.

use super::outlet::{Line, Outlet};
use super::utf8::unfinished;
use std::borrow::Cow;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How long the beginning of a line waits for its end.
const PATIENCE: Duration = Duration::from_millis(400);
/// The most of a line that waits for its end, in bytes.
const LONGEST: usize = 1 << 20;

/// One stream, as lines with a label.
pub struct Lines {
    outlet: Outlet,
    label: String,
    /// Tells its lines from those of others at the outlet.
    number: u64,
    /// The beginning of a line that was not shown yet.
    waiting: Vec<u8>,
    /// Counts how often something was shown; and when it last was to be shown in time.
    turn: u64,
    reminded: Option<u64>,
    /// Whether the last byte that was shown took the cursor back to the label.
    returned: bool,
}

impl Lines {
    /// A stream that goes to `outlet`.
    pub fn new(outlet: Outlet, label: String) -> Arc<Mutex<Lines>> {
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let lines =
            Lines { outlet, label, number, waiting: Vec::new(), turn: 0, reminded: None, returned: false };
        Arc::new(Mutex::new(lines))
    }

    /// Shows the whole lines of a piece of the stream; what is left waits for its end.
    ///
    /// # Errors
    /// As [`Outlet::put`].
    pub fn piece(lines: &Arc<Mutex<Lines>>, bytes: &[u8]) -> io::Result<()> {
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

    /// Shows what is left, and ends its line.
    ///
    /// # Errors
    /// As [`Outlet::put`].
    pub fn end(lines: &Mutex<Lines>) -> io::Result<()> {
        let mut this = locked(lines);
        let count = this.waiting.len();
        this.show(count)?;
        this.outlet.put(this.number, |line| Cow::Borrowed(if line == Line::Own { b"\n" } else { b"" }))
    }

    fn show(&mut self, count: usize) -> io::Result<()> {
        let rest = self.waiting.split_off(count);
        let bytes = std::mem::replace(&mut self.waiting, rest);
        self.turn += 1;
        let (label, returned) = (&self.label, self.returned);
        self.returned = bytes.last().map_or(returned, |last| *last == b'\r');
        self.outlet.put(self.number, |line| Cow::Owned(labelled(label, &bytes, line, returned)))
    }
}

fn locked(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes of a stream with the label where a line begins, and where the cursor is taken back to the beginning of one.
/// `line` is whose line is open at the outlet; `returned` whether its own ended with a carriage return.
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

/// The beginning of a line that is to be shown at a time if it still waits, by the turn in which it began to.
type Due = (Instant, Weak<Mutex<Lines>>, u64);

static WAITING: Mutex<Vec<Due>> = Mutex::new(Vec::new());
static MORE: Condvar = Condvar::new();

fn remind(due: Instant, lines: Weak<Mutex<Lines>>, turn: u64) {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        // Without it such lines wait for their ends, as long as that takes.
        let _ = std::thread::Builder::new().name("lines".into()).spawn(show_in_time);
    });
    WAITING.lock().unwrap_or_else(PoisonError::into_inner).push((due, lines, turn));
    MORE.notify_one();
}

fn show_in_time() {
    let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        // All wait equally long, so the first is the first that is due.
        let Some((due, ..)) = waiting.first() else {
            waiting = MORE.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        let left = due.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            (waiting, _) = MORE.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        let (_, lines, turn) = waiting.remove(0);
        drop(waiting);
        if let Some(lines) = lines.upgrade() {
            let mut lines = locked(&lines);
            if lines.turn == turn {
                // A character is shown whole.
                let count = lines.waiting.len() - unfinished(&lines.waiting);
                // Whoever reads the stream meets the same error.
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
        assert_eq!(shown(b"one\ntwo\n\nfour", Line::None, false), "web1: one\nweb1: two\nweb1: \nweb1: four");
        assert_eq!(shown(b" and the rest\nnext\n", Line::Own, false), " and the rest\nweb1: next\n");
        assert_eq!(shown(b"", Line::Others, true), "");
    }

    #[test]
    fn a_line_continued_after_another_target_is_labelled_again() {
        assert_eq!(shown(b"the rest\n", Line::Others, false), "\nweb1: the rest\n");
        assert_eq!(shown(b"the rest\n", Line::None, true), "web1: the rest\n");
    }

    #[test]
    fn progress_that_overwrites_itself_keeps_its_label() {
        assert_eq!(shown(b"10%\r20%\r\n", Line::None, false), "web1: 10%\rweb1: 20%\r\n");
        assert_eq!(shown(b"30%\r", Line::Own, true), "web1: 30%\r");
        assert_eq!(shown(b"\nnext", Line::Own, true), "\nweb1: next");
    }
}
