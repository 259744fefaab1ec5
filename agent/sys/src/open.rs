//! Flags for opening files.

pub use libc::{O_DIRECTORY, O_NOFOLLOW, O_PATH, O_RDONLY, O_RDWR};
