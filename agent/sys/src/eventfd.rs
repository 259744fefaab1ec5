//! A descriptor with which one thread wakes another.

pub use nix::sys::eventfd::{EfdFlags, EventFd};
