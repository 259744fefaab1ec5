//! The grammar of targets, and its errors: each shows where in the text it is and what would be right.
//!
//! Hops are separated by `/`; a hop is `METHOD:ARGUMENT,KEY=VALUE,...`. One rule for what would be in the way: text in
//! square brackets stands for itself, and outside of them `%XX` is a byte in hexadecimal. So `password-file=[/etc/x]`,
//! `password-file=%2Fetc%2Fx` and `ssh:[::1]:22` say what they seem to.

use super::{Hop, Local, Shell, Ssh, Sudo, Target, inline_password};
use offshoot::methods::HostKeys;
use std::fmt;
use std::ops::Range;

/// The names that are methods, and therefore not hosts.
pub(super) const METHODS: [&str; 3] = ["local", "ssh", "sudo"];

const SSH_OPTIONS: &[&str] = &[
    "user=USER",
    "port=PORT",
    "identity=PATH",
    "config=PATH",
    "option=NAME=VALUE",
    "connect-timeout=SECONDS",
    "keepalive=SECONDS",
    "compression=yes|no",
    "host-keys=enforce|accept-new|ignore",
    "password-file=PATH",
];
const SUDO_OPTIONS: &[&str] =
    &["password-file=PATH", "login", "set-home", "preserve-env", "role=ROLE", "type=TYPE", "timeout=SECONDS"];
const LOCAL_OPTIONS: &[&str] = &["shell=PATH", "login-shell=PATH", "timeout=SECONDS"];

const HOST_KEYS: [(&str, HostKeys); 3] =
    [("enforce", HostKeys::Enforce), ("accept-new", HostKeys::AcceptNew), ("ignore", HostKeys::Ignore)];

/// The way a policy is written.
pub(super) fn host_keys_name(policy: HostKeys) -> &'static str {
    HOST_KEYS.iter().find(|(_, other)| *other == policy).map_or("enforce", |(name, _)| name)
}

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
    let is = |glyphs: &[Glyph], text: &str| {
        glyphs.len() >= text.len()
            && glyphs.iter().zip(text.chars()).all(|(glyph, c)| glyph.c == c && !glyph.quoted)
    };
    if is(&glyphs, "ssh://")
        && glyphs.len() > 6
        && glyphs.last().is_some_and(|last| last.c == '/' && !last.quoted)
    {
        glyphs.pop();
    }
    let mut at = 0;
    while at < glyphs.len() {
        if is(&glyphs[at..], "ssh://") {
            glyphs.drain(at + 4..at + 6);
        }
        let next = glyphs[at..].iter().position(|glyph| glyph.c == '/' && !glyph.quoted);
        at = next.map_or(glyphs.len(), |next| at + next + 1);
    }
    glyphs
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

    fn number(&self, what: &str, range: Range<u32>) -> Result<u32> {
        let text = self.text();
        match text.parse() {
            Ok(number) if range.contains(&number) && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(number)
            }
            _ => self.wrong(
                format!("{text:?} is not {what}"),
                format!("It is a number from {} to {}.", range.start, range.end - 1),
            ),
        }
    }
}

const SECONDS: Range<u32> = 1..1_000_000;

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
    let method = if word.glyphs.iter().any(|glyph| glyph.quoted) { String::new() } else { word.text() };
    match (method.as_str(), argument) {
        ("local", None) => local(options),
        ("local", Some(argument)) => argument.wrong("local takes no argument", takes("local", LOCAL_OPTIONS)),
        ("sudo", argument) => sudo(argument, options),
        ("ssh", Some(argument)) => ssh(&argument, options),
        ("ssh", None) => head.wrong("ssh needs a host", "Write ssh:HOST, or only HOST."),
        _ => ssh(head, options),
    }
}

fn ssh(argument: &Piece<'_>, options: &[Piece<'_>]) -> Result<Hop> {
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
        let methods = METHODS.join(", ");
        self::port(&port).map_err(|wrong| Wrong {
            hint: format!("A host's port is a number from 1 to 65535; methods, which take other arguments, are {methods}."),
            ..wrong
        })
    });
    let mut ssh = Ssh { host: host.filled("the host")?, user, port: port.transpose()?, ..Ssh::default() };
    if ssh.host.starts_with('-') {
        return host.wrong("a host cannot begin with -", "Options stand before the targets.");
    }
    each("ssh", SSH_OPTIONS, options, |key, value, piece| match key {
        "user" => set(piece, &mut ssh.user, value.filled(key)?),
        "port" => set(piece, &mut ssh.port, self::port(value)?),
        "identity" => set(piece, &mut ssh.identity, value.filled(key)?),
        "config" => set(piece, &mut ssh.config, value.filled(key)?),
        "option" => {
            ssh.options.push(value.filled(key)?);
            Ok(())
        }
        "connect-timeout" => {
            set(piece, &mut ssh.connect_timeout, value.number("a number of seconds", SECONDS)?)
        }
        "keepalive" => set(piece, &mut ssh.keepalive, value.number("a number of seconds", 0..SECONDS.end)?),
        "compression" => set(piece, &mut ssh.compression, yes_or_no(value)?),
        "host-keys" => set(piece, &mut ssh.host_keys, host_keys(value)?),
        _ => set(piece, &mut ssh.password_file, value.filled(key)?),
    })?;
    Ok(Hop::Ssh(ssh))
}

fn sudo(argument: Option<Piece<'_>>, options: &[Piece<'_>]) -> Result<Hop> {
    if let Some(argument) = argument.as_ref().filter(|argument| argument.split_once('=').is_some()) {
        let hint = "Options stand behind a comma: sudo,KEY=VALUE or sudo:USER,KEY=VALUE.";
        return argument.wrong("this is an option where the user to become would stand", hint);
    }
    let user = argument.map(|argument| argument.filled("the user to become")).transpose()?;
    let mut sudo = Sudo { user, ..Sudo::default() };
    each("sudo", SUDO_OPTIONS, options, |key, value, piece| match key {
        "login" => set(piece, &mut sudo.login, yes_or_no(value)?),
        "set-home" => set(piece, &mut sudo.set_home, yes_or_no(value)?),
        "preserve-env" => set(piece, &mut sudo.preserve_env, yes_or_no(value)?),
        "role" => set(piece, &mut sudo.role, value.filled(key)?),
        "type" => set(piece, &mut sudo.selinux_type, value.filled(key)?),
        "timeout" => set(piece, &mut sudo.timeout, value.number("a number of seconds", SECONDS)?),
        _ => set(piece, &mut sudo.password_file, value.filled(key)?),
    })?;
    Ok(Hop::Sudo(sudo))
}

fn local(options: &[Piece<'_>]) -> Result<Hop> {
    let mut local = Local::default();
    each("local", LOCAL_OPTIONS, options, |key, value, piece| match key {
        "shell" => set(piece, &mut local.shell, Shell::Posix(value.filled(key)?)),
        "login-shell" => set(piece, &mut local.shell, Shell::Login(value.filled(key)?)),
        _ => set(piece, &mut local.timeout, value.number("a number of seconds", SECONDS)?),
    })?;
    Ok(Hop::Local(local))
}

/// Goes through the options of a hop; what `known` does not list never reaches `take`. A flag without a value is a yes.
fn each(
    method: &str,
    known: &[&str],
    options: &[Piece<'_>],
    mut take: impl FnMut(&str, &Piece<'_>, &Piece<'_>) -> Result<()>,
) -> Result<()> {
    for option in options {
        let (key, value) = match option.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (option.clone(), None),
        };
        let name = key.text();
        let Some(form) = known.iter().find(|form| form.split('=').next() == Some(&name)) else {
            return key.wrong(format!("{method} has no option {name:?}"), takes(method, known));
        };
        match value {
            Some(value) => take(&name, &value, option)?,
            None if !form.contains('=') || form.ends_with("yes|no") => {
                let place = option.place.end..option.place.end;
                take(&name, &Piece { glyphs: &[], place }, option)?;
            }
            None => return option.wrong(format!("{name} needs a value"), format!("Write {form}.")),
        }
    }
    Ok(())
}

fn takes(method: &str, known: &[&str]) -> String {
    format!("{method} takes {}; `offshoot help targets` explains them.", known.join(", "))
}

fn set<T>(piece: &Piece<'_>, slot: &mut Option<T>, value: T) -> Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => piece.wrong("this has been said before in the same hop", "Leave one of the two out."),
    }
}

fn port(value: &Piece<'_>) -> Result<u16> {
    // The range is that of the type.
    Ok(value.number("a port", 1..1 << 16)? as u16)
}

fn yes_or_no(value: &Piece<'_>) -> Result<bool> {
    match value.text().as_str() {
        "" | "yes" => Ok(true),
        "no" => Ok(false),
        other => value.wrong(format!("{other:?} is neither yes nor no"), ""),
    }
}

fn host_keys(value: &Piece<'_>) -> Result<HostKeys> {
    let text = value.text();
    match HOST_KEYS.iter().find(|(name, _)| *name == text) {
        Some((_, policy)) => Ok(*policy),
        None => value
            .wrong(format!("{text:?} is no policy for host keys"), "It is enforce, accept-new or ignore."),
    }
}
