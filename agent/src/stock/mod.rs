//! The functions that every agent has.

use crate::remote;
use serde::Deserialize;
use serde::Serialize;

/// Does nothing: what a round trip costs.
#[remote(crate = crate, quick)]
pub fn ping() {}

/// Gives back what it was given.
#[remote(crate = crate, quick)]
pub fn echo(text: String) -> String {
    text
}

/// What a context knows about where it runs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Facts {
    /// The host's name.
    pub host: String,
    /// The user's name, or its number where it has none.
    pub user: String,
    /// The effective user's number.
    pub uid: u32,
    /// The agent's process number.
    pub process: u32,
    /// The agent's platform, for instance `x86_64`.
    pub platform: String,
    /// The kernel's name, release and machine.
    pub kernel: String,
}

/// Where the context runs, and as whom.
#[remote(crate = crate, quick)]
pub fn facts() -> Facts {
    let [system, host, release, machine] = offshoot_sys::user::uname();
    let uid = offshoot_sys::user::effective();
    Facts {
        host,
        user: user_name(uid),
        uid,
        process: std::process::id(),
        platform: offshoot_bootstrap::Platform::host()
            .map_or("unknown", |platform| platform.machine())
            .into(),
        kernel: [system, release, machine].join(" "),
    }
}

/// The name of a user by the host's own file: a static program cannot ask the host's name services.
fn user_name(uid: u32) -> String {
    let users = offshoot_sys::procfs::text("/etc/passwd");
    users
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.len() > 2 && fields[2].parse() == Ok(uid))
        .map_or_else(|| uid.to_string(), |fields| fields[0].to_owned())
}

/// The agent's environment, sorted; what is not text is given lossily.
///
/// That of a `local` context is its parent's, whole: what a controller has there, tokens and passwords of other programs included, is in
/// each of its local agents, and any ancestor of one is told it. Behind ssh and sudo it is what these let through.
#[remote(crate = crate, quick)]
pub fn environment() -> Vec<(String, String)> {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let mut variables: Vec<_> = std::env::vars_os().map(|(key, value)| (text(key), text(value))).collect();
    variables.sort_unstable();
    variables
}
