//! Splitting of output into lines.

use crate::log::record::TEXT_LIMIT;
use alloc::string::String;
use alloc::vec::Vec;

/// The lines of one of this process's output streams, which may contain any bytes. Long lines are
/// split.
#[derive(Default)]
pub struct Lines(Vec<u8>);

impl Lines {
    /// Takes bytes. Returns the lines that they complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for byte in bytes {
            let ends = matches!(byte, b'\n' | b'\r');
            // UTF-8 characters are not split.
            let length = self.0.len();
            let full = length > TEXT_LIMIT - 4 && (byte & 0xC0 != 0x80 || length == TEXT_LIMIT);
            if ends || full {
                lines.extend(self.rest());
            }
            if !ends {
                self.0.push(*byte);
            }
        }
        lines
    }

    /// Removes and returns the incomplete line.
    pub fn rest(&mut self) -> Option<String> {
        let line = core::mem::take(&mut self.0);
        Some(String::from_utf8_lossy(&line).into_owned()).filter(|line| !line.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_do_not_depend_on_how_their_bytes_are_split() {
        let long = "l\u{e4}ng ".repeat(3000);
        let bytes = [
            &b"one\ntwo\r\n\n\xff\xfe\n"[..],
            long.as_bytes(),
            b"\n",
            &[0x80; 9000],
            b"\n\r last",
        ]
        .concat();
        let whole = |sizes: &[usize]| {
            let (mut lines, mut found, mut rest) = (Lines::default(), Vec::new(), &bytes[..]);
            for size in sizes.iter().cycle() {
                let (piece, more) = rest.split_at((*size).min(rest.len()));
                found.extend(lines.feed(piece));
                rest = more;
                if rest.is_empty() {
                    break;
                }
            }
            found.extend(lines.rest());
            assert_eq!(lines.rest(), None);
            found
        };
        let expected = whole(&[usize::MAX]);
        assert_eq!(expected[..3], ["one", "two", "\u{fffd}\u{fffd}"]);
        assert_eq!(expected.last().map(String::as_str), Some(" last"));
        let (long_pieces, other): (Vec<_>, Vec<_>) = expected
            .iter()
            .partition(|line| line.starts_with('l') || line.contains("ng"));
        assert_eq!(long_pieces.into_iter().cloned().collect::<String>(), long);
        assert!(
            expected
                .iter()
                .all(|line| line.chars().count() <= TEXT_LIMIT)
        );
        assert_eq!(
            other
                .iter()
                .map(|line| line.matches('\u{fffd}').count())
                .sum::<usize>(),
            9002
        );
        for sizes in [&[1][..], &[2, 3], &[8191], &[8192], &[8193, 1], &[4096, 7]] {
            assert_eq!(whole(sizes), expected, "{sizes:?}");
        }
    }
}
