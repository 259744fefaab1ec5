//! The streams, the terminal and the signals of this process. Independent of targets and of the
//! network.

pub mod inlet;
pub mod interrupts;
pub mod jobs;
pub mod lines;
pub mod notes;
pub mod outlet;
pub mod password;
pub mod question;
mod shared_fd;
pub mod signals;
mod stdout_closed;
pub mod stream;
mod utf8;
pub mod verbose;
