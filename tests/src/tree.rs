//! Helpers of the suites that use the public crate: hops to the servers of the fixtures, and facts
//! about the resulting processes.

use std::fs;

use offshoot::methods::Ssh;
use offshoot::stock::{self, Facts};
use offshoot::{ConnectError, Context, Hop, Router};

use crate::process::{self, Seen};
use crate::scratch::ScratchDir;
use crate::sshd::Sshd;
use crate::users::User;

/// Starts a tree with the stock agents that `cargo xtask test` has built.
///
/// # Panics
/// Panics if the system gives no descriptors or threads.
pub fn router() -> Router {
    Router::new().expect("the system has descriptors and threads")
}

/// Returns a directory with agents that have the functions of `offshoot-test-agent`.
///
/// # Panics
/// Panics if they were not built.
pub fn own_agents() -> ScratchDir {
    let built = std::env::var("OFFSHOOT_AGENTS").expect("`cargo xtask test` sets it");
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let agents = ScratchDir::new("agents");
    fs::create_dir(agents.path().join(&target)).expect("the directory is ours");
    let image = format!("{built}/{target}/offshoot-test-agent.image");
    fs::copy(
        &image,
        agents.path().join(&target).join("offshoot-agent.image"),
    )
    .unwrap_or_else(|error| panic!("{image}: {error}: build-agent --package offshoot-test-agent"));
    agents
}

/// A tree whose agents have the functions of `offshoot-test-agent`.
pub struct Tree {
    /// The root.
    pub router: Router,
    _agents: ScratchDir,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// Starts a tree without children.
    ///
    /// # Panics
    /// Panics if the agents were not built or the system gives no threads.
    pub fn new() -> Self {
        let agents = own_agents();
        let router = Router::builder()
            .agents(agents.path())
            .start()
            .expect("there are threads");
        Self {
            router,
            _agents: agents,
        }
    }

    /// Connects another local context.
    ///
    /// # Panics
    /// Panics if it does not come up.
    pub fn child(&self) -> Context {
        self.router
            .local()
            .connect()
            .unwrap_or_else(|error| panic!("{error}"))
    }
}

/// Returns a hop from `place`, which runs as root, to a server as one of its users.
pub fn hop(place: &Context, server: &Sshd, user: User) -> Hop<Ssh> {
    let config = server.config().to_str().expect("our own path").to_owned();
    place.ssh(server.alias()).config(config).user(user.name)
}

/// Calls a context for its facts.
///
/// # Panics
/// Panics if it does not answer.
#[track_caller]
pub fn facts(context: &Context) -> Facts {
    context
        .call(stock::facts {})
        .unwrap_or_else(|error| panic!("{context} does not answer: {error}"))
}

/// Returns the text of an error without the real host behind the hop, whose port is any.
pub fn without_place(error: &ConnectError) -> String {
    let mut error = error.clone();
    error.hop = error.hop.split(", ").next().unwrap_or_default().into();
    error.to_string()
}

/// Returns the error of a hop that must fail.
///
/// # Panics
/// Panics if it did not, or for another reason than the hop.
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

/// Returns all living descendants of this process.
pub fn below() -> Vec<Seen> {
    let mut found = process::descendants(std::process::id());
    found.retain(|seen| !seen.zombie);
    found
}

/// Returns true if a process has ended, reaped or not.
pub fn ended(pid: u32) -> bool {
    process::look_at(pid).is_none_or(|seen| seen.zombie)
}

/// Returns the resident memory of a process in bytes.
///
/// # Panics
/// Panics if there is no such process.
pub fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("a living process has memory");
    let kib = line
        .split_ascii_whitespace()
        .nth(1)
        .and_then(|number| number.parse::<u64>().ok());
    kib.expect("the kernel writes a number") * 1024
}
