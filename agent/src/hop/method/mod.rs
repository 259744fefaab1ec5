//! The connection methods, and the registry of those that the command line can name.
//!
//! Each method is a builder in a file of its own that returns a `Recipe` and does nothing else. A
//! new one is such a file, and a `mod` line and a row of [`METHODS`] here: the command line parses,
//! prints and explains targets by these rows alone. Nothing else refers to them, so no agent
//! carries them.

pub use offshoot_proto::connect::dialogue;
pub use offshoot_proto::connect::recipe::{Attach, Recipe};

mod bad_option;
use spec::{BadOption, Described, Spec};

mod buildah;
mod bwrap;
mod chroot;
mod command;
mod doas;
mod docker;
mod incus;
mod instance;
mod jail;
mod kubectl;
mod local;
mod lxc;
mod lxd;
mod machinectl;
mod nspawn;
mod pkexec;
mod podman;
mod questions;
mod run0;
mod runuser;
mod setns;
pub mod spec;
mod ssh;
mod ssh_accounts;
mod ssh_facts;
mod ssh_host_keys;
mod ssh_rules;
mod su;
mod sudo;
mod tool;
pub(crate) mod traits;
mod unshare;
mod words;

pub use buildah::Buildah;
pub use bwrap::Bwrap;
pub use chroot::Chroot;
pub use command::Command;
pub use doas::Doas;
pub use docker::Docker;
pub use incus::Incus;
pub use jail::Jail;
pub use kubectl::Kubectl;
pub use local::Local;
pub use lxc::Lxc;
pub use lxd::Lxd;
pub use machinectl::Machinectl;
pub use nspawn::Nspawn;
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

/// The methods, in the order in which the help text explains them.
///
/// A constant, and the functions here are inline, so that they are compiled only in the programs
/// that use them.
pub const METHODS: &[Row] = &[
    row::<Ssh>(),
    row::<Sudo>(),
    row::<Su>(),
    row::<Doas>(),
    row::<Runuser>(),
    row::<Pkexec>(),
    row::<Run0>(),
    row::<Local>(),
    row::<Tool<Docker>>(),
    row::<Tool<Podman>>(),
    row::<Tool<Buildah>>(),
    row::<Tool<Kubectl>>(),
    row::<Tool<Lxc>>(),
    row::<Tool<Lxd>>(),
    row::<Tool<Incus>>(),
    row::<Tool<Nspawn>>(),
    row::<Tool<Machinectl>>(),
    row::<Tool<Setns>>(),
    row::<Tool<Chroot>>(),
    row::<Tool<Unshare>>(),
    row::<Tool<Bwrap>>(),
    row::<Tool<Jail>>(),
    row::<Command>(),
];

/// Returns the method of a hop that names none, such as `web1`.
#[inline]
pub fn bare() -> &'static Row {
    &METHODS[0]
}

/// Returns the method of this name.
#[inline]
pub fn find(name: &str) -> Option<&'static Row> {
    METHODS.iter().find(|row| row.spec.name == name)
}

/// A method as the command line sees it.
#[derive(Debug)]
pub struct Row {
    /// The description.
    pub spec: &'static Spec,
    build: Build,
}

type Build = fn(&[(&str, &str)]) -> Result<Box<dyn Method>, BadOption>;

impl Row {
    /// Returns the method with its argument and its options set, given as keys and values.
    ///
    /// # Errors
    /// Returns an error if the method has no such key, or cannot read the value.
    #[inline]
    pub fn build(&self, values: &[(&str, &str)]) -> Result<Box<dyn Method>, BadOption> {
        (self.build)(values)
    }
}

const fn row<M: Described>() -> Row {
    Row {
        spec: M::SPEC,
        build: build::<M>,
    }
}

fn build<M: Described>(values: &[(&str, &str)]) -> Result<Box<dyn Method>, BadOption> {
    let mut method = M::default();
    for (key, value) in values {
        method.set(key, value)?;
    }
    method.check()?;
    Ok(Box::new(method))
}

#[cfg(test)]
mod tests;
