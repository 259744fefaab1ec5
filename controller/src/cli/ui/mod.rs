//! The streams, the terminal and the signals of this process. Independent of targets and of the
//! network.

pub(super) mod inlet;
pub(super) mod interrupts;
pub(super) mod jobs;
pub(super) mod lines;
pub(super) mod notes;
pub(super) mod outlet;
pub(super) mod page;
pub(super) mod password;
pub(super) mod question;
pub(super) mod rows;
mod shared_fd;
mod shared_terminal;
pub(super) mod signals;
mod stdout_closed;
pub(super) mod stream;
mod utf8;
pub(super) mod verbose;
