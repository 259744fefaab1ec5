//! The connection methods. Each is a builder in a file of its own that returns a `Recipe` and does
//! nothing else.

pub use offshoot_proto::connect::dialogue;
pub use offshoot_proto::connect::recipe::{Attach, Recipe};

mod chroot;
mod command;
mod doas;
mod docker;
mod local;
mod pkexec;
mod podman;
mod questions;
pub mod registry;
mod run0;
mod runuser;
mod setns;
pub mod spec;
mod ssh;
mod ssh_rules;
mod su;
mod sudo;
mod tool;
pub(crate) mod traits;
mod unshare;
mod words;

pub use chroot::Chroot;
pub use command::Command;
pub use doas::Doas;
pub use docker::Docker;
pub use local::Local;
pub use pkexec::Pkexec;
pub use podman::Podman;
pub use run0::Run0;
pub use runuser::Runuser;
pub use setns::Setns;
pub use ssh::{HANDSHAKES, HostKeys, Ssh};
pub use su::Su;
pub use sudo::Sudo;
pub use tool::{Line, Part, Table, Tool, Values};
pub use traits::{DEFAULT_HEARTBEAT, DEFAULT_TIMEOUT, Method};
pub use unshare::Unshare;
pub(crate) use words::words;
