//! Detection of passwords in targets. Other users can see a command line, so such targets are
//! refused before anything else is parsed, and the password is never shown.

use offshoot_agent::method;
use offshoot_agent::method::spec::Argument;
use std::ops::Range;

/// Finds a password, or a text that looks like one: `USER:PASSWORD@HOST`, also after `ssh:` and
/// `ssh://`, `sudo:USER:PASSWORD`, and `password=PASSWORD`. Returns its position in characters,
/// which includes the whole password and possibly more.
pub(super) fn find(text: &str) -> Option<Range<usize>> {
    let glyphs = unquoted(text);
    if let Some(place) = option(&glyphs) {
        return Some(place);
    }
    let mut start = 0;
    loop {
        let length = glyphs[start..]
            .iter()
            .position(|c| *c == '/')
            .unwrap_or(glyphs.len() - start);
        let begins = |word: &str| {
            word.chars()
                .eq(glyphs[start..].iter().copied().take(word.len()))
        };
        let method = method::METHODS
            .iter()
            .find(|row| begins(&format!("{}:", row.spec.name)));
        let behind_name = method.map_or(0, |row| row.spec.name.len() + 1);
        let (head, length, is_user) = match method.map(|row| &row.spec.argument) {
            // The slashes of a URL do not end a hop.
            _ if begins(&scheme()) => {
                let head = start + scheme().len();
                let rest = &glyphs[head..];
                (
                    head,
                    rest.iter().position(|c| *c == '/').unwrap_or(rest.len()),
                    false,
                )
            }
            Some(Argument::Host) => (start + behind_name, length - behind_name, false),
            Some(Argument::Text { key, .. } | Argument::TextOr { key, .. }) => {
                (start + behind_name, length - behind_name, *key == "user")
            }
            Some(Argument::None) | None => (start, length, false),
        };
        let hop = &glyphs[head..head + length];
        // After an @ or a comma, a colon is before a port or in an option.
        let colon = hop
            .iter()
            .position(|c| matches!(c, ':' | '@' | ','))
            .filter(|at| hop[*at] == ':');
        if let Some(secret) = colon.map(|at| head + at + 1) {
            if is_user {
                return Some(secret..head + length);
            }
            let port = glyphs[secret..]
                .iter()
                .take_while(|c| c.is_ascii_digit())
                .count();
            let is_port = port > 0 && matches!(glyphs.get(secret + port), None | Some('/' | ','));
            let at = glyphs[secret..]
                .iter()
                .rposition(|c| *c == '@')
                .filter(|_| !is_port);
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

/// Returns the prefix of a URL that is a hop: `ssh://`.
pub(super) fn scheme() -> String {
    format!("{}://", method::bare().spec.name)
}

/// Finds the value of a key that does not exist but begins like one for a password: `pass=`,
/// `password=` and so on.
fn option(glyphs: &[char]) -> Option<Range<usize>> {
    const FILE: &str = "password-file=";
    let begins = |at: usize, word: &str| {
        word.chars()
            .eq(glyphs[at..].iter().copied().take(word.len()))
    };
    let mut keys = glyphs
        .iter()
        .enumerate()
        .filter(|(_, c)| **c == ',')
        .map(|(at, _)| at + 1);
    let key = keys.find(|at| begins(*at, "pass") && !begins(*at, FILE))?;
    let value = key
        + glyphs[key..]
            .iter()
            .take_while(|c| !matches!(c, ',' | '/'))
            .position(|c| *c == '=')?
        + 1;
    // A password may have any character, so the rest of the text is part of it.
    Some(value..glyphs.len()).filter(|place| !place.is_empty())
}

/// Returns the characters of a text, with brackets and the text between them replaced by neutral
/// characters.
fn unquoted(text: &str) -> Vec<char> {
    let mut glyphs: Vec<char> = text.chars().collect();
    let mut at = 0;
    while at < glyphs.len() {
        let close = (glyphs[at] == '[')
            .then(|| glyphs[at..].iter().position(|c| *c == ']'))
            .flatten();
        let end = close.map_or(at, |length| at + length);
        if end > at {
            glyphs[at..=end].fill('_');
        }
        at = end + 1;
    }
    glyphs
}
