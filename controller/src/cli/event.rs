//! What ends this program, as a message to the thread that holds the tree.

use std::sync::mpsc;

/// What ends this program.
pub enum Event {
    /// The work is done, with this exit status.
    Finished(i32),
    /// A signal asks for it.
    Signal(i32),
}

/// Where the threads of the work say that all is over.
pub type Events = mpsc::Sender<Event>;
