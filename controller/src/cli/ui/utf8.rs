//! Characters that are split between two pieces of a stream.

/// Returns the number of bytes at the end that begin a character without completing it.
pub(super) fn unfinished(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => bytes.len() - error.valid_up_to(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_character_waits_for_its_remaining_bytes() {
        assert_eq!(unfinished("a€".as_bytes()), 0);
        assert_eq!(unfinished(&"a€".as_bytes()[..3]), 2);
        assert_eq!(unfinished(&"a€".as_bytes()[..2]), 1);
        assert_eq!(unfinished(b"a\xff"), 0, "never part of a character");
    }
}
