//! Passwords that somebody has written into a target. A command line is no place for them: they are refused before anything
//! else is looked at, and never shown again.

use super::parse::scheme;
use super::registry;
use offshoot::methods::spec::Argument;
use std::ops::Range;

/// Finds what is a password, or looks like one, in a text that is to be a target: `USER:PASSWORD@HOST`, also behind `ssh:` and
/// `ssh://`, `sudo:USER:PASSWORD`, and `password=PASSWORD`. Gives its place in characters. More than the password may be in it, but not less.
pub(super) fn find(text: &str) -> Option<Range<usize>> {
    let glyphs = unquoted(text);
    if let Some(place) = option(&glyphs) {
        return Some(place);
    }
    let mut start = 0;
    loop {
        let length = glyphs[start..].iter().position(|c| *c == '/').unwrap_or(glyphs.len() - start);
        let begins = |word: &str| word.chars().eq(glyphs[start..].iter().copied().take(word.len()));
        let method = registry::METHODS.iter().find(|row| begins(&format!("{}:", row.spec.name)));
        let behind_name = method.map_or(0, |row| row.spec.name.len() + 1);
        let (head, length, is_user) = match method.map(|row| &row.spec.argument) {
            // The first / of these ends no hop.
            _ if begins(&scheme()) => {
                let head = start + scheme().len();
                let rest = &glyphs[head..];
                (head, rest.iter().position(|c| *c == '/').unwrap_or(rest.len()), false)
            }
            Some(Argument::Host) => (start + behind_name, length - behind_name, false),
            Some(Argument::Text { key, .. }) => (start + behind_name, length - behind_name, *key == "user"),
            Some(Argument::None) | None => (start, length, false),
        };
        let hop = &glyphs[head..head + length];
        // An @ or a comma before it: what is behind it is a port or an option.
        let colon = hop.iter().position(|c| matches!(c, ':' | '@' | ',')).filter(|at| hop[*at] == ':');
        if let Some(secret) = colon.map(|at| head + at + 1) {
            if is_user {
                return Some(secret..head + length);
            }
            let port = glyphs[secret..].iter().take_while(|c| c.is_ascii_digit()).count();
            let is_port = port > 0 && matches!(glyphs.get(secret + port), None | Some('/' | ','));
            let at = glyphs[secret..].iter().rposition(|c| *c == '@').filter(|_| !is_port);
            if let Some(at) = at {
                return Some(secret..secret + at);
            }
        }
        start = head + length + 1;
        if start > glyphs.len() {
            return None;
        }
    }
}

/// The value of a key that is none, but means one: `pass=`, `password=` and their like.
fn option(glyphs: &[char]) -> Option<Range<usize>> {
    const FILE: &str = "password-file=";
    let begins = |at: usize, word: &str| word.chars().eq(glyphs[at..].iter().copied().take(word.len()));
    let mut keys = glyphs.iter().enumerate().filter(|(_, c)| **c == ',').map(|(at, _)| at + 1);
    let key = keys.find(|at| begins(*at, "pass") && !begins(*at, FILE))?;
    let value =
        key + glyphs[key..].iter().take_while(|c| !matches!(c, ',' | '/')).position(|c| *c == '=')? + 1;
    // It may have any character: all up to the end of the text.
    Some(value..glyphs.len()).filter(|place| !place.is_empty())
}

/// The characters of a text, with those in brackets and the brackets themselves as such that mean nothing.
fn unquoted(text: &str) -> Vec<char> {
    let mut glyphs: Vec<char> = text.chars().collect();
    let mut at = 0;
    while at < glyphs.len() {
        let close = (glyphs[at] == '[').then(|| glyphs[at..].iter().position(|c| *c == ']')).flatten();
        let end = close.map_or(at, |length| at + length);
        if end > at {
            glyphs[at..=end].fill('_');
        }
        at = end + 1;
    }
    glyphs
}
