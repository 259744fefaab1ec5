//! Messages of this program to the person who started it.

use super::outlet::{Line, OWN, Outlet};
use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Set when this program was told to end: what fails from then on is a consequence, and not worth a word.
static HUSHED: AtomicBool = AtomicBool::new(false);

/// Says nothing more about failures.
pub fn hush() {
    HUSHED.store(true, Ordering::Relaxed);
}

/// Tells the person at the terminal something, as lines that begin with the program's name.
pub fn tell(message: &str) {
    if !HUSHED.load(Ordering::Relaxed) {
        // Where stderr is gone there is nobody to tell.
        let _ = Notes.write_all(format!("offshoot: {message}\n").as_bytes());
    }
}

/// What this program says itself, to stderr: on lines of its own.
pub struct Notes;

impl Write for Notes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let own = |line| match line {
            Line::None | Line::Own => Cow::Borrowed(bytes),
            Line::Others => Cow::Owned([b"\n", bytes].concat()),
        };
        Outlet::stderr()?.put(OWN, own).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Ends the line that is open at the terminal: something else is to be written there.
pub fn end_line() {
    for outlet in [Outlet::stderr(), Outlet::stdout()].into_iter().flatten() {
        if outlet.terminal {
            // The question that follows cannot be asked either, and that is told.
            let _ = outlet.put(OWN, |line| Cow::Borrowed(if line == Line::None { b"" } else { b"\n" }));
        }
    }
}
