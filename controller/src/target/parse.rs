//! The grammar of targets, and its errors, which point at the place in the text and give advice.
//!
//! Hops are separated by `/`, and a hop is `METHOD:ARGUMENT,KEY=VALUE,...`. Text in square brackets
//! is literal, and outside of them `%XX` is a byte in hexadecimal: `password-file=[/etc/x]` and
//! `password-file=%2Fetc%2Fx` are the same, and `ssh:[::1]:22` is an IPv6 address with a port.

use super::hop::{self, Hop, Target};
use super::inline_password;
use super::pieces::{Piece, Result, Wrong, glyphs, without_scheme};
use offshoot_agent::method;
use offshoot_agent::method::spec::{Argument, BadOption, OptionSpec, Spec, Value};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// The error for a text that is not a target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TargetError {
    text: String,
    place: Range<usize>,
    message: String,
    hint: String,
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Each control character is replaced by one other, because it must not reach the terminal,
        // and the marks below must stay in place.
        let text = offshoot_agent::harmless(&self.text.replace('\t', "\u{fffd}"));
        let marks = "^".repeat(self.place.len().max(1));
        writeln!(f, "invalid target: {}", self.message)?;
        writeln!(f, "    {text}")?;
        write!(f, "    {}{marks}", " ".repeat(self.place.start))?;
        if !self.hint.is_empty() {
            write!(f, "\n{}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for TargetError {}

impl From<TargetError> for std::io::Error {
    fn from(error: TargetError) -> Self {
        Self::new(std::io::ErrorKind::InvalidInput, error)
    }
}

impl From<TargetError> for offshoot_agent::Error {
    fn from(error: TargetError) -> Self {
        Self::system("reading a target", error)
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> std::result::Result<Self, TargetError> {
        target(text)
    }
}

/// Parses a target.
fn target(text: &str) -> std::result::Result<Target, TargetError> {
    if let Some(place) = inline_password::find(text) {
        return Err(with_password(text, place));
    }
    let read = || {
        let glyphs = without_scheme(glyphs(text)?);
        let whole = Piece {
            glyphs: &glyphs,
            place: 0..text.chars().count(),
        };
        if whole.glyphs.is_empty() {
            return whole.wrong(
                "it is empty",
                "A target is a path of hops, for instance web1, local, or deploy@web1/sudo.",
            );
        }
        Ok(Target {
            hops: whole.split('/').iter().map(hop).collect::<Result<_>>()?,
        })
    };
    read().map_err(
        |Wrong {
             place,
             message,
             hint,
         }| TargetError {
            text: text.into(),
            place,
            message,
            hint,
        },
    )
}

/// Returns the error for a text with a password in it, with the password replaced.
fn with_password(text: &str, place: Range<usize>) -> TargetError {
    let mut characters = text.chars();
    let mut shown: String = characters.by_ref().take(place.start).collect();
    shown.push_str("***");
    shown.extend(characters.skip(place.len()));
    TargetError {
        text: shown,
        place: place.start..place.start + 3,
        message: "a password on the command line is visible to other users".into(),
        hint: "Leave it out to be asked for it, or name a file: USER@HOST,password-file=PATH.\n\
               If this is not a password: a port is a number, and an IPv6 address goes in brackets."
            .into(),
    }
}

/// Parses a hop.
fn hop(piece: &Piece<'_>) -> Result<Hop> {
    let parts = piece.split(',');
    let (head, options) = (&parts[0], &parts[1..]);
    if head.glyphs.is_empty() {
        return head.wrong(
            "a hop is empty",
            "Hops are separated by one /; put a path in brackets, as in sudo,password-file=[/etc/x].",
        );
    }
    let (word, argument) = match head.split_once(':') {
        Some((word, argument)) => (word, Some(argument)),
        None => (head.clone(), None),
    };
    // A quoted word is a host, even if a method has the same name.
    let quoted = word.glyphs.iter().any(|glyph| glyph.quoted);
    let named = Some(word.text())
        .filter(|_| !quoted)
        .and_then(|name| method::find(&name));
    let (mut hop, argument) = match named {
        Some(row) => (Hop::new(row), argument),
        None => (Hop::new(method::bare()), Some(head.clone())),
    };
    self::argument(&mut hop, argument, head)?;
    for option in options {
        self::option(&mut hop, option)?;
    }
    one_of_two(&hop, piece)?;
    match hop.build() {
        Ok(_) => Ok(hop),
        Err(bad) => place_of(&hop, &bad, head, options).wrong(
            format!("{} does not take {}={}", hop.method(), bad.key, bad.value),
            sentence(bad.advice),
        ),
    }
}

/// Returns the part of a hop, of this head and these options, that has a bad value.
fn place_of<'a>(hop: &Hop, bad: &BadOption, head: &Piece<'a>, options: &[Piece<'a>]) -> Piece<'a> {
    let option = |option: &&Piece<'_>| {
        let given = option.split_once('=');
        given.is_some_and(|(key, value)| key.text() == bad.key && value.text() == bad.value)
    };
    match options.iter().find(option) {
        Some(option) => option.clone(),
        None if hop.argument_keys().contains(&bad.key.as_str()) => match head.split_once(':') {
            Some((_, argument)) => argument,
            None => head.clone(),
        },
        None => head.clone(),
    }
}

/// Returns advice as a sentence.
fn sentence(advice: &str) -> String {
    let mut rest = advice.chars();
    let first = rest.next().map(|first| first.to_ascii_uppercase());
    first.map_or_else(String::new, |first| format!("{first}{}.", rest.as_str()))
}

/// Parses the argument of a hop.
fn argument(hop: &mut Hop, argument: Option<Piece<'_>>, head: &Piece<'_>) -> Result<()> {
    let spec = hop.spec();
    let name = spec.name;
    match (&spec.argument, argument) {
        (Argument::None, None)
        | (
            Argument::Text {
                default: Some(_), ..
            }
            | Argument::TextOr { .. },
            None,
        ) => Ok(()),
        (Argument::None, Some(argument)) => {
            argument.wrong(format!("{name} takes no argument"), options_of(spec))
        }
        (Argument::Host, Some(argument)) => host(hop, &argument),
        (Argument::Host, None) => {
            let short = if name == method::bare().spec.name {
                ", or only HOST"
            } else {
                ""
            };
            head.wrong(
                format!("{name} needs a host"),
                format!("Write {name}:HOST{short}."),
            )
        }
        (
            Argument::Text {
                placeholder, noun, ..
            },
            None,
        ) => head.wrong(
            format!("{name} needs an argument: {noun}"),
            format!("Write {name}:{placeholder}."),
        ),
        (
            Argument::Text {
                placeholder, noun, ..
            }
            | Argument::TextOr {
                placeholder, noun, ..
            },
            Some(argument),
        ) if argument.split_once('=').is_some() => argument.wrong(
            format!("an option in place of {noun}"),
            format!(
                "Options come after a comma: {name},KEY=VALUE or {name}:{placeholder},KEY=VALUE."
            ),
        ),
        (Argument::Text { key, noun, .. } | Argument::TextOr { key, noun, .. }, Some(argument)) => {
            let text = argument.filled(noun)?;
            if text.starts_with('-') {
                return argument.wrong(format!("{noun} cannot begin with -"), options_of(spec));
            }
            hop.push(key, text);
            Ok(())
        }
    }
}

/// Checks that a hop has its argument or the option in its place, and not both.
fn one_of_two(hop: &Hop, piece: &Piece<'_>) -> Result<()> {
    let spec = hop.spec();
    let Argument::TextOr {
        key,
        placeholder,
        noun,
        option,
    } = &spec.argument
    else {
        return Ok(());
    };
    let name = spec.name;
    let form = hop::option(spec, option).map_or_else(String::new, OptionSpec::to_string);
    let ways = format!("Write {name}:{placeholder} or {name},{form}.");
    match (hop.get(key).is_some(), hop.get(option).is_some()) {
        (false, false) => piece.wrong(format!("{name} needs an argument: {noun}, or {form}"), ways),
        (true, true) => piece.wrong(format!("{noun} and {option}= in the same hop"), ways),
        _ => Ok(()),
    }
}

/// Parses `[USER@]HOST[:PORT]`.
fn host(hop: &mut Hop, argument: &Piece<'_>) -> Result<()> {
    let (user, address) = match argument.rsplit_once('@') {
        Some((user, address)) => (Some(user.filled("the user")?), address),
        None => (None, argument.clone()),
    };
    let (host, port) = match address.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (address.clone(), None),
    };
    if port
        .as_ref()
        .is_some_and(|port| port.split_once(':').is_some())
    {
        return address.wrong(
            "ambiguous ':' before the port",
            "An IPv6 address goes in brackets: [::1] or [::1]:22.",
        );
    }
    let port = port.map(|port| {
        port.value("port", &Value::PORT).map_err(|wrong| Wrong {
            hint: format!(
                "A port is a number from 1 to 65535. Other arguments belong to the methods {}.",
                methods()
            ),
            ..wrong
        })
    });
    let (name, port) = (host.filled("the host")?, port.transpose()?);
    if name.starts_with('-') {
        return host.wrong(
            "a host cannot begin with -",
            "Options come before the targets.",
        );
    }
    hop.fill("user", user);
    hop.push("host", name);
    hop.fill("port", port);
    Ok(())
}

/// Parses an option of a hop. An option that takes yes or no means yes without a value.
fn option(hop: &mut Hop, option: &Piece<'_>) -> Result<()> {
    let spec = hop.spec();
    let (key, value) = match option.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (option.clone(), None),
    };
    let name = key.text();
    let Some(known) = hop::option(spec, &name) else {
        return key.wrong(
            format!("{} has no option {name:?}", spec.name),
            options_of(spec),
        );
    };
    let value = match (value, &known.value) {
        (Some(value), kind) => value.value(&name, kind)?,
        (None, Value::Flag | Value::YesNo) => "yes".into(),
        (None, _) => {
            return option.wrong(format!("{name} needs a value"), format!("Write {known}."));
        }
    };
    let given = spec
        .all_options()
        .filter(|other| hop.get(other.key).is_some());
    let clashes = |other: &OptionSpec| {
        let several = matches!(known.value, Value::Texts(_) | Value::Variable);
        let same = other.key == known.key && !several;
        same || other.excludes == Some(known.key) || known.excludes == Some(other.key)
    };
    if given.into_iter().any(clashes) {
        return option.wrong("already set in the same hop", "Remove one of the two.");
    }
    hop.push(known.key, value);
    Ok(())
}

impl Piece<'_> {
    /// Parses the value of an option or of a part of the argument. Returns its canonical form.
    fn value(&self, key: &str, kind: &Value) -> Result<String> {
        let text = self.text();
        match kind {
            Value::Flag | Value::YesNo => match text.as_str() {
                "" | "yes" => Ok("yes".into()),
                "no" => Ok(text),
                other => self.wrong(format!("{other:?} is neither yes nor no"), ""),
            },
            Value::Text(_) | Value::Texts(_) | Value::PasswordFile => self.filled(key),
            Value::Number { noun, range, .. } => self.number(noun, range),
            Value::Timeout => self.number("a number of seconds", &(1..=999_999)),
            Value::Variable => match text.split_once('=') {
                Some((name, _)) if is_variable(name) => Ok(text),
                Some((name, _)) => self.wrong(
                    format!("{name:?} is no name of a variable"),
                    "A name has letters, digits and _, and does not begin with a digit.",
                ),
                None => self.wrong("this variable has no value", "Write env=NAME=VALUE."),
            },
            Value::Umask => match u32::from_str_radix(&text, 8) {
                Ok(mask) if mask <= 0o777 => Ok(format!("{mask:03o}")),
                _ => self.wrong(
                    format!("{text:?} is not a umask"),
                    "It is an octal number from 000 to 777.",
                ),
            },
            Value::Choice { words, .. } if words.contains(&text.as_str()) => Ok(text),
            Value::Choice { noun, words } => self.wrong(
                format!("{text:?} is not a {noun}"),
                format!("It is {}.", or(words)),
            ),
        }
    }
}

/// Returns true if a shell can set a variable of this name.
fn is_variable(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().all(letter) && !name.starts_with(|c: char| c.is_ascii_digit()) && !name.is_empty()
}

/// Joins words with commas and a last "or".
fn or(words: &[&str]) -> String {
    match words {
        [most @ .., last] if !most.is_empty() => format!("{} or {last}", most.join(", ")),
        _ => words.concat(),
    }
}

/// Returns the advice that lists the options of a method.
fn options_of(spec: &'static Spec) -> String {
    let options: Vec<String> = spec.all_options().map(OptionSpec::to_string).collect();
    format!(
        "{0} takes {1}; see `offshoot help targets {0}`.",
        spec.name,
        options.join(", ")
    )
}

/// Returns the names of all methods, separated by commas.
fn methods() -> String {
    let mut names: Vec<_> = method::METHODS.iter().map(|row| row.spec.name).collect();
    names.sort_unstable();
    names.join(", ")
}
