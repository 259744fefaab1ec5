//! Errors. Each text names the context or hop, the reason, and the way out if there is one.
pub mod call;
pub mod connect;
pub mod dead_letter;
mod io;
pub mod reason;

use crate::error::connect::ConnectError;
use crate::error::reason::Reason;
use crate::text;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::string::ToString;
use core::fmt;
use offshoot_codec::CodecError;
use serde::Deserialize;
use serde::Serialize;

/// Result with [`Error`] as the default error.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// An error, which is sent between contexts unchanged.
///
/// `{}` prints a sentence for a person, `{:?}` the value. There is no `source()`: an error from
/// another context arrives as text, and the sentence contains it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Error {
    /// A hop failed.
    Connect(Box<ConnectError>),
    /// A message was returned: its context could not be reached or refused the message.
    Undelivered {
        /// Destination, by name and number.
        #[serde(deserialize_with = "text::read")]
        context: String,
        /// Rule or event that returned the message.
        reason: Reason,
        /// Details, and the context that has returned the message. Begins with the name of the
        /// context whose hop has failed or whose link has ended, which may be one before this.
        #[serde(deserialize_with = "text::read")]
        detail: String,
    },
    /// The agent of the context does not contain the function.
    NoSuchFunction {
        /// Context that was called.
        #[serde(deserialize_with = "text::read")]
        context: String,
        /// Full name of the function.
        #[serde(deserialize_with = "text::read")]
        function: String,
    },
    /// The function panicked. Its context continues.
    Panicked {
        /// Context in which the function ran.
        #[serde(deserialize_with = "text::read")]
        context: String,
        /// Message of the panic, with its location.
        #[serde(deserialize_with = "text::read")]
        message: String,
    },
    /// A value could not be encoded or decoded.
    Codec {
        /// Context at the other end.
        #[serde(deserialize_with = "text::read")]
        context: String,
        /// Direction, and the error of the codec.
        #[serde(deserialize_with = "text::read")]
        detail: String,
    },
    /// The deadline was exceeded before the reply arrived.
    TimedOut {
        /// Context that did not reply.
        #[serde(deserialize_with = "text::read")]
        context: String,
        /// Time limit in milliseconds.
        after_ms: u64,
    },
    /// The operation was cancelled, by its caller or by this program itself.
    Cancelled {
        /// Context of the operation.
        #[serde(deserialize_with = "text::read")]
        context: String,
    },
    /// The call did not run, because an earlier call of the same chain failed.
    Chain {
        /// Context of the chain.
        #[serde(deserialize_with = "text::read")]
        context: String,
        /// Function that failed.
        #[serde(deserialize_with = "text::read")]
        function: String,
        /// Text of its error.
        #[serde(deserialize_with = "text::read")]
        detail: String,
    },
    /// A program could not be started.
    Spawn {
        /// Context in which it was to run.
        #[serde(deserialize_with = "text::read")]
        context: String,
        /// Program.
        #[serde(deserialize_with = "text::read")]
        program: String,
        /// Error number of the system.
        errno: i32,
        /// Error text of the system.
        #[serde(deserialize_with = "text::read")]
        detail: String,
    },
    /// A program was ended by the agent of its context. Its status says nothing about its work.
    Ended {
        /// Context in which the program ran.
        #[serde(deserialize_with = "text::read")]
        context: String,
        /// Reason.
        reason: Reason,
        /// Details; may be empty.
        #[serde(deserialize_with = "text::read")]
        detail: String,
    },
    /// The router was shut down.
    ShutDown,
    /// Images of the agent are missing or damaged.
    Image(#[serde(deserialize_with = "text::read")] String),
    /// A system call failed on this side.
    System {
        /// Action that failed.
        #[serde(deserialize_with = "text::read")]
        action: String,
        /// Error text of the system.
        #[serde(deserialize_with = "text::read")]
        detail: String,
    },
    /// The error of a function as text, where its type is unknown.
    Function(#[serde(deserialize_with = "text::read")] String),
}

impl Error {
    /// Returns the error for a system call that failed on this side during `action`.
    pub fn system(action: impl Into<String>, error: impl fmt::Display) -> Self {
        Self::System {
            action: action.into(),
            detail: error.to_string(),
        }
    }

    /// Returns this error about the context called `name`. The node that returned a message may
    /// have forgotten the name, and a context that failed to reply may give another's.
    pub fn naming(mut self, name: &str) -> Self {
        match &mut self {
            Self::Undelivered { context, .. }
            | Self::NoSuchFunction { context, .. }
            | Self::Panicked { context, .. }
            | Self::Codec { context, .. }
            | Self::TimedOut { context, .. }
            | Self::Cancelled { context }
            | Self::Chain { context, .. }
            | Self::Ended { context, .. }
            | Self::Spawn { context, .. } => *context = name.into(),
            Self::Connect(error) => error.context = name.into(),
            Self::ShutDown | Self::Image(_) | Self::System { .. } | Self::Function(_) => {}
        }
        self
    }

    /// Returns the details of a failed hop.
    pub fn as_connect(&self) -> Option<&ConnectError> {
        match self {
            Self::Connect(error) => Some(error),
            _ => None,
        }
    }
}

/// Advice for a missing function. Omitted from stock agents, whose errors no user reads.
const WAY_TO_A_FUNCTION: &str = match cfg!(panic = "immediate-abort") {
    true => "",
    false => {
        "; send this program itself (Router::builder().own_image()), or build an agent that has it (offshoot build-agent \
         --manifest-path YOURS/Cargo.toml) and name it (.package(...))"
    }
};

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => error.fmt(f),
            Self::Undelivered {
                context,
                reason,
                detail,
            } => {
                let rest = detail.strip_prefix(context.as_str());
                let detail = rest
                    .and_then(|rest| rest.strip_prefix(": "))
                    .unwrap_or(detail);
                let colon = if detail.is_empty() { "" } else { ": " };
                write!(f, "{context}: {reason}{colon}{detail}")
            }
            Self::NoSuchFunction { context, function } => {
                write!(
                    f,
                    "{context}: its agent has no function {function}{WAY_TO_A_FUNCTION}"
                )
            }
            Self::Panicked { context, message } => {
                write!(f, "{context}: the function panicked: {message}")
            }
            Self::Codec { context, detail } => write!(f, "{context}: {detail}"),
            Self::TimedOut { context, after_ms } => {
                write!(f, "{context}: no answer within {after_ms} ms")
            }
            Self::Cancelled { context } => write!(f, "{context}: cancelled"),
            Self::Chain {
                context,
                function,
                detail,
            } => {
                write!(
                    f,
                    "{context}: not run, because {function} failed earlier in the same chain: {detail}"
                )
            }
            Self::Spawn {
                context,
                program,
                detail,
                ..
            } => write!(f, "{context}: {program}: {detail}"),
            Self::Ended {
                context,
                reason,
                detail,
            } => {
                let colon = if detail.is_empty() { "" } else { ": " };
                write!(
                    f,
                    "{context}: the program was ended by its agent: {reason}{colon}{detail}"
                )
            }
            Self::ShutDown => f.write_str("the router has been shut down"),
            Self::Image(detail) => f.write_str(detail),
            Self::System { action, detail } => write!(f, "{action}: {detail}"),
            Self::Function(text) => f.write_str(text),
        }
    }
}

impl core::error::Error for Error {}

impl From<ConnectError> for Error {
    fn from(error: ConnectError) -> Self {
        Self::Connect(Box::new(error))
    }
}

/// Returns the error for a value from `context` that could not be decoded.
pub fn codec_error(context: &str, error: CodecError) -> Error {
    let after = match error.is_of_type() {
        true => {
            ": types with serde's `untagged`, `tag` or `flatten`, and the values of serde_json, cannot be sent, whoever reads \
             them; send one that says what it is"
        }
        false => "; are both sides built from the same source?",
    };
    of_codec(context, error, "a value could not be understood: ", after)
}

/// Returns the error for a value from or to `context` that could not be encoded.
pub fn unsent(context: &str, error: CodecError) -> Error {
    of_codec(context, error, "a value could not be sent: ", "")
}

/// Adds to an error of the codec what the value was: its role, and its function or type.
pub fn about_value(error: Error, what: &str, name: &str) -> Error {
    match error {
        Error::Codec { context, detail } => match detail.strip_prefix("a value ") {
            Some(rest) => Error::Codec {
                context,
                detail: [what, name, " ", rest].concat(),
            },
            None => Error::Codec { context, detail },
        },
        Error::Undelivered {
            context,
            reason: Reason::TooLarge,
            detail,
        } => Error::Undelivered {
            context,
            reason: Reason::TooLarge,
            detail: [what, name, ": ", &detail].concat(),
        },
        other => other,
    }
}

fn of_codec(context: &str, error: CodecError, before: &str, after: &str) -> Error {
    if error.is_too_large() {
        return Error::Undelivered {
            context: context.into(),
            reason: Reason::TooLarge,
            detail: error.0,
        };
    }
    Error::Codec {
        context: context.into(),
        detail: [before, &error.0, after].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CallError, ConnectErrorKind, ContextId, DeadLetter};
    use offshoot_codec as codec;

    const HOSTILE: &str = "a\u{1b}]52;c;AAAA\u{7}\u{9b}2J\u{202e}b\r\u{2028}\0\u{e0041}";

    /// Returns an error of each kind, with hostile text wherever a text can be.
    fn errors() -> Vec<Error> {
        let text = || HOSTILE.to_owned();
        let mut connect = ConnectError::new(ConnectErrorKind::Exited, HOSTILE);
        (connect.context, connect.hop, connect.hint) = (text(), text(), text());
        connect.output = vec![text(), text()];
        let (context, detail) = (text, text);
        vec![
            connect.into(),
            Error::Undelivered {
                context: context(),
                reason: Reason::Lost,
                detail: detail(),
            },
            Error::NoSuchFunction {
                context: context(),
                function: text(),
            },
            Error::Panicked {
                context: context(),
                message: text(),
            },
            Error::Codec {
                context: context(),
                detail: detail(),
            },
            Error::TimedOut {
                context: context(),
                after_ms: 1,
            },
            Error::Cancelled { context: context() },
            Error::Chain {
                context: context(),
                function: text(),
                detail: detail(),
            },
            Error::Spawn {
                context: context(),
                program: text(),
                errno: 2,
                detail: detail(),
            },
            Error::ShutDown,
            Error::Image(text()),
            Error::System {
                action: text(),
                detail: detail(),
            },
            Error::Function(text()),
        ]
    }

    fn assert_harmless(text: &str) {
        assert!(!text.chars().any(text::is_harmful), "{text:?}");
    }

    #[test]
    fn a_received_error_is_sanitized_in_every_representation() {
        for error in errors() {
            let arrived: Error = codec::from_bytes(&codec::to_bytes(&error).unwrap()).unwrap();
            assert_harmless(&arrived.to_string());
            assert_harmless(&format!("{arrived:?}"));
            assert_eq!(
                std::mem::discriminant(&arrived),
                std::mem::discriminant(&error)
            );
            if let Error::Connect(connect) = &arrived {
                connect.output.iter().for_each(|line| assert_harmless(line));
                assert_eq!(connect.output.len(), 2);
                for text in [
                    &connect.context,
                    &connect.hop,
                    &connect.detail,
                    &connect.hint,
                ] {
                    assert_harmless(text);
                }
            }
            let call: CallError<Error> = CallError::Failed(error);
            let arrived: CallError<Error> =
                codec::from_bytes(&codec::to_bytes(&call).unwrap()).unwrap();
            assert_harmless(&arrived.to_string());
        }
    }

    #[test]
    fn the_text_of_a_local_dead_letter_is_sanitized() {
        let letter = DeadLetter {
            reason: Reason::Lost,
            by: ContextId::ROOT,
            text: HOSTILE.into(),
        };
        assert_harmless(&letter.into_error("web1", "web1").to_string());
    }

    #[test]
    fn a_multi_line_text_becomes_one_readable_line() {
        let error = Error::Panicked {
            context: "web1".into(),
            message: "left: 1\n right: 2".into(),
        };
        let arrived: Error = codec::from_bytes(&codec::to_bytes(&error).unwrap()).unwrap();
        assert_eq!(
            arrived.to_string(),
            "web1: the function panicked: left: 1  right: 2"
        );
    }

    #[test]
    fn a_dead_letter_names_the_node_that_sent_it() {
        for (by, text, expected) in [
            ("", "", "ssh.web1: deadline exceeded"),
            ("", "too late", "ssh.web1: deadline exceeded: too late"),
            (
                "ssh",
                "too late",
                "ssh.web1: deadline exceeded: too late (reported by ssh)",
            ),
            (
                "",
                "ssh.web1: too late",
                "ssh.web1: deadline exceeded: too late",
            ),
            (
                "",
                "ssh: too late",
                "ssh.web1: deadline exceeded: ssh: too late",
            ),
            (
                "ssh.web1",
                "too late",
                "ssh.web1: deadline exceeded: too late",
            ),
        ] {
            let letter = DeadLetter {
                reason: Reason::Late,
                by: ContextId(4),
                text: text.into(),
            };
            assert_eq!(letter.into_error("ssh.web1", by).to_string(), expected);
        }
    }

    #[test]
    fn a_codec_error_distinguishes_encoding_from_decoding() {
        let error = || CodecError("a bool of 7".into());
        assert_eq!(
            unsent("web1", error()).to_string(),
            "web1: a value could not be sent: a bool of 7"
        );
        let text = codec_error("web1", error()).to_string();
        assert!(
            text.starts_with("web1: a value could not be understood: a bool of 7; are"),
            "{text}"
        );
    }

    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "it cannot be read")]
    enum Loose {
        Number(u8),
        Text(String),
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "it cannot be read")]
    struct Rules {
        name: String,
        first: Loose,
    }

    #[derive(Debug, Deserialize)]
    #[serde(tag = "kind")]
    #[expect(dead_code, reason = "it cannot be read")]
    enum Tagged {
        One { value: u8 },
    }

    #[test]
    fn only_the_unsupported_type_is_named() {
        let bytes = codec::to_bytes(&("x", 7u8)).unwrap();
        let told = [
            codec::from_bytes::<Rules>(&bytes).map(drop),
            codec::from_bytes::<(Rules, u8)>(&bytes).map(drop),
            codec::from_bytes::<Vec<Rules>>(&[&[1], &bytes[..]].concat()).map(drop),
        ];
        for told in told {
            let text = codec_error("web1", told.unwrap_err()).to_string();
            assert!(
                text.starts_with(
                    "web1: a value could not be understood: Rules has a type that does"
                ),
                "{text}"
            );
            assert!(
                text.contains("`untagged`") && !text.contains("same source"),
                "{text}"
            );
        }
        for told in [
            codec::from_bytes::<Loose>(&bytes).map(drop),
            codec::from_bytes::<Tagged>(&bytes).map(drop),
        ] {
            let text = codec_error("web1", told.unwrap_err()).to_string();
            assert!(
                text.contains("`untagged`") && !text.contains("same source"),
                "{text}"
            );
        }
        // A named type that was decoded completely is not to blame for the bytes after it.
        let text = codec::from_bytes::<(Option<Error>, Loose)>(&[0, 7])
            .unwrap_err()
            .to_string();
        assert_eq!(text, "a type that does not say what comes");
    }
}
