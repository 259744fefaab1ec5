//! Foreign text: truncation, and replacement of characters that harm terminals and logs.

use alloc::string::String;
use alloc::vec::Vec;
use serde::Deserialize;
use serde::Deserializer;

/// Returns the beginning of a text, at most `limit` bytes without splitting a character.
pub fn shortened(text: &str, limit: usize) -> &str {
    let end = (0..=text.len().min(limit))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    &text[..end]
}

/// First and last characters of each range that is replaced: category Cf of Unicode 16 (format
/// characters, which join, hide or reverse their neighbours), line and paragraph separators, and
/// interlinear annotation marks. Also the characters that are shown as blanks and are none: with
/// them a text could end its visible part and begin another.
const FORMAT: [(char, char); 26] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{180e}', '\u{180e}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff9}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0001}', '\u{e0001}'),
    ('\u{e0020}', '\u{e007f}'),
    // Unassigned, but renderers treat them as format characters.
    ('\u{e0000}', '\u{e0000}'),
    ('\u{e0080}', '\u{e0fff}'),
];

/// Returns true if a character could control a terminal, start a line, or change the order or
/// appearance of its neighbours. A tab is harmless.
pub fn is_harmful(c: char) -> bool {
    let within = |(first, last): &(char, char)| (*first..=*last).contains(&c);
    c != '\t' && (c.is_control() || c >= '\u{ad}' && FORMAT.iter().any(within))
}

/// Returns a text with U+FFFD for each control or format character.
///
/// Every text of a remote, or of a program that takes a hop, passes through here before it becomes
/// part of an error, a log record or a dump.
#[must_use]
pub fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| {
            if is_harmful(c) {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

/// Returns a text as one harmless line: like [`harmless`], with a space for each line break, which
/// messages of panics contain.
pub fn one_line(text: &str) -> String {
    harmless(&text.replace('\n', " "))
}

/// Reads a text of an error from another context and makes it one harmless line, so that no display
/// of the error can skip that.
///
/// # Errors
/// Returns an error if there is no text to read.
pub fn read<'de, T: From<String>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    String::deserialize(from).map(|text| one_line(&text).into())
}

/// Reads a text of several lines and makes each harmless.
///
/// # Errors
/// Returns an error if there is no text to read.
pub(crate) fn read_lines<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    let lines: Vec<String> = text.split('\n').map(one_line).collect();
    Ok(lines.join("\n"))
}

/// Reads several such texts.
///
/// # Errors
/// Returns an error if there are no texts to read.
pub(crate) fn read_all<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Vec::deserialize(from)
        .map(|texts: Vec<String>| texts.iter().map(|text| one_line(text)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_bidi_characters_are_replaced_and_nothing_else() {
        let harmful = [
            "\u{1b}[2J",
            "\u{1b}]52;c;AAAA\u{7}",
            "\u{9b}31m",
            "\u{9d}0;title\u{9c}",
            "a\rb",
            "a\nb",
            "\0",
            "\u{7f}",
            "\u{202e}txt.exe",
            "\u{2066}x\u{2069}",
            "\u{200b}",
            "\u{200f}",
            "\u{61c}",
            "\u{2028}",
            "\u{2029}",
            "\u{feff}",
            "\u{ad}",
            "\u{e0041}",
            "\u{e01ef}",
            "\u{180e}",
            "\u{fffa}",
        ];
        for text in harmful {
            let shown = harmless(text);
            assert!(shown.contains('\u{fffd}'), "{text:?}");
            assert!(!shown.chars().any(is_harmful), "{text:?}");
            assert_eq!(shown.chars().count(), text.chars().count(), "{text:?}");
        }
        let plain =
            "tab\there, ümläut, 漢字, עברית, العربية, हिन्दी, e\u{301}, 🦀, \u{fe0f}, ~!\"§$%&/()=?";
        assert_eq!(harmless(plain), plain);
    }

    #[test]
    fn the_table_of_format_characters_covers_all_bidi_controls() {
        for c in "\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}\u{200e}"
            .chars()
        {
            assert!(is_harmful(c), "{c:?}");
        }
        assert!(FORMAT.iter().all(|(first, last)| first <= last));
    }
}
