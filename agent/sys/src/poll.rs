//! Waiting once for a few descriptors.

pub use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
