//! Methods that consist of a tool with its arguments: a table of words, and a table of the tool's
//! messages.
//!
//! The file of a method has the two tables, its description for the command line and its typed
//! setters. The bootstrap follows the words as `sh`, `-c` and a script.

use super::spec::{Argument, BadOption, Described, OptionSpec, Spec, Value};
use super::traits::{DEFAULT_TIMEOUT, Method};
use offshoot_codec::Secret;
use offshoot_proto::ConnectErrorKind as Kind;
use offshoot_proto::connect::dialogue::{Reaction, Rule, When, fact};
use offshoot_proto::connect::recipe::{Attach, Recipe};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::time::Duration;

/// The tables of one method.
pub trait Table: Clone + Debug + 'static {
    /// The description for the command line.
    const SPEC: &'static Spec;
    /// The program and its arguments.
    const WORDS: &'static [Part];
    /// The messages of the tool, in the order in which they are compared.
    const LINES: &'static [&'static [Line]];
    /// The advice if the hop fails without a known message.
    const HINT: &'static str;

    /// The option for a temporary place, which the tool removes when its stdin ends, and the advice
    /// in place of [`HINT`](Self::HINT).
    const TEMPORARY: Option<(&'static str, &'static str)> = None;

    /// The keys among `env` and `dir` that the tool sets itself, in [`WORDS`](Self::WORDS).
    const SETS: &'static [&'static str] = &[];

    /// Returns what is wrong with a value that the tool cannot take for a key.
    fn refusal(_key: &str, _value: &str) -> Option<&'static str> {
        None
    }
}

/// A part of a command.
#[derive(Debug)]
pub enum Part {
    /// A word.
    Is(&'static str),
    /// The value of a key, or this word.
    Or(&'static str, &'static str),
    /// These words for each value of a key, which replaces `%` in them.
    Each(&'static str, &'static [&'static str]),
    /// These parts.
    All(&'static [Self]),
    /// These parts if a key has a value.
    If(&'static str, &'static [Self]),
    /// The first part if the values are so, and the second one otherwise.
    Either(fn(&Values) -> bool, &'static Self, &'static Self),
    /// Words that are computed from the values.
    Made(fn(&Values) -> Vec<String>),
}

/// A message of a tool, by texts that a line has in this order; see
/// [`Rule::texts`](offshoot_proto::connect::dialogue::Rule::texts).
#[derive(Debug)]
pub enum Line {
    /// The texts of a line that explains a failure, the kind, the reason, and advice. A `%` at the
    /// end of the reason quotes the line.
    Means(&'static [&'static str], Kind, &'static str, &'static str),
    /// A message like [`Means`](Self::Means) that explains nothing if an earlier line has a reason.
    Otherwise(&'static [&'static str], Kind, &'static str, &'static str),
    /// The texts of a line after which earlier ones explain nothing any more.
    Clears(&'static [&'static str]),
}

/// The values of a method's argument and options.
#[derive(Clone, Debug, Default)]
pub struct Values(Vec<(&'static str, String)>);

impl Values {
    /// Returns the first value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.all(key).next()
    }

    /// Returns all values of a key.
    pub fn all<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a str> {
        let values = self.0.iter();
        values
            .filter(move |(known, _)| *known == key)
            .map(|(_, value)| value.as_str())
    }
}

/// A hop by a tool; the type parameter is its table.
#[derive(Clone, Debug)]
pub struct Tool<T> {
    values: Values,
    timeout: Duration,
    table: PhantomData<T>,
}

impl<T: Table> Tool<T> {
    /// Returns a hop with this argument: the container, the folder, and so on.
    pub fn new(argument: impl Into<String>) -> Self {
        let mut tool = Self::default();
        if let Some(key) = argument_of(T::SPEC) {
            tool.put(key, argument.into());
        }
        tool
    }

    /// Adds a value.
    pub(super) fn add(&mut self, key: &'static str, value: impl Into<String>) {
        self.values.0.push((key, value.into()));
    }

    /// Sets a value in place of earlier ones.
    pub(super) fn put(&mut self, key: &'static str, value: impl Into<String>) {
        self.values.0.retain(|(known, _)| *known != key);
        self.add(key, value);
    }

    fn words(&self, parts: &[Part], words: &mut Vec<String>) {
        for part in parts {
            match part {
                Part::Is(word) => words.push((*word).into()),
                Part::Or(key, word) => words.push(self.values.get(key).unwrap_or(word).into()),
                Part::Each(key, forms) => {
                    for value in self.values.all(key) {
                        words.extend(forms.iter().map(|form| form.replacen('%', value, 1)));
                    }
                }
                Part::All(parts) => self.words(parts, words),
                Part::If(key, parts) if self.values.get(key).is_some() => self.words(parts, words),
                Part::If(..) => {}
                Part::Either(is, yes, no) => {
                    let part = if is(&self.values) { yes } else { no };
                    self.words(std::slice::from_ref(*part), words);
                }
                Part::Made(make) => words.extend(make(&self.values)),
            }
        }
    }

    /// Returns the value of the argument, or of the option in its place.
    fn place(&self) -> Option<(Option<&'static str>, &str)> {
        let argument = argument_of(T::SPEC)
            .and_then(|key| self.values.get(key))
            .map(|value| (None, value));
        let option = || match &T::SPEC.argument {
            Argument::TextOr { option, .. } => {
                self.values.get(option).map(|value| (Some(*option), value))
            }
            _ => None,
        };
        argument.or_else(option)
    }
}

impl<T: Table> Default for Tool<T> {
    /// Returns a hop without its argument, which still has to be set.
    fn default() -> Self {
        Self {
            values: Values::default(),
            timeout: DEFAULT_TIMEOUT,
            table: PhantomData,
        }
    }
}

impl<T: Table> Method for Tool<T> {
    fn recipe(&self, _nonce: &str) -> Recipe {
        let name = T::SPEC.name;
        let hop = match self.place() {
            None => name.into(),
            Some((None, value)) => format!("{name}:{}", quoted(value)),
            Some((Some(option), value)) => format!("{name},{option}={}", quoted(value)),
        };
        let mut words = Vec::new();
        self.words(T::WORDS, &mut words);
        let mut recipe = Recipe::new(hop, words, Attach::Words);
        recipe.key = recipe.argv.join(" ");
        recipe.rules = T::LINES.iter().copied().flatten().map(Line::rule).collect();
        recipe.timeout_ms = self.timeout.as_millis() as u64;
        recipe.hint = T::HINT.into();
        if let (Some((Some(option), _)), Some((temporary, hint))) = (self.place(), T::TEMPORARY)
            && option == temporary
        {
            recipe.cleans_up = true;
            recipe.hint = hint.into();
        }
        recipe
    }

    fn check(&self) -> Result<(), BadOption> {
        let mut values = self.values.0.iter();
        values.try_for_each(|(key, value)| acceptable::<T>(key, value))
    }

    fn name(&self) -> String {
        let name = T::SPEC.name;
        match self.place() {
            None => name.into(),
            Some((_, value)) => format!("{name}.{value}"),
        }
    }

    fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    fn set_password(&mut self, _password: Secret) {}

    fn set_env(&mut self, name: &str, value: &str) -> bool {
        let sets = T::SETS.contains(&"env");
        if sets {
            self.add("env", format!("{name}={value}"));
        }
        sets
    }

    fn set_directory(&mut self, directory: &str) -> bool {
        let sets = T::SETS.contains(&"dir");
        if sets {
            self.put("dir", directory);
        }
        sets
    }
}

impl<T: Table> Described for Tool<T> {
    const SPEC: &'static Spec = T::SPEC;

    fn set(&mut self, key: &str, value: &str) -> Result<(), BadOption> {
        let bad = || BadOption::new(key, value);
        acceptable::<T>(key, value)?;
        if let Some(argument) = argument_of(T::SPEC).filter(|argument| *argument == key) {
            self.put(argument, value);
            return Ok(());
        }
        let known = T::SPEC.options.iter().find(|option| option.key == key);
        let option = known.ok_or_else(bad)?;
        match option.value {
            Value::Texts(_) => self.add(option.key, value),
            Value::Flag if value == "no" => self.values.0.retain(|(known, _)| *known != key),
            _ => self.put(option.key, value),
        }
        Ok(())
    }
}

impl Line {
    fn rule(&self) -> Rule {
        match self {
            Self::Means(texts, kind, reason, advice) => {
                Rule::explain(When::ALWAYS, texts, *kind, reason, advice)
            }
            Self::Otherwise(texts, kind, reason, advice) => {
                let when = When {
                    needs: 0,
                    lacks: fact::EXPLAINED,
                };
                Rule::explain(when, texts, *kind, reason, advice)
            }
            Self::Clears(texts) => Rule::line(When::ALWAYS, texts, Reaction::Forget),
        }
    }
}

fn acceptable<T: Table>(key: &str, value: &str) -> Result<(), BadOption> {
    match T::refusal(key, value) {
        Some(advice) => Err(BadOption::new(key, value).because(advice)),
        None => Ok(()),
    }
}

/// Fault of an argument that the tool would take for an option.
pub(super) const AN_OPTION: &str = "the tool would take it for an option: it cannot begin with -";

fn argument_of(spec: &Spec) -> Option<&'static str> {
    match &spec.argument {
        Argument::Text { key, .. } | Argument::TextOr { key, .. } => Some(key),
        Argument::None | Argument::Host => None,
    }
}

/// Returns a value in the form that it has in a target.
fn quoted(value: &str) -> String {
    let special = value.contains([':', '=', ',', '/', '%', '[']);
    if special && !value.contains(']') {
        format!("[{value}]")
    } else {
        value.into()
    }
}

/// Returns a path that no tool takes for an option.
pub(super) fn path(value: &str) -> String {
    if value.starts_with('-') {
        format!("./{value}")
    } else {
        value.into()
    }
}

/// The option for the program of the tool.
pub(super) const PROGRAM: OptionSpec = OptionSpec::new(
    "program",
    Value::Text("PATH"),
    "the tool, if it has another name or place",
);

/// The option for further arguments of the tool.
pub(super) const ARG: OptionSpec = OptionSpec::new(
    "arg",
    Value::Texts("WORD"),
    "a further argument of the tool; may be given several times",
);

/// The option for a user by name or number.
pub(super) const USER: OptionSpec = OptionSpec::new(
    "user",
    Value::Text("USER"),
    "the user there, by name or number",
);

/// The options that `exec` and `run` of Docker and Podman have in common.
pub(super) const OF_ENGINES: Part = Part::All(&[
    Part::Each("user", &["--user", "%"]),
    Part::Each("env", &["--env", "%"]),
    Part::Each("dir", &["--workdir", "%"]),
    Part::Each("arg", &["%"]),
    Part::Is("--"),
]);

/// The arguments behind the image of a temporary container whose entry point is `sh`.
pub(super) const OF_ENTRY: Part =
    Part::All(&[Part::Is("-c"), Part::Is("exec \"$@\""), Part::Is("sh")]);

/// The beginning of the scripts that execute a tool, whose words are their arguments. The PATH of
/// an ordinary user has no sbin, where some systems have `chroot` and `runuser`.
macro_rules! found {
    () => {
        r#"p=$(PATH=${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/sbin:/sbin;command -v "$1")||{ echo "offshoot: no program $1">&2;exit 1;}
shift
"#
    };
}

/// The script that finds a tool, also in sbin, and executes it.
pub(super) const FOUND: &str = concat!(found!(), "exec \"$p\" \"$@\"");

/// The words before a tool that stays in the caller's part of the system. A tool of the C library
/// prints its messages in English then, where the user has another language; [`OWN_LANGUAGE`] ends
/// that for the agent.
pub(super) const ENGLISH: Part = Part::All(&[
    Part::Is("sh"),
    Part::Is("-c"),
    Part::Is(concat!(found!(), "exec env LANGUAGE=en \"$p\" \"$@\"")),
    Part::Is("sh"),
]);

/// See [`ENGLISH`].
pub(super) const OWN_LANGUAGE: Part = Part::All(&[
    Part::Is("sh"),
    Part::Is("-c"),
    Part::Is("unset LANGUAGE;exec \"$@\""),
    Part::Is("sh"),
]);

/// The words before a tool that leads into another root, a container or a sandbox, where somebody
/// else may read the environment of its processes. The tool gets an environment with a PATH and
/// TERM alone, and speaks English; [`OWN_HOME`] completes the environment for the agent.
pub(super) const CLEAN: Part = Part::All(&[
    Part::Is("sh"),
    Part::Is("-c"),
    Part::Is(concat!(
        found!(),
        r#"exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANGUAGE=en ${TERM:+"TERM=$TERM"} "$p" "$@""#
    )),
    Part::Is("sh"),
]);

/// The words behind a tool with a clean environment: they set what a login sets, for the user and
/// by the /etc/passwd of the new place.
pub(super) const OWN_HOME: Part = Part::All(&[
    Part::Is("sh"),
    Part::Is("-c"),
    // A variable that the tool was told to set stays.
    Part::Is(
        r#"unset LANGUAGE
i=$(command -v id)&&i=$(id -u)
[ -r /etc/passwd ]&&while IFS=: read -r a b c d e f g||[ "$c" ];do [ "$c" = "$i" ]&&break;done</etc/passwd
export "HOME=${HOME:-${f:-/}}" "SHELL=${SHELL:-${g:-/bin/sh}}"
[ "$i" ]&&export "USER=${USER:-${a:-$i}}" "LOGNAME=${LOGNAME:-${a:-$i}}"
exec "$@""#,
    ),
    Part::Is("sh"),
]);

/// The note of a method with [`CLEAN`].
pub(super) const OUTSIDE: &str =
    "The variables of the caller stay outside, except TERM; env= gives the agent others.";

/// The message of [`ENGLISH`] and [`CLEAN`] for a tool that is not installed.
pub(super) const NO_TOOL: &[Line] = &[Line::Means(
    &["^offshoot: no program "],
    Kind::Start,
    "there is no such program there: %",
    "install it, or name its place by program=",
)];

/// Messages of container runtimes (runc, crun), which their tools pass on.
pub(super) const RUNTIME: &[Line] = &[
    Line::Means(
        &["exec: \"", ": executable file not found in "],
        Kind::NoShell,
        NO_SHELL,
        SHELL,
    ),
    Line::Means(
        &["exec: \\\"", ": executable file not found in "],
        Kind::NoShell,
        NO_SHELL,
        SHELL,
    ),
    Line::Means(
        &["exec: \"", ": no such file or directory"],
        Kind::NoShell,
        NO_SHELL,
        SHELL,
    ),
    // crun's words.
    Line::Means(
        &["executable file `", "` not found in $PATH"],
        Kind::NoShell,
        NO_SHELL,
        SHELL,
    ),
    Line::Means(
        &["chdir to cwd (\"", "\") set in config.json failed"],
        Kind::NotFound,
        "it has no such working directory: %",
        "check dir=",
    ),
    Line::Means(
        &["unable to find user ", ": no matching "],
        Kind::NoSuchUser,
        "it has no such user: %",
        "check user=; a number needs no entry there",
    ),
    Line::Means(
        &["unable to find group ", ": no matching "],
        Kind::NoSuchUser,
        "it has no such group: %",
        "check user=; a number needs no entry there",
    ),
];

/// The reason where there is no shell.
pub(super) const NO_SHELL: &str = "it has no program sh in its PATH";

/// The advice where there is no shell.
pub(super) const SHELL: &str =
    "an agent needs a POSIX shell there, with mkdir, chmod and rm; busybox is enough";
