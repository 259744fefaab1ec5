//! What the suites that drive the public crate share: hops to the fixtures' servers, and what they look at afterwards.

use std::fs;

use offshoot::methods::Ssh;
use offshoot::stock::{self, Facts};
use offshoot::{ConnectError, Context, Hop, Router};

use crate::process::{self, Seen};
use crate::sshd::Sshd;
use crate::users::User;

/// A tree with the agents that `cargo xtask test` has built.
///
/// # Panics
/// When the system gives no descriptors or threads.
pub fn router() -> Router {
    Router::new().expect("the system has descriptors and threads")
}

/// A hop from `place`, which runs as root, to a server as one of its users.
pub fn hop(place: &Context, server: &Sshd, user: User) -> Hop<Ssh> {
    let config = server.config().to_str().expect("our own path").to_owned();
    place.ssh(server.alias()).config(config).user(user.name)
}

/// Where a context runs, and as whom.
///
/// # Panics
/// When it does not answer.
#[track_caller]
pub fn facts(context: &Context) -> Facts {
    context.call(stock::facts {}).unwrap_or_else(|error| panic!("{context} does not answer: {error}"))
}

/// The particulars of a hop that had to fail.
///
/// # Panics
/// When it did not, or for another reason than the hop.
#[track_caller]
pub fn refused(outcome: offshoot::Result<Context>) -> ConnectError {
    match outcome {
        Ok(context) => panic!("{context} is up and should not be"),
        Err(error) => match error.as_connect() {
            Some(particulars) => particulars.clone(),
            None => panic!("not about a hop: {error}"),
        },
    }
}

/// All living processes below this one.
pub fn below() -> Vec<Seen> {
    let mut found = process::descendants(std::process::id());
    found.retain(|seen| !seen.zombie);
    found
}

/// Whether a process has ended, be it collected or not.
pub fn ended(pid: u32) -> bool {
    process::look_at(pid).is_none_or(|seen| seen.zombie)
}

/// Resident memory of a process in bytes.
///
/// # Panics
/// When there is no such process.
pub fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a living process has memory");
    let kib = line.split_ascii_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
    kib.expect("the kernel writes a number") * 1024
}
