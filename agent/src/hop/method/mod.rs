//! The connection methods. Each is a builder in a file of its own that returns a `Recipe` and does
//! nothing else.

pub use offshoot_proto::connect::dialogue;
pub use offshoot_proto::connect::recipe::{Attach, Recipe};

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
