//! Errors of hops.

use crate::text;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use serde::Deserialize;
use serde::Serialize;

/// The kind of a failure to take a hop.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ConnectErrorKind {
    /// The program of the hop (ssh, sudo, docker) could not be started.
    Start,
    /// A password was required and none was given.
    PasswordRequired,
    /// The password was not accepted.
    PasswordIncorrect,
    /// The remote rejected the user without asking for a password.
    Denied,
    /// The host's key is unknown.
    HostKey,
    /// The host or its service could not be reached.
    Unreachable,
    /// The program of the hop exited before an agent was up.
    Exited,
    /// The bootstrap on the target failed at a known step.
    Bootstrap,
    /// The deadline was exceeded.
    TimedOut,
    /// There is no image for the target's platform.
    Platform,
    /// The agent speaks another protocol.
    Protocol,
    /// The hop was cancelled from this side.
    Cancelled,
    /// The agent lacks functions of this program, or has others with the same names.
    Functions,
    /// The user to become does not exist on the target.
    NoSuchUser,
    /// The remote asked a question for which there is no answer.
    Question,
    /// The connection was dropped before login, as by a service with too many connections.
    Dropped,
    /// The container, machine, pod, image or folder of the hop does not exist.
    NotFound,
    /// The container, machine or pod of the hop exists and is not running.
    NotRunning,
    /// The target has no program of the name of the shell, `sh`.
    NoShell,
    /// The host's key is another one than before.
    HostKeyChanged,
    /// The host's key is marked as revoked.
    HostKeyRevoked,
    /// The account may log in, and runs no command of ours: it has a forced command, or a login
    /// shell that runs none or few.
    Restricted,
}

/// A hop that failed: its names, the reason, the remote's last output, and advice.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConnectError {
    /// Name of the intended context, for instance `ssh.web1.sudo.root`.
    #[serde(deserialize_with = "text::read")]
    pub context: String,
    /// The hop as an operator writes it, for instance `sudo:postgres`. Behind a comma, the user,
    /// the host and the port where ssh leads, if the hop does not name these: for instance
    /// `ssh:web1, deploy@10.0.0.7:2222`.
    #[serde(deserialize_with = "text::read")]
    pub hop: String,
    /// Kind of failure.
    pub kind: ConnectErrorKind,
    /// Reason, as a fragment of a sentence.
    #[serde(deserialize_with = "text::read")]
    pub detail: String,
    /// Advice; empty if there is none.
    #[serde(deserialize_with = "text::read")]
    pub hint: String,
    /// Last lines of output of the remote and the hop's program, oldest first.
    #[serde(deserialize_with = "text::read_all")]
    pub output: Vec<String>,
}

impl ConnectError {
    /// Creates an error without names, which a caller fills in.
    pub fn new(kind: ConnectErrorKind, detail: impl Into<String>) -> Self {
        Self {
            context: String::new(),
            hop: String::new(),
            kind,
            detail: detail.into(),
            hint: String::new(),
            output: Vec::new(),
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)?;
        if !self.hop.is_empty() {
            write!(f, " ({})", self.hop)?;
        }
        write!(f, ": {}", self.detail)?;
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        if let Some(last) = self.output.last() {
            write!(f, "; last output: \"{last}\"")?;
        }
        Ok(())
    }
}

impl core::error::Error for ConnectError {}
