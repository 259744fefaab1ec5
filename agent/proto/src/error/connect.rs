use crate::text;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use serde::Deserialize;
use serde::Serialize;

/// What went wrong while a hop was taken.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ConnectErrorKind {
    /// The program of the hop (ssh, sudo) could not be started.
    Start,
    /// A password was asked for and none was given.
    PasswordRequired,
    /// The password was given and not accepted.
    PasswordIncorrect,
    /// The other side does not accept who we are, and asked for no password.
    Denied,
    /// The host's key is unknown or has changed.
    HostKey,
    /// The host or its service could not be reached.
    Unreachable,
    /// The hop's program ended before an agent was up.
    Exited,
    /// The bootstrap on the target failed at a named step.
    Bootstrap,
    /// Nothing was decided within the time allowed.
    TimedOut,
    /// No image for the target's platform is at hand.
    Platform,
    /// The agent there does not speak our protocol.
    Protocol,
    /// It was given up from this side.
    Cancelled,
    /// The agent there has not the functions of this program, or others by their names.
    Functions,
    /// The user to become does not exist there.
    NoSuchUser,
    /// It asked something that no answer was given for.
    Question,
    /// The connection was dropped before anybody logged in, as a service does that has too many at once.
    Dropped,
}

/// A hop that could not be taken: which, why, what the remote said, and what can be done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConnectError {
    /// The name of the context that was to be, for instance `ssh.web1.sudo.root`.
    #[serde(deserialize_with = "text::read")]
    pub context: String,
    /// The hop as an operator writes it, for instance `sudo:postgres`.
    #[serde(deserialize_with = "text::read")]
    pub hop: String,
    /// What kind of failure.
    pub kind: ConnectErrorKind,
    /// The reason, as a fragment of a sentence.
    #[serde(deserialize_with = "text::read")]
    pub detail: String,
    /// What the reader can do, where that is known.
    #[serde(deserialize_with = "text::read")]
    pub hint: String,
    /// The last lines the remote and the hop's program said, oldest first.
    #[serde(deserialize_with = "text::read_all")]
    pub output: Vec<String>,
}

impl ConnectError {
    /// An error for a hop that is not named yet; whoever knows the names fills them in.
    pub fn new(kind: ConnectErrorKind, detail: impl Into<String>) -> ConnectError {
        ConnectError {
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
        write!(f, "{} ({}): {}", self.context, self.hop, self.detail)?;
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        if let Some(last) = self.output.last() {
            write!(f, "; it said: \"{last}\"")?;
        }
        Ok(())
    }
}

impl core::error::Error for ConnectError {}
