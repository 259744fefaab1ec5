//! Copies between the streams of a program and those of this process.

use crate::cli::event::{Event, Events};
use crate::cli::exit::NO_READER;
use crate::cli::ui::inlet::Inlet;
use crate::cli::ui::stream::Stream;
use offshoot::{Reader, Writer};
use std::io::{self, Read, Write};

/// The stack size of a thread that only copies data. A thousand targets have two such threads each.
const SMALL_STACK: usize = 256 << 10;

/// The size of the buffer for stdin.
const PIECE: usize = 64 << 10;

/// Shows a stream to its end. If the stream breaks off, returns the reason as text; the end of the
/// program itself, if it is known, is the better explanation.
///
/// # Errors
/// Returns an error if our own output fails. If nobody reads our output, a `vital` stream ends
/// everything, and any other stream is read and discarded.
pub(super) fn show(
    mut reader: Reader,
    mut stream: Stream,
    events: &Events,
    vital: bool,
) -> io::Result<Option<String>> {
    let mut discard = false;
    loop {
        let (result, more) = match reader.next_chunk() {
            Ok(Some(_)) if discard => (Ok(()), Ok(true)),
            Ok(Some(bytes)) => (stream.piece(&bytes), Ok(true)),
            Ok(None) => (stream.end(), Ok(false)),
            Err(error) => (stream.end(), Err(error)),
        };
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && !vital => discard = true,
            Err(error) => {
                if error.kind() == io::ErrorKind::BrokenPipe {
                    // If the main thread no longer listens, it is ending this program already.
                    let _ = events.send(Event::Finished(NO_READER));
                }
                return Err(error);
            }
            Ok(()) => {}
        }
        match more {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => return Ok(Some(error.to_string())),
        }
    }
}

/// Copies our stdin to a program until either ends.
pub(super) fn forward(mut stdin: Writer) {
    let Ok(mut source) = Inlet::stdin() else {
        return;
    };
    let mut buffer = vec![0; PIECE];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                if stdin.write_all(&buffer[..count]).is_err() {
                    return;
                }
            }
            // End of file would make the program take a part for the whole, so it gets an error and
            // is ended instead.
            Err(error) => return stdin.fail(&format!("reading stdin: {error}")),
        }
    }
}

/// Starts a thread with a small stack.
pub(super) fn small_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<std::thread::JoinHandle<T>> {
    std::thread::Builder::new()
        .stack_size(SMALL_STACK)
        .spawn(work)
}
