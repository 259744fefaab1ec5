//! Log records of the command's own work, shown with `-v`. A thread of its own writes them, so that
//! a slow reader of the log delays neither hops nor programs.

use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use tracing::Level;

/// The number of records that are buffered. Further ones are dropped.
const WAITING: usize = 1024;
/// The longest time that the end of this program waits for buffered records.
const PATIENCE: Duration = Duration::from_millis(200);

enum Note {
    Text(String),
    /// A request for confirmation that all earlier records are written.
    End(SyncSender<()>),
}

static NOTES: OnceLock<Option<SyncSender<Note>>> = OnceLock::new();

/// Writes the records, until the sending side is gone.
fn write(notes: &Receiver<Note>) {
    for note in notes {
        match note {
            Note::Text(text) => tracing::info!("{text}"),
            // The waiting thread may have given up.
            Note::End(written) => drop(written.try_send(())),
        }
    }
}

/// Logs the text that `make` returns, if level info is enabled.
pub(crate) fn note(make: impl FnOnce() -> String) {
    if !tracing::enabled!(Level::INFO) {
        return;
    }
    let notes = NOTES.get_or_init(|| {
        let (notes, receiver) = sync_channel(WAITING);
        let writer = std::thread::Builder::new()
            .name("verbose".into())
            .spawn(move || write(&receiver));
        writer.is_ok().then_some(notes)
    });
    if let Some(notes) = notes {
        let _left_out_where_nobody_reads = notes.try_send(Note::Text(make()));
    }
}

/// Waits up to [`PATIENCE`] for the buffered records to be written.
pub(crate) fn finish() {
    if let Some(Some(notes)) = NOTES.get() {
        let (written, end) = sync_channel(1);
        if notes.try_send(Note::End(written)).is_ok() {
            let _ = end.recv_timeout(PATIENCE);
        }
    }
}
