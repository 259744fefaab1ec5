//! The system calls that std lacks, each in a safe wrapper.
//!
//! This crate and the native stages of the bootstrap hold all `unsafe` code of offshoot. No other
//! crate names libc, nix, memfd or signal-hook.

mod c_string;
mod cast;
pub mod descendants;
pub mod entry;
pub mod epoll;
pub mod errno;
pub mod eventfd;
pub mod execute;
mod fd;
pub mod guard;
pub mod heap;
pub mod limits;
pub mod memory;
pub mod open;
pub mod poll;
mod process;
pub mod procfs;
mod random;
pub mod signal;
pub mod socket;
pub mod spawn;
pub mod terminal;
pub mod user;
pub mod wait_status;
pub mod write_signals;

pub use c_string::c_string;
pub use c_string::c_strings;
pub use cast::{bytes_as, bytes_of};
pub use fd::{
    StdStream, inherited, pipe, read, replace_stdio, set_nonblocking, take_stdio, widen_pipe,
    write, write_all,
};
pub use process::{
    adopt_orphans, arguments, exit, hide_arguments, hide_memory, in_other_session, kill, reap,
    set_name,
};
pub use random::random;
pub use signal::{default_signal, unblock_signals};

/// Hash of the sources of this crate, in hexadecimal.
pub const SOURCES: &str = env!("OFFSHOOT_SOURCES");

#[doc(hidden)]
pub use linkme;
