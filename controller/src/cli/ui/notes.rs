//! Messages of this program to its user, on stderr.

use super::outlet::{Line, OWN, Outlet};
use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// True once this program is told to end. Later failures are consequences of that and are not
/// reported.
static SILENT: AtomicBool = AtomicBool::new(false);

/// Discards all further messages.
pub(crate) fn silence() {
    SILENT.store(true, Ordering::Relaxed);
}

/// Writes a message, with the name of this program before it.
pub(crate) fn tell(message: &str) {
    if !SILENT.load(Ordering::Relaxed) {
        // If stderr is closed, nobody can be told.
        let _ = Notes.write_all(format!("offshoot: {message}\n").as_bytes());
    }
}

/// A writer for messages and log records. They start on a new line of stderr.
pub(crate) struct Notes;

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

/// Ends the current line of the terminal, before something else is written there.
pub(crate) fn end_line() {
    for outlet in [Outlet::stderr(), Outlet::stdout()].into_iter().flatten() {
        if outlet.terminal {
            // The question that follows would fail as well, and that is reported.
            let _ = outlet.put(OWN, |line| {
                Cow::Borrowed(if line == Line::None { b"" } else { b"\n" })
            });
        }
    }
}
