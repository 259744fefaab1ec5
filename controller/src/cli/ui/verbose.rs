//! What `-v` tells of the command's own work. It is written by a thread of its own: whoever reads the log may take their time,
//! and neither hops nor programs wait for that.

use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use tracing::Level;

/// How many notes may wait; further ones are left out.
const WAITING: usize = 1024;
/// How long the end of the program waits for them to be written.
const PATIENCE: Duration = Duration::from_millis(200);

enum Note {
    Text(String),
    /// All before it are written.
    End(SyncSender<()>),
}

static NOTES: OnceLock<Option<SyncSender<Note>>> = OnceLock::new();

fn write(notes: &Receiver<Note>) {
    for note in notes {
        match note {
            Note::Text(text) => tracing::info!("{text}"),
            // Whoever waited may have lost patience.
            Note::End(written) => drop(written.try_send(())),
        }
    }
}

/// Logs what `make` gives, where that is wanted.
pub fn note(make: impl FnOnce() -> String) {
    if !tracing::enabled!(Level::INFO) {
        return;
    }
    let notes = NOTES.get_or_init(|| {
        let (notes, receiver) = sync_channel(WAITING);
        let writer = std::thread::Builder::new().name("verbose".into()).spawn(move || write(&receiver));
        writer.is_ok().then_some(notes)
    });
    if let Some(notes) = notes {
        let _left_out_where_nobody_reads = notes.try_send(Note::Text(make()));
    }
}

/// Waits a moment for what was noted to be written.
pub fn finish() {
    if let Some(Some(notes)) = NOTES.get() {
        let (written, end) = sync_channel(1);
        if notes.try_send(Note::End(written)).is_ok() {
            let _ = end.recv_timeout(PATIENCE);
        }
    }
}
