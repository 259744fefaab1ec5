//! The description of a method for the command line: its name, its argument, its options and their
//! help.
//!
//! Plain data. The parser, the printer and the help text that read it belong to the command line,
//! so no agent refers to any of it, and no agent carries it.

pub use super::bad_option::BadOption;
use super::traits::Method;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A method that the command line can name.
pub trait Described: Method + Default + 'static {
    /// The description.
    const SPEC: &'static Spec;

    /// Sets an option or a part of the argument by its key. The caller has checked the value
    /// against [`Self::SPEC`]. [`Value::PasswordFile`] is never passed, for [`Method`] has a setter
    /// of its own, and neither are the keys of [`COMMON`].
    ///
    /// # Errors
    /// Returns an error if the method has no such key, or cannot read the value.
    fn set(&mut self, key: &str, value: &str) -> Result<(), BadOption>;
}

/// The description of a method.
#[derive(Debug)]
pub struct Spec {
    /// The word before the colon.
    pub name: &'static str,
    /// The text after the colon.
    pub argument: Argument,
    /// One sentence for the help text that goes on after the form of the hop, without its full
    /// stop.
    pub about: &'static str,
    /// The options beside [`COMMON`], in the order in which they are listed and printed. One with a
    /// key of [`COMMON`] replaces that.
    pub options: &'static [OptionSpec],
    /// Further sentences for the help text.
    pub notes: &'static str,
    /// The user as whom the agent behind the hop runs.
    pub runs_as: RunsAs,
    /// The user whose password the method asks for.
    pub password_of: PasswordOf,
}

impl Spec {
    /// Returns the method's own options, and behind them those of [`COMMON`] that they do not
    /// replace.
    #[inline]
    pub fn all_options(&'static self) -> impl Iterator<Item = &'static OptionSpec> {
        let kept = |common: &&OptionSpec| self.options.iter().all(|own| own.key != common.key);
        self.options.iter().chain(COMMON.iter().filter(kept))
    }
}

/// The options that hops of every method have.
pub const COMMON: &[OptionSpec] = &[
    OptionSpec::new(
        "name",
        Value::Text("NAME"),
        "the last part of the context's name, in messages",
    ),
    OptionSpec::new(
        "title",
        Value::Text("TEXT"),
        "what ps shows there behind offshoot: instead of the context's name",
    ),
    OptionSpec::new(
        "timeout",
        Value::Timeout,
        "the longest that the hop may take",
    ),
    OptionSpec::new(
        "heartbeat",
        Value::SECONDS_OR_NEVER,
        "between heartbeats on the link; 0 for none",
    ),
    OptionSpec::new(
        "env",
        Value::Variable,
        "a variable for the agent and its programs; may be given several times. Users of that host can see it for a \
         moment",
    ),
    OptionSpec::new(
        "dir",
        Value::Text("PATH"),
        "the working directory of the agent and its programs",
    ),
    OptionSpec::new(
        "umask",
        Value::Umask,
        "the umask of the agent and its programs",
    ),
    OptionSpec::new(
        "shell",
        Value::Text("PATH"),
        "the POSIX shell that starts the agent, instead of sh",
    ),
    OptionSpec::new(
        "login",
        Value::Flag,
        "runs the start-up files of a login, as sh -l",
    ),
    OptionSpec::new(
        "exec",
        Value::Choice {
            noun: "place for an agent",
            words: &["auto", "memfd", "file"],
        },
        "where the agent is while it is started: memfd makes no file there and needs perl or python3, file executes \
         nothing from memory",
    ),
];

/// The argument of a hop, the text after the method's colon.
#[derive(Debug)]
pub enum Argument {
    /// No argument.
    None,
    /// `[USER@]HOST[:PORT]`. Sets the keys `user`, `host` and `port`, of which `user` and `port`
    /// are options as well.
    Host,
    /// One text, set as the value of `key`.
    Text {
        /// The key.
        key: &'static str,
        /// The placeholder in the help text, in capitals.
        placeholder: &'static str,
        /// The noun for error messages, with its article, as in "the user to become".
        noun: &'static str,
        /// The value without an argument. A method without one needs its argument.
        default: Option<&'static str>,
    },
    /// A text for the value of `key`, or an option in its place. A hop needs one of the two.
    TextOr {
        /// The key.
        key: &'static str,
        /// The placeholder in the help text, in capitals.
        placeholder: &'static str,
        /// The noun for error messages, with its article, as in "the container".
        noun: &'static str,
        /// The key of the option.
        option: &'static str,
    },
}

/// The user as whom an agent runs, seen from the hop that leads to it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum RunsAs {
    /// The user before the hop.
    SameUser,
    /// The value of the key `user` or its default; without both, a user that only the far end
    /// knows.
    NamedUser,
}

/// The user whose password a method asks for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum PasswordOf {
    /// No user: the method asks for no password.
    Nobody,
    /// The user as whom the agent runs, as ssh does.
    TargetUser,
    /// The user before the hop, as sudo does.
    CallingUser,
}

/// An option of a hop, written `KEY=VALUE`.
#[derive(Debug)]
pub struct OptionSpec {
    /// The key.
    pub key: &'static str,
    /// The values that it takes.
    pub value: Value,
    /// The explanation for the help text, without a full stop.
    pub help: &'static str,
    /// Another option that cannot be given together with this one.
    pub excludes: Option<&'static str>,
}

/// The values of an option.
#[derive(Debug)]
pub enum Value {
    /// `yes` or `no`; no value means yes, and no option means no.
    Flag,
    /// `yes` or `no`; no value means yes, and no option leaves the matter to the method's own
    /// configuration.
    YesNo,
    /// A text that is not empty. The field is its placeholder.
    Text(&'static str),
    /// The same, for an option that can be given several times.
    Texts(&'static str),
    /// A number.
    Number {
        /// The placeholder.
        placeholder: &'static str,
        /// The noun for error messages, as in "a port".
        noun: &'static str,
        /// The numbers that are allowed.
        range: RangeInclusive<u32>,
    },
    /// One of several words.
    Choice {
        /// The noun for error messages, as in "policy for host keys".
        noun: &'static str,
        /// The words.
        words: &'static [&'static str],
    },
    /// The longest that the hop may take, in seconds: see [`Method::set_timeout`].
    Timeout,
    /// A variable with its value, `NAME=VALUE`, for an option that can be given several times.
    Variable,
    /// A umask, an octal number.
    Umask,
    /// A file with the password: see [`Method::set_password`].
    PasswordFile,
}

impl Value {
    /// A TCP port.
    pub const PORT: Self = Self::Number {
        placeholder: "PORT",
        noun: "a port",
        range: 1..=65_535,
    };
    /// A number of seconds, of which 0 means never.
    pub const SECONDS_OR_NEVER: Self = Self::Number {
        placeholder: "SECONDS",
        noun: "a number of seconds",
        range: 0..=999_999,
    };
}

impl OptionSpec {
    /// An option that excludes no other.
    pub const fn new(key: &'static str, value: Value, help: &'static str) -> Self {
        Self {
            key,
            value,
            help,
            excludes: None,
        }
    }

    /// The same option, which cannot be given together with `other`.
    #[must_use]
    pub const fn excluding(self, other: &'static str) -> Self {
        Self {
            excludes: Some(other),
            ..self
        }
    }
}

impl fmt::Display for OptionSpec {
    /// Writes the form of the option, as in `port=PORT`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key;
        match &self.value {
            Value::Flag => f.write_str(key),
            Value::YesNo => write!(f, "{key}=yes|no"),
            Value::Text(placeholder)
            | Value::Texts(placeholder)
            | Value::Number { placeholder, .. } => {
                write!(f, "{key}={placeholder}")
            }
            Value::Choice { words, .. } => write!(f, "{key}={}", words.join("|")),
            Value::Timeout => write!(f, "{key}=SECONDS"),
            Value::Variable => write!(f, "{key}=NAME=VALUE"),
            Value::Umask => write!(f, "{key}=OCTAL"),
            Value::PasswordFile => write!(f, "{key}=PATH"),
        }
    }
}

/// Reads a number that an option has.
///
/// # Errors
/// Returns an error if the value is no number of this type.
pub(crate) fn number<T: FromStr>(key: &str, value: &str) -> Result<T, BadOption> {
    value.parse().map_err(|_| BadOption::new(key, value))
}
