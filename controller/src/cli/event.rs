//! Messages to the main thread that end this program.

use std::sync::mpsc;

/// A reason for the end of this program.
pub(super) enum Event {
    /// The command has finished with this exit status.
    Finished(i32),
    /// This signal has arrived.
    Signal(i32),
}

/// The sending side, for the threads that do the work.
pub(super) type Events = mpsc::Sender<Event>;
