//! The grammar of targets, and its errors: each shows where in the text it is and what would be right.
//!
//! Hops are separated by `/`; a hop is `METHOD:ARGUMENT,KEY=VALUE,...`. One rule for what would be in the way: text in
//! square brackets stands for itself, and outside of them `%XX` is a byte in hexadecimal. So `password-file=[/etc/x]`,
//! `password-file=%2Fetc%2Fx` and `ssh:[::1]:22` say what they seem to.

use super::{Hop, Target, inline_password, registry};
use offshoot::methods::spec::{Argument, OptionSpec, Spec, Value};
use std::fmt;
use std::ops::{Range, RangeInclusive};

/// A text that is not a target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TargetError {
    text: String,
    place: Range<usize>,
    message: String,
    hint: String,
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A character that moves the cursor must neither reach the terminal nor shift the mark; each is replaced by one.
        let text = offshoot::harmless(&self.text.replace('\t', "\u{fffd}"));
        let marks = "^".repeat(self.place.len().max(1));
        writeln!(f, "this is not a target: {}", self.message)?;
        writeln!(f, "    {text}")?;
        write!(f, "    {}{marks}", " ".repeat(self.place.start))?;
        if !self.hint.is_empty() {
            write!(f, "\n{}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for TargetError {}

/// What is wrong with a piece, before it is known of which text.
struct Wrong {
    place: Range<usize>,
    message: String,
    hint: String,
}

type Result<T> = std::result::Result<T, Wrong>;

/// A character; a quoted one never separates.
struct Glyph {
    c: char,
    quoted: bool,
    place: Range<usize>,
}

/// A part of the text; `place` is where it stands, in characters.
#[derive(Clone)]
struct Piece<'a> {
    glyphs: &'a [Glyph],
    place: Range<usize>,
}

/// Reads a target.
pub(super) fn target(text: &str) -> std::result::Result<Target, TargetError> {
    if let Some(place) = inline_password::find(text) {
        return Err(with_password(text, place));
    }
    let read = || {
        let glyphs = without_scheme(glyphs(text)?);
        let whole = Piece { glyphs: &glyphs, place: 0..text.chars().count() };
        if whole.glyphs.is_empty() {
            return whole.wrong(
                "it is empty",
                "A target is a path of hops, for instance web1, local, or deploy@web1/sudo.",
            );
        }
        Ok(Target { hops: whole.split('/').iter().map(hop).collect::<Result<_>>()? })
    };
    read().map_err(|Wrong { place, message, hint }| TargetError { text: text.into(), place, message, hint })
}

/// The error for a text with a password in it, which it does not show.
fn with_password(text: &str, place: Range<usize>) -> TargetError {
    let mut characters = text.chars();
    let mut shown: String = characters.by_ref().take(place.start).collect();
    shown.push_str("***");
    shown.extend(characters.skip(place.len()));
    TargetError {
        text: shown,
        place: place.start..place.start + 3,
        message: "a password has no place on a command line, where others can read it".into(),
        hint: "Leave it out to be asked for it, or name a file: USER@HOST,password-file=PATH.\n\
               If it is none: a port is a number, and an IPv6 address goes in brackets."
            .into(),
    }
}

/// Takes `ssh://` for `ssh:` where a hop begins, and such a target's last `/` for nothing.
fn without_scheme(mut glyphs: Vec<Glyph>) -> Vec<Glyph> {
    let scheme = scheme();
    let is = |glyphs: &[Glyph]| {
        glyphs.len() >= scheme.len()
            && glyphs.iter().zip(scheme.chars()).all(|(glyph, c)| glyph.c == c && !glyph.quoted)
    };
    if is(&glyphs)
        && glyphs.len() > scheme.len()
        && glyphs.last().is_some_and(|last| last.c == '/' && !last.quoted)
    {
        glyphs.pop();
    }
    let mut at = 0;
    while at < glyphs.len() {
        if is(&glyphs[at..]) {
            let slashes = at + scheme.len() - 2;
            glyphs.drain(slashes..slashes + 2);
        }
        let next = glyphs[at..].iter().position(|glyph| glyph.c == '/' && !glyph.quoted);
        at = next.map_or(glyphs.len(), |next| at + next + 1);
    }
    glyphs
}

/// Returns the beginning of a URL that is a hop: `ssh://`.
pub(super) fn scheme() -> String {
    format!("{}://", registry::bare().spec.name)
}

/// Takes the quotes off.
fn glyphs(text: &str) -> Result<Vec<Glyph>> {
    let characters: Vec<char> = text.chars().collect();
    let wrong = |place: Range<usize>, message: &str, hint: &str| {
        Err(Wrong { place, message: message.into(), hint: hint.into() })
    };
    let mut glyphs = Vec::new();
    let mut at = 0;
    while let Some(&c) = characters.get(at) {
        let begin = at;
        match c {
            '[' => {
                let Some(length) = characters[at..].iter().position(|c| *c == ']') else {
                    return wrong(
                        at..characters.len(),
                        "this [ is not closed",
                        "Text between [ and ] is taken as it is.",
                    );
                };
                at += length + 1;
                let inner = characters[begin + 1..at - 1].iter().enumerate();
                glyphs.extend(inner.map(|(number, &c)| {
                    let place = begin + 1 + number;
                    Glyph { c, quoted: true, place: place..place + 1 }
                }));
            }
            ']' => {
                return wrong(at..at + 1, "this ] closes nothing", "A ] of the text itself is written %5D.");
            }
            '%' => {
                let mut bytes = Vec::new();
                while characters.get(at) == Some(&'%') {
                    let digits: String = characters[at + 1..].iter().take(2).collect();
                    let plain = digits.len() == 2 && digits.chars().all(|c| c.is_ascii_hexdigit());
                    match u8::from_str_radix(&digits, 16) {
                        Ok(byte) if plain => bytes.push(byte),
                        _ => {
                            let end = characters.len().min(at + 3);
                            let hint = "After a % come two hexadecimal digits; a % of the text itself is written %25.";
                            return wrong(at..end, "this is not a byte", hint);
                        }
                    }
                    at += 3;
                }
                let Ok(decoded) = String::from_utf8(bytes) else {
                    return wrong(
                        begin..at,
                        "this is not UTF-8",
                        "Such a path cannot be written as a target.",
                    );
                };
                glyphs.extend(decoded.chars().map(|c| Glyph { c, quoted: true, place: begin..at }));
            }
            c => {
                at += 1;
                glyphs.push(Glyph { c, quoted: false, place: begin..at });
            }
        }
    }
    match glyphs.iter().find(|glyph| glyph.c.is_control()) {
        Some(glyph) => wrong(glyph.place.clone(), "it has a control character", ""),
        None => Ok(glyphs),
    }
}

impl<'a> Piece<'a> {
    fn text(&self) -> String {
        self.glyphs.iter().map(|glyph| glyph.c).collect()
    }

    fn wrong<T>(&self, message: impl Into<String>, hint: impl Into<String>) -> Result<T> {
        Err(Wrong { place: self.place.clone(), message: message.into(), hint: hint.into() })
    }

    fn is_at(separator: char) -> impl Fn(&Glyph) -> bool {
        move |glyph| glyph.c == separator && !glyph.quoted
    }

    fn cut(&self, index: usize) -> (Piece<'a>, Piece<'a>) {
        let place = &self.glyphs[index].place;
        let left = Piece { glyphs: &self.glyphs[..index], place: self.place.start..place.start };
        (left, Piece { glyphs: &self.glyphs[index + 1..], place: place.end..self.place.end })
    }

    fn split_once(&self, separator: char) -> Option<(Piece<'a>, Piece<'a>)> {
        self.glyphs.iter().position(Self::is_at(separator)).map(|index| self.cut(index))
    }

    fn rsplit_once(&self, separator: char) -> Option<(Piece<'a>, Piece<'a>)> {
        self.glyphs.iter().rposition(Self::is_at(separator)).map(|index| self.cut(index))
    }

    fn split(&self, separator: char) -> Vec<Piece<'a>> {
        let mut pieces = Vec::new();
        let mut rest = self.clone();
        while let Some((piece, after)) = rest.split_once(separator) {
            pieces.push(piece);
            rest = after;
        }
        pieces.push(rest);
        pieces
    }

    /// The text of a value that must not be empty.
    fn filled(&self, what: &str) -> Result<String> {
        const WAY: &str = "A / ends a hop; that of a path goes in brackets, as in password-file=[/etc/x].";
        if self.glyphs.is_empty() { self.wrong(format!("{what} is empty"), WAY) } else { Ok(self.text()) }
    }

    /// The text of a number, without leading zeros.
    fn number(&self, what: &str, range: &RangeInclusive<u32>) -> Result<String> {
        let text = self.text();
        match text.parse::<u32>() {
            Ok(number) if range.contains(&number) && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(number.to_string())
            }
            _ => self.wrong(
                format!("{text:?} is not {what}"),
                format!("It is a number from {} to {}.", range.start(), range.end()),
            ),
        }
    }
}

/// Reads a hop.
fn hop(piece: &Piece<'_>) -> Result<Hop> {
    let parts = piece.split(',');
    let (head, options) = (&parts[0], &parts[1..]);
    if head.glyphs.is_empty() {
        return head.wrong(
            "a hop is empty",
            "Hops are separated by one /; the / of a path goes in brackets, as in sudo,password-file=[/etc/x].",
        );
    }
    let (word, argument) = match head.split_once(':') {
        Some((word, argument)) => (word, Some(argument)),
        None => (head.clone(), None),
    };
    // A quoted word is a host also where a method has its name.
    let quoted = word.glyphs.iter().any(|glyph| glyph.quoted);
    let named = Some(word.text()).filter(|_| !quoted).and_then(|name| registry::find(&name));
    let (mut hop, argument) = match named {
        Some(row) => (Hop::new(row), argument),
        None => (Hop::new(registry::bare()), Some(head.clone())),
    };
    self::argument(&mut hop, argument, head)?;
    for option in options {
        self::option(&mut hop, option)?;
    }
    match hop.build() {
        Ok(_) => Ok(hop),
        Err(error) => piece.wrong(format!("{}: {error}", hop.method()), ""),
    }
}

/// Reads the argument of a hop.
fn argument(hop: &mut Hop, argument: Option<Piece<'_>>, head: &Piece<'_>) -> Result<()> {
    let spec = hop.spec();
    let name = spec.name;
    match (&spec.argument, argument) {
        (Argument::None, None) | (Argument::Text { default: Some(_), .. }, None) => Ok(()),
        (Argument::None, Some(argument)) => {
            argument.wrong(format!("{name} takes no argument"), options_of(spec))
        }
        (Argument::Host, Some(argument)) => host(hop, &argument),
        (Argument::Host, None) => {
            let short = if name == registry::bare().spec.name { ", or only HOST" } else { "" };
            head.wrong(format!("{name} needs a host"), format!("Write {name}:HOST{short}."))
        }
        (Argument::Text { placeholder, noun, .. }, None) => {
            head.wrong(format!("{name} needs {noun}"), format!("Write {name}:{placeholder}."))
        }
        (Argument::Text { placeholder, noun, .. }, Some(argument)) if argument.split_once('=').is_some() => {
            argument.wrong(
                format!("this is an option where {noun} would stand"),
                format!("Options stand behind a comma: {name},KEY=VALUE or {name}:{placeholder},KEY=VALUE."),
            )
        }
        (Argument::Text { key, noun, .. }, Some(argument)) => {
            hop.push(key, argument.filled(noun)?);
            Ok(())
        }
    }
}

/// Reads `[USER@]HOST[:PORT]`.
fn host(hop: &mut Hop, argument: &Piece<'_>) -> Result<()> {
    let (user, address) = match argument.rsplit_once('@') {
        Some((user, address)) => (Some(user.filled("the user")?), address),
        None => (None, argument.clone()),
    };
    let (host, port) = match address.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (address.clone(), None),
    };
    if port.as_ref().is_some_and(|port| port.split_once(':').is_some()) {
        return address
            .wrong("which : is before the port?", "An IPv6 address goes in brackets: [::1] or [::1]:22.");
    }
    let port = port.map(|port| {
        port.value("port", &Value::PORT).map_err(|wrong| Wrong {
            hint: format!(
                "A host's port is a number from 1 to 65535; methods, which take other arguments, are {}.",
                methods()
            ),
            ..wrong
        })
    });
    let (name, port) = (host.filled("the host")?, port.transpose()?);
    if name.starts_with('-') {
        return host.wrong("a host cannot begin with -", "Options stand before the targets.");
    }
    hop.fill("user", user);
    hop.push("host", name);
    hop.fill("port", port);
    Ok(())
}

/// Reads an option of a hop. One that takes yes or no means yes without a value.
fn option(hop: &mut Hop, option: &Piece<'_>) -> Result<()> {
    let spec = hop.spec();
    let (key, value) = match option.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (option.clone(), None),
    };
    let name = key.text();
    let Some(known) = super::option(spec, &name) else {
        return key.wrong(format!("{} has no option {name:?}", spec.name), options_of(spec));
    };
    let value = match (value, &known.value) {
        (Some(value), kind) => value.value(&name, kind)?,
        (None, Value::Flag | Value::YesNo) => "yes".into(),
        (None, _) => return option.wrong(format!("{name} needs a value"), format!("Write {known}.")),
    };
    let given = spec.options.iter().filter(|other| hop.get(other.key).is_some());
    let clashes = |other: &OptionSpec| {
        let same = other.key == known.key && !matches!(known.value, Value::Texts(_));
        same || other.excludes == Some(known.key) || known.excludes == Some(other.key)
    };
    if given.into_iter().any(clashes) {
        return option.wrong("this has been said before in the same hop", "Leave one of the two out.");
    }
    hop.push(known.key, value);
    Ok(())
}

impl Piece<'_> {
    /// Returns the value of an option or of a part of the argument, in one form for all that mean the same.
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
            Value::Choice { words, .. } if words.contains(&text.as_str()) => Ok(text),
            Value::Choice { noun, words } => {
                self.wrong(format!("{text:?} is no {noun}"), format!("It is {}.", or(words)))
            }
        }
    }
}

/// Returns words as a list whose last part is an "or".
fn or(words: &[&str]) -> String {
    match words {
        [most @ .., last] if !most.is_empty() => format!("{} or {last}", most.join(", ")),
        _ => words.concat(),
    }
}

fn options_of(spec: &Spec) -> String {
    let options: Vec<String> = spec.options.iter().map(OptionSpec::to_string).collect();
    format!("{} takes {}; `offshoot help targets` explains them.", spec.name, options.join(", "))
}

/// Returns the names of all methods.
fn methods() -> String {
    let mut names: Vec<_> = registry::METHODS.iter().map(|row| row.spec.name).collect();
    names.sort_unstable();
    names.join(", ")
}
