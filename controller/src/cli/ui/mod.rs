//! The streams, the terminal and the signals of this process.

pub mod interrupts;
pub mod jobs;
pub mod lines;
pub mod output;
pub mod password;
pub mod signals;
pub mod standard;
pub mod verbose;
