//! The text of a target as characters without their quotes, and its parts.

use super::inline_password::scheme;
use std::ops::{Range, RangeInclusive};

/// An error in a piece, without the text around it.
pub(super) struct Wrong {
    pub(super) place: Range<usize>,
    pub(super) message: String,
    pub(super) hint: String,
}

pub(super) type Result<T> = std::result::Result<T, Wrong>;

/// A character of a target. A quoted one is never a separator.
pub(super) struct Glyph {
    pub(super) c: char,
    pub(super) quoted: bool,
    pub(super) place: Range<usize>,
}

/// A part of the text. `place` is its position there, in characters.
#[derive(Clone)]
pub(super) struct Piece<'a> {
    pub(super) glyphs: &'a [Glyph],
    pub(super) place: Range<usize>,
}

/// Removes the `//` of `ssh://` at the beginning of a hop, and the last `/` of a target that begins
/// with it.
pub(super) fn without_scheme(mut glyphs: Vec<Glyph>) -> Vec<Glyph> {
    let scheme = scheme();
    let is = |glyphs: &[Glyph]| {
        glyphs.len() >= scheme.len()
            && glyphs
                .iter()
                .zip(scheme.chars())
                .all(|(glyph, c)| glyph.c == c && !glyph.quoted)
    };
    if is(&glyphs)
        && glyphs.len() > scheme.len()
        && glyphs
            .last()
            .is_some_and(|last| last.c == '/' && !last.quoted)
    {
        glyphs.pop();
    }
    let mut at = 0;
    while at < glyphs.len() {
        if is(&glyphs[at..]) {
            let slashes = at + scheme.len() - 2;
            glyphs.drain(slashes..slashes + 2);
        }
        let next = glyphs[at..]
            .iter()
            .position(|glyph| glyph.c == '/' && !glyph.quoted);
        at = next.map_or(glyphs.len(), |next| at + next + 1);
    }
    glyphs
}

/// Resolves brackets and percent signs.
pub(super) fn glyphs(text: &str) -> Result<Vec<Glyph>> {
    let characters: Vec<char> = text.chars().collect();
    let wrong = |place: Range<usize>, message: &str, hint: &str| {
        Err(Wrong {
            place,
            message: message.into(),
            hint: hint.into(),
        })
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
                        "this [ has no ]",
                        "Text between [ and ] is literal.",
                    );
                };
                at += length + 1;
                let inner = characters[begin + 1..at - 1].iter().enumerate();
                glyphs.extend(inner.map(|(number, &c)| {
                    let place = begin + 1 + number;
                    Glyph {
                        c,
                        quoted: true,
                        place: place..place + 1,
                    }
                }));
            }
            ']' => {
                return wrong(at..at + 1, "this ] has no [", "A literal ] is written %5D.");
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
                            let hint = "A % is followed by two hexadecimal digits; a literal % is written %25.";
                            return wrong(at..end, "not a byte in hexadecimal", hint);
                        }
                    }
                    at += 3;
                }
                let Ok(decoded) = String::from_utf8(bytes) else {
                    return wrong(
                        begin..at,
                        "not UTF-8",
                        "A path that is not UTF-8 cannot be part of a target.",
                    );
                };
                glyphs.extend(decoded.chars().map(|c| Glyph {
                    c,
                    quoted: true,
                    place: begin..at,
                }));
            }
            c => {
                at += 1;
                glyphs.push(Glyph {
                    c,
                    quoted: false,
                    place: begin..at,
                });
            }
        }
    }
    match glyphs.iter().find(|glyph| glyph.c.is_control()) {
        Some(glyph) => wrong(
            glyph.place.clone(),
            "control characters are not allowed",
            "",
        ),
        None => Ok(glyphs),
    }
}

impl<'a> Piece<'a> {
    /// Returns the text.
    pub(super) fn text(&self) -> String {
        self.glyphs.iter().map(|glyph| glyph.c).collect()
    }

    /// Returns an error at this piece.
    pub(super) fn wrong<T>(
        &self,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Result<T> {
        Err(Wrong {
            place: self.place.clone(),
            message: message.into(),
            hint: hint.into(),
        })
    }

    /// Returns a test for an unquoted separator.
    fn is_at(separator: char) -> impl Fn(&Glyph) -> bool {
        move |glyph| glyph.c == separator && !glyph.quoted
    }

    /// Splits at a separator, which belongs to neither part.
    fn cut(&self, index: usize) -> (Self, Self) {
        let place = &self.glyphs[index].place;
        let left = Piece {
            glyphs: &self.glyphs[..index],
            place: self.place.start..place.start,
        };
        (
            left,
            Piece {
                glyphs: &self.glyphs[index + 1..],
                place: place.end..self.place.end,
            },
        )
    }

    /// Splits at the first separator.
    pub(super) fn split_once(&self, separator: char) -> Option<(Self, Self)> {
        self.glyphs
            .iter()
            .position(Self::is_at(separator))
            .map(|index| self.cut(index))
    }

    /// Splits at the last separator.
    pub(super) fn rsplit_once(&self, separator: char) -> Option<(Self, Self)> {
        self.glyphs
            .iter()
            .rposition(Self::is_at(separator))
            .map(|index| self.cut(index))
    }

    /// Splits at every separator.
    pub(super) fn split(&self, separator: char) -> Vec<Self> {
        let mut pieces = Vec::new();
        let mut rest = self.clone();
        while let Some((piece, after)) = rest.split_once(separator) {
            pieces.push(piece);
            rest = after;
        }
        pieces.push(rest);
        pieces
    }

    /// Returns the text, which must not be empty.
    pub(super) fn filled(&self, what: &str) -> Result<String> {
        const WAY: &str = "Write it there. A / ends a hop; a path goes in brackets, as in password-file=[/etc/x].";
        if self.glyphs.is_empty() {
            self.wrong(format!("{what} is empty"), WAY)
        } else {
            Ok(self.text())
        }
    }

    /// Returns the text of a number, without leading zeros.
    pub(super) fn number(&self, what: &str, range: &RangeInclusive<u32>) -> Result<String> {
        let text = self.text();
        match text.parse::<u32>() {
            Ok(number)
                if range.contains(&number) && text.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                Ok(number.to_string())
            }
            _ => self.wrong(
                format!("{text:?} is not {what}"),
                format!("It is a number from {} to {}.", range.start(), range.end()),
            ),
        }
    }
}
