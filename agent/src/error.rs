//! What can go wrong, said once: every message names the context or hop, the reason, and where there is one, the way
//! out.

use crate::codec::CodecError;
use crate::id::ContextId;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::fmt;

/// The result of most things here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something could not be done. Travels between contexts as it is. `{:?}` shows the same sentence as `{}`: it is what a `main` prints that
/// returns it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Error {
    /// A hop could not be taken.
    Connect(Box<ConnectError>),
    /// A message came back: its context could not be reached or did not want it.
    Undelivered {
        /// The context it was for, by name and number.
        context: String,
        /// Which rule or event returned it.
        reason: Reason,
        /// The context that decided, and the particulars.
        detail: String,
    },
    /// The function is not compiled into the agent that runs in the context.
    NoSuchFunction {
        /// The context that was asked.
        context: String,
        /// The full name of the function.
        function: String,
    },
    /// The function panicked; the context lives on.
    Panicked {
        /// The context in which it ran.
        context: String,
        /// What it said, with the place.
        message: String,
    },
    /// A value could not be sent or understood.
    Codec {
        /// The context of the other side.
        context: String,
        /// What the codec found.
        detail: String,
    },
    /// A wait ended before its answer came.
    TimedOut {
        /// The context that did not answer.
        context: String,
        /// How long was waited, in milliseconds.
        after_ms: u64,
    },
    /// It was given up: by whoever had asked for it, or by this program itself.
    Cancelled {
        /// The context that was asked, or that was doing it.
        context: String,
    },
    /// An earlier call of the same chain has failed, so this one was not run.
    Chain {
        /// The context.
        context: String,
        /// The function that failed.
        function: String,
        /// How it failed.
        detail: String,
    },
    /// A program could not be started in a context.
    Spawn {
        /// The context in which it was tried.
        context: String,
        /// The program.
        program: String,
        /// The operating system's number for the reason.
        errno: i32,
        /// The operating system's text for the reason.
        detail: String,
    },
    /// The router has been shut down.
    ShutDown,
    /// The images of the agent are missing or damaged.
    Image(String),
    /// A system call failed on this side.
    System {
        /// What was tried.
        action: String,
        /// The operating system's text for the reason.
        detail: String,
    },
    /// The error of a function, flattened to its text where its type is not known.
    Function(String),
}

impl Error {
    /// A system call failed on this side while `action` was tried.
    pub fn system(action: impl Into<String>, error: impl fmt::Display) -> Error {
        Error::System { action: action.into(), detail: error.to_string() }
    }

    /// This error as one about the context called `name`, where it knows that context by its number only: the node
    /// that returned a message may have forgotten the name.
    pub(crate) fn naming(mut self, name: &str) -> Error {
        if let Error::Undelivered { context, .. } = &mut self {
            *context = name.into();
        }
        self
    }

    /// The details, where this is about a hop that could not be taken.
    pub fn as_connect(&self) -> Option<&ConnectError> {
        match self {
            Error::Connect(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Connect(error) => error.fmt(f),
            Error::Undelivered { context, reason, detail } => write!(f, "{context}: {reason}: {detail}"),
            Error::NoSuchFunction { context, function } => write!(
                f,
                "{context}: its agent has no function {function}; send this program itself (Router::builder().own_image()), or build an agent that has it (cargo xtask build-agent --manifest-path YOURS/Cargo.toml) and name it (.package(...))"
            ),
            Error::Panicked { context, message } => write!(f, "{context}: the function panicked: {message}"),
            Error::Codec { context, detail } => write!(
                f,
                "{context}: a value could not be understood: {detail}; are both sides built from the same source?"
            ),
            Error::TimedOut { context, after_ms } => write!(f, "{context}: no answer within {after_ms} ms"),
            Error::Cancelled { context } => write!(f, "{context}: given up before it was done"),
            Error::Chain { context, function, detail } => {
                write!(f, "{context}: not run, for {function} failed before it in the same chain: {detail}")
            }
            Error::Spawn { context, program, detail, .. } => write!(f, "{context}: {program}: {detail}"),
            Error::ShutDown => f.write_str("the router has been shut down"),
            Error::Image(detail) => f.write_str(detail),
            Error::System { action, detail } => write!(f, "{action}: {detail}"),
            Error::Function(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

/// Why a message was returned instead of delivered.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Reason {
    /// No context of that number is known where the message stopped.
    NoRoute,
    /// Contexts that are not each other's ancestors may not talk.
    Isolated,
    /// Nothing listens at that handle.
    NoHandle,
    /// What listens there does not take messages from this sender.
    Refused,
    /// The link to it is lost.
    Lost,
    /// Its connection could not be made.
    ConnectFailed,
    /// More waited for it than may wait.
    QueueFull,
    /// The other end gave it up.
    Cancelled,
    /// Nothing came from it for too long.
    Silent,
    /// It broke a rule of the protocol.
    Violation,
    /// It is larger than a message may be.
    TooLarge,
    /// The context was ended, or is ending.
    ShutDown,
    /// The link to it is given up: its process is stopped, as by SIGSTOP. It has been ended.
    Stopped,
    /// Its time is over.
    Late,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::NoRoute => "no such context",
            Reason::Isolated => "contexts below different parents may not talk",
            Reason::NoHandle => "nothing listens there",
            Reason::Refused => "refused by policy",
            Reason::Lost => "connection lost",
            Reason::ConnectFailed => "not connected",
            Reason::QueueFull => "too much was waiting for it",
            Reason::Cancelled => "given up by the other end",
            Reason::Silent => "silent",
            Reason::Violation => "it broke the protocol",
            Reason::TooLarge => "message too large",
            Reason::ShutDown => "shut down",
            Reason::Stopped => "its process is stopped",
            Reason::Late => "its time is over",
        })
    }
}

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
}

/// A hop that could not be taken: which, why, what the remote said, and what can be done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConnectError {
    /// The name of the context that was to be, for instance `ssh.web1.sudo.root`.
    pub context: String,
    /// The hop as an operator writes it, for instance `sudo:postgres`.
    pub hop: String,
    /// What kind of failure.
    pub kind: ConnectErrorKind,
    /// The reason, as a fragment of a sentence.
    pub detail: String,
    /// What the reader can do, where that is known.
    pub hint: String,
    /// The last lines the remote and the hop's program said, oldest first.
    pub said: Vec<String>,
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
            said: Vec::new(),
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.context, self.hop, self.detail)?;
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        if let Some(last) = self.said.last() {
            write!(f, "; it said: \"{last}\"")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConnectError {}

impl From<ConnectError> for Error {
    fn from(error: ConnectError) -> Error {
        Error::Connect(Box::new(error))
    }
}

/// Why a call has no value: the function returned its own error, or the call itself failed. It can be sent on, as a part of a result for
/// instance.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum CallError<E = Infallible> {
    /// The function ran and returned this.
    Function(E),
    /// The function did not run, or what it returned did not arrive.
    Failed(Error),
}

impl<E> CallError<E> {
    /// The function's own error, if it is that.
    pub fn function(self) -> Option<E> {
        match self {
            CallError::Function(error) => Some(error),
            CallError::Failed(_) => None,
        }
    }
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Function(error) => error.fmt(f),
            CallError::Failed(error) => error.fmt(f),
        }
    }
}

// Not for errors alone: a function may fail with a text.
impl<E: fmt::Debug + fmt::Display> std::error::Error for CallError<E> {}

impl<E> From<Error> for CallError<E> {
    fn from(error: Error) -> Self {
        CallError::Failed(error)
    }
}

impl<E: fmt::Display> From<CallError<E>> for Error {
    fn from(error: CallError<E>) -> Error {
        match error {
            CallError::Function(error) => Error::Function(error.to_string()),
            CallError::Failed(error) => error,
        }
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Error {
        Error::Function(error.to_string())
    }
}

/// A message that came back, as it travels.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Why.
    pub reason: Reason,
    /// The context that decided.
    pub by: ContextId,
    /// The particulars.
    pub text: String,
}

impl DeadLetter {
    /// This dead letter as an error about `context`.
    pub fn into_error(self, context: &str) -> Error {
        let by =
            if self.by == ContextId::ROOT { "the controller".into() } else { format!("context {}", self.by) };
        let detail =
            if self.text.is_empty() { format!("said {by}") } else { format!("{} (said {by})", self.text) };
        Error::Undelivered { context: context.into(), reason: self.reason, detail }
    }
}

/// The beginning of a text, of at most so many bytes.
pub(crate) fn shortened(text: &str, limit: usize) -> &str {
    let end = (0..=text.len().min(limit)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

/// A codec error about what `context` sent.
pub(crate) fn codec_error(context: &str, error: CodecError) -> Error {
    if error.is_too_large() {
        return Error::Undelivered { context: context.into(), reason: Reason::TooLarge, detail: error.0 };
    }
    Error::Codec { context: context.into(), detail: error.0 }
}
