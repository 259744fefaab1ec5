//! The log filter, by target and level.
//!
//! A filter is parsed where it is created. Its encoded form is evaluated with few instructions
//! where records are made, because agents have no parser. Evaluation never fails: unreadable parts
//! admit nothing.

use crate::error::Error;
use alloc::format;
use alloc::string::String;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;
use serde::Deserialize;
use serde::Serialize;

/// Names of the levels, by number.
const LEVELS: [&str; 7] = ["off", "error", "warn", "info", "debug", "trace", "io"];

/// Number of the most detailed level of records.
const TRACE: u8 = 5;

/// Number of the level that includes the frames of the process.
const IO: u8 = 6;

/// Target of the records of frames.
pub const IO_TARGET: &str = "offshoot::io";

/// Environment variable with the filter for controllers that set none.
pub const LOG_VARIABLE: &str = "OFFSHOOT_LOG";

/// Maximum length of a filter's text in bytes; it shares a frame with other fields.
const LIMIT: usize = 4096;

/// Log filter in the usual syntax: `warn,my_agent::disk=debug,other=off`.
///
/// A filter consists of directives, separated by commas. `TARGET=LEVEL` applies to records whose
/// target begins with `TARGET`; the longest match decides. A `LEVEL` alone applies to all other
/// records, which are off without it. A `TARGET` alone admits all of its records. The levels are
/// `off`, `error`, `warn`, `info`, `debug`, `trace` and `io`. `io` equals `trace`, and as the level
/// of the target `offshoot::io`, as in `io` or `warn,offshoot::io=io`, also logs the header of each
/// frame that the process sends and receives. The output of an agent has level `info` and the
/// targets `stdout` and `stderr`.
///
/// ```
/// # use offshoot_proto::log::Filter;
/// let filter: Filter = "warn,my_agent::disk=debug,other=off".parse()?;
/// assert_eq!(filter.to_string(), "my_agent::disk=debug,other=off,warn");
/// assert!("warn,disk=loud".parse::<Filter>().is_err());
/// # Ok::<(), offshoot_proto::log::FilterError>(())
/// ```
// Encoded as `TARGET=NUMBER`, separated by commas, longest target first.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Filter(String);

impl Filter {
    /// Creates a filter for all targets up to a level: 0 off, 1 error, 2 warn, 3 info, 4 debug, 5
    /// trace, 6 and above trace with frames.
    #[must_use]
    pub fn up_to(level: u8) -> Self {
        let level = char::from(b'0' + level.min(IO));
        Self(String::from_iter(['=', level]))
    }

    /// Creates a filter for all targets up to a level, as [`Filter::up_to`] does, that admits the
    /// lines as well that functions print.
    #[must_use]
    pub fn with_prints(level: u8) -> Self {
        let Self(others) = Self::up_to(level);
        Self(["stdout=3,stderr=3,", &others].concat())
    }

    /// Returns the number of the most detailed level that is admitted for a target.
    #[must_use]
    pub fn level_of(&self, target: &str) -> u8 {
        for piece in self.0.as_bytes().split(|byte| *byte == b',') {
            if let [name @ .., b'=', level] = piece
                && target.as_bytes().starts_with(name)
            {
                return level.wrapping_sub(b'0');
            }
        }
        0
    }

    /// Returns the encoded filter as text.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Returns the encoded filter as bytes.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Decodes a filter. Invalid UTF-8 admits nothing.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(String::from_utf8(bytes).unwrap_or_default())
    }

    /// Returns the level for all other targets, if the filter has one.
    #[must_use]
    pub fn others(&self) -> Option<u8> {
        self.directives()
            .find(|(target, _)| target.is_empty())
            .map(|(_, level)| level)
    }

    /// Returns this filter with another level for all other targets.
    #[must_use]
    pub fn with_others(&self, level: u8) -> Self {
        let mut pieces: Vec<String> = self
            .directives()
            .filter(|(target, _)| !target.is_empty())
            .map(|(target, level)| format!("{target}={level}"))
            .collect();
        pieces.push(Self::up_to(level).0);
        Self(pieces.join(","))
    }

    /// Returns the targets and their levels, longest first. The level for all other targets comes
    /// last, with an empty target.
    pub fn directives(&self) -> impl Iterator<Item = (&str, u8)> {
        self.0.split(',').filter_map(|piece| {
            let (target, level) = piece.rsplit_once('=')?;
            Some((target, level.parse().ok()?))
        })
    }

    /// Returns true if the frames of the process are logged.
    #[must_use]
    pub fn shows_frames(&self) -> bool {
        self.level_of(IO_TARGET) >= IO
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (target, level) in self.directives() {
            let equals = if target.is_empty() { "" } else { "=" };
            let level = LEVELS.get(usize::from(level)).unwrap_or(&"?");
            write!(f, "{separator}{target}{equals}{level}")?;
            separator = ",";
        }
        if separator.is_empty() {
            f.write_str("off")
        } else {
            Ok(())
        }
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Filter({self})")
    }
}

fn level_named(word: &str) -> Option<u8> {
    let named = LEVELS
        .iter()
        .position(|level| level.eq_ignore_ascii_case(word))
        .map(|level| level as u8);
    named.or_else(|| word.parse().ok().filter(|level| *level <= TRACE))
}

/// Returns true if a word differs from a level by one or two typing errors.
fn is_misspelt(word: &str, level: &str) -> bool {
    let (word, level) = (word.to_ascii_lowercase().into_bytes(), level.as_bytes());
    if level.len() < 3 || !word.iter().all(u8::is_ascii_alphabetic) || word.len() > 16 {
        return false;
    }
    // The word is a longer form of the level, such as its plural.
    if level.len() > 3 && word.len() > level.len() && word.starts_with(level) {
        return true;
    }
    let most = if level.len() > 4 { 2 } else { 1 };
    // Edit distance between each beginning of the word and each beginning of the level.
    let mut rows = vec![vec![0; level.len() + 1]; word.len() + 1];
    for at in 0..=word.len() {
        for to in 0..=level.len() {
            let Some((at_before, to_before)) = at.checked_sub(1).zip(to.checked_sub(1)) else {
                rows[at][to] = at + to;
                continue;
            };
            let other = usize::from(word[at_before] != level[to_before]);
            let mut steps = (rows[at_before][to_before] + other)
                .min(rows[at_before][to] + 1)
                .min(rows[at][to_before] + 1);
            let exchanged =
                at > 1 && to > 1 && word[at - 2] == level[to - 1] && word[at - 1] == level[to - 2];
            if exchanged {
                steps = steps.min(rows[at - 2][to - 2] + 1);
            }
            rows[at][to] = steps;
        }
    }
    (1..=most).contains(&rows[word.len()][level.len()])
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let mut wanted: Vec<(&str, u8)> = Vec::new();
        for piece in text
            .split(',')
            .map(str::trim)
            .filter(|piece| !piece.is_empty())
        {
            let wrong = |why| {
                Err(FilterError {
                    piece: crate::text::shortened(piece, 80).into(),
                    why,
                })
            };
            let (target, level) = match piece.split_once('=') {
                Some((target, word)) => match level_named(word.trim()) {
                    Some(level) => (target.trim(), level),
                    None => {
                        return wrong(
                            "what is behind = is no level: off, error, warn, info, debug, trace or io",
                        );
                    }
                },
                None => level_named(piece).map_or((piece, TRACE), |level| ("", level)),
            };
            if !piece.contains('=') && LEVELS.iter().any(|level| is_misspelt(target, level)) {
                return wrong(
                    "it is no level: off, error, warn, info, debug, trace or io. A target of that name is \
                     written NAME=trace",
                );
            }
            if piece.contains(['[', '{']) {
                return wrong("only targets can be filtered, not spans or fields");
            }
            if target.is_empty() && piece.contains('=') {
                return wrong("there is no target before =");
            }
            let fit = |letter: char| letter.is_alphanumeric() || "_:-./".contains(letter);
            if !target.chars().all(fit) {
                return wrong("a target is a path of names, such as my_agent::disk");
            }
            wanted.retain(|(other, _)| *other != target);
            wanted.push((target, level));
        }
        wanted.sort_by_key(|(target, _)| core::cmp::Reverse(target.len()));
        let pieces: Vec<String> = wanted
            .iter()
            .map(|(target, level)| format!("{target}={level}"))
            .collect();
        let text = pieces.join(",");
        if text.len() > LIMIT {
            let piece = wanted
                .first()
                .map_or("", |(target, _)| crate::text::shortened(target, 80))
                .into();
            return Err(FilterError {
                piece,
                why: "all of it together is longer than 4096 bytes; its longest target",
            });
        }
        Ok(Self(text))
    }
}

/// The error for a text that is not a filter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FilterError {
    piece: String,
    why: &'static str,
}

impl FilterError {
    /// Returns the invalid directive.
    #[must_use]
    pub fn piece(&self) -> &str {
        &self.piece
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\": {}", self.piece, self.why)
    }
}

impl core::error::Error for FilterError {}

impl From<FilterError> for Error {
    fn from(error: FilterError) -> Self {
        Self::System {
            action: "reading a log filter".into(),
            detail: error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> Filter {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn the_longest_matching_target_decides() {
        let filter =
            filter("warn, my_agent=info ,my_agent::disk=debug,other=off,my_agent::disk::raw=error");
        for (target, level) in [
            ("anything", 2),
            ("my", 2),
            ("my_agent", 3),
            ("my_agent::net", 3),
            ("my_agent::disk", 4),
            ("my_agent::disk::sector", 4),
            ("my_agent::disk::raw", 1),
            ("other", 0),
            ("other::thing", 0),
            ("", 2),
        ] {
            assert_eq!(filter.level_of(target), level, "{target}");
        }
    }

    #[test]
    fn unnamed_targets_are_off_and_a_bare_target_means_trace() {
        let filter = filter("my_agent");
        assert_eq!(
            (filter.level_of("my_agent::disk"), filter.level_of("other")),
            (5, 0)
        );
        assert_eq!(
            (filter.others(), filter.with_others(2).level_of("other")),
            (None, 2)
        );
        assert_eq!(filter.with_others(2).level_of("my_agent"), 5);
        for nothing in ["", " , ,", "off", "0"] {
            assert_eq!(self::filter(nothing).level_of("my_agent"), 0, "{nothing:?}");
        }
        assert_eq!(Filter::default().to_string(), "off");
    }

    #[test]
    fn a_misspelt_level_is_refused_instead_of_read_as_a_target() {
        for text in [
            "debgu",
            "DEBGU",
            "warn,debg",
            "inof",
            "inf",
            "warnn",
            "warning",
            "errors",
            "eror",
            "tarce",
            "trac",
            "of",
            "offf",
            "wran",
            "infos",
            "traces",
            "debugging",
            "my_agent=info,errror",
        ] {
            let error = text.parse::<Filter>().expect_err(text).to_string();
            assert!(
                error.contains("it is no level") && error.contains("NAME=trace"),
                "{error}"
            );
        }
        for text in [
            "my_agent",
            "offshoot",
            "net",
            "disk",
            "warn_me",
            "info::disk",
            "stdout",
            "stderr",
            "a",
            "debgu=trace",
            "tower",
        ] {
            assert!(text.parse::<Filter>().is_ok(), "{text}");
        }
    }

    #[test]
    fn a_later_directive_replaces_an_earlier_one() {
        let filter = filter("warn,a=info,trace,a=off");
        assert_eq!((filter.level_of("a"), filter.level_of("b")), (0, 5));
    }

    #[test]
    fn levels_are_words_in_any_case_or_numbers() {
        for (number, word) in LEVELS.iter().enumerate() {
            assert_eq!(filter(&word.to_uppercase()).level_of("x"), number as u8);
        }
        assert_eq!(filter("3").level_of("x"), 3);
        for level in 0..=6 {
            assert_eq!(
                filter(&Filter::up_to(level).to_string()),
                Filter::up_to(level)
            );
        }
        assert_eq!(Filter::up_to(200), Filter::up_to(6));
    }

    #[test]
    fn frames_are_shown_only_if_their_target_has_level_io() {
        for (text, shown) in [
            ("io", true),
            ("warn,offshoot=io", true),
            ("warn,offshoot::io=io", true),
            ("trace", false),
            ("io,offshoot=trace", false),
            ("my_agent=io", false),
        ] {
            assert_eq!(filter(text).shows_frames(), shown, "{text}");
        }
    }

    #[test]
    fn an_error_names_the_invalid_directive() {
        for (text, piece, why) in [
            ("warn,disk=loud,other=off", "disk=loud", "no level"),
            ("warn,disk=,other=off", "disk=", "no level"),
            ("=debug", "=debug", "no target"),
            ("warn,my agent=debug", "my agent=debug", "path of names"),
            ("info,a[span{x=1}]=debug", "a[span{x=1}]=debug", "no level"),
            ("info,a[span]=debug", "a[span]=debug", "not spans"),
            ("warn,a=b=info", "a=b=info", "no level"),
            ("7", "", ""),
        ] {
            match text.parse::<Filter>() {
                Ok(_) => assert_eq!(piece, "", "{text}"),
                Err(error) => {
                    assert_eq!(error.piece(), piece, "{text}");
                    assert!(error.to_string().contains(why), "{error}");
                    assert!(Error::from(error).to_string().contains("log filter"));
                }
            }
        }
        let long: String = (0..1000)
            .map(|number| format!("target_{number}=info,"))
            .collect();
        assert!(
            long.parse::<Filter>()
                .unwrap_err()
                .to_string()
                .contains("4096")
        );
    }

    /// Texts of every kind, from a small generator: parsing never panics, and a parsed filter is
    /// parsed again from its own text.
    #[test]
    fn any_text_parses_or_fails_and_a_filter_round_trips() {
        const PIECES: [&str; 14] = [
            "warn", "=", ",", "a", "::", "a::b", "off", "io", "trace", " ", "[", "\u{e9}", "9", "=",
        ];
        let mut seed = 7_u64;
        let mut read = 0;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..8 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                text.push_str(PIECES[(seed >> 40) as usize % PIECES.len()]);
            }
            if let Ok(filter) = text.parse::<Filter>() {
                read += 1;
                assert_eq!(
                    filter.to_string().parse::<Filter>().as_ref(),
                    Ok(&filter),
                    "{text}"
                );
                assert_eq!(Filter::from_bytes(filter.bytes().to_vec()), filter);
                assert!(filter.level_of("a::b::c") <= IO && filter.level_of("") <= IO);
            }
        }
        assert!(read > 1000, "{read}");
    }

    #[test]
    fn a_filter_from_damaged_bytes_does_not_panic() {
        for bytes in [&b"\xff\xff=5"[..], b"====", b"=", b",,", b"a", b"=55", b"5"] {
            let filter = Filter::from_bytes(bytes.to_vec());
            let _ = (filter.level_of("a"), filter.to_string(), filter.others());
        }
        assert_eq!(Filter::from_bytes(b"\xff=5".to_vec()).level_of("a"), 0);
    }
}
