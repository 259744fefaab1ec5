//! The functions that every agent has.

use crate::remote;
use serde::Deserialize;
use serde::Serialize;

/// Does nothing; measures a round trip.
#[remote(crate = crate, quick)]
pub fn ping() {}

/// Returns its argument.
#[remote(crate = crate, quick)]
pub fn echo(text: String) -> String {
    text
}

/// Facts about the machine and the process of a context.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Facts {
    /// The host's name.
    pub host: String,
    /// The user's name, or the user id if it has none.
    pub user: String,
    /// The effective user id.
    pub uid: u32,
    /// The process id of the agent.
    pub process: u32,
    /// The agent's platform, for instance `x86_64`.
    pub platform: String,
    /// The kernel's name, release and machine.
    pub kernel: String,
}

/// Returns the machine and the user of the context.
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

/// Returns the name of a user from /etc/passwd: a static program cannot ask the host's name
/// services.
fn user_name(uid: u32) -> String {
    let users = offshoot_sys::procfs::text("/etc/passwd");
    users
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.len() > 2 && fields[2].parse() == Ok(uid))
        .map_or_else(|| uid.to_string(), |fields| fields[0].to_owned())
}

/// Returns the agent's environment, sorted by name. Bytes that are not UTF-8 are replaced.
///
/// A `local` context has the whole environment of its parent: each local agent of a controller
/// knows the tokens and passwords in the controller's environment, and every ancestor can ask for
/// them. Behind ssh and sudo it is the environment that these let through.
#[remote(crate = crate, quick)]
pub fn environment() -> Vec<(String, String)> {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let mut variables: Vec<_> = std::env::vars_os()
        .map(|(key, value)| (text(key), text(value)))
        .collect();
    variables.sort_unstable();
    variables
}
