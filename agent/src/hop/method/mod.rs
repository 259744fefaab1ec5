//! The ways to take a hop. Each is a builder in a file of its own that gives a `Recipe`; none of
//! them does anything.

mod local;
pub mod registry;
pub mod spec;
mod ssh;
mod ssh_rules;
mod sudo;
pub(crate) mod traits;

pub use local::Local;
pub use ssh::{HANDSHAKES, HostKeys, Ssh};
pub use sudo::Sudo;
pub use traits::{DEFAULT_HEARTBEAT, DEFAULT_TIMEOUT, Method};
