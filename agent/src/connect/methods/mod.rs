//! The ways to take a hop. Each is a builder in a file of its own that gives a [`Recipe`]; none of them
//! does anything.

mod local;
mod ssh;
mod ssh_said;
mod sudo;

pub use local::Local;
pub use ssh::{HostKeys, Ssh};
pub use sudo::Sudo;

use super::Recipe;
use crate::secret::Secret;
use std::time::Duration;

/// How long a hop may take unless it says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// What every method can do.
pub trait Method {
    /// This hop as data. `nonce` is text that no other program prints: for prompts of our own.
    fn recipe(&self, nonce: &str) -> Recipe;

    /// The last part of the new context's name, for instance `ssh.web1`.
    fn name(&self) -> String;

    /// Sets the time the whole hop may take.
    fn set_timeout(&mut self, timeout: Duration);

    /// Sets the password, where the method knows one.
    fn set_password(&mut self, password: Secret);
}
