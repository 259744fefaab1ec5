//! The header of a call.

use alloc::vec::Vec;

/// Flag: no caller waits for the reply. Failures are logged where the function runs.
pub(crate) const CAST: u8 = 1;

/// Flag: four more bytes with the remaining time in milliseconds.
pub(crate) const DEADLINE: u8 = 2;

/// The header of a call, before its arguments.
#[derive(Copy, Clone, Default)]
pub struct CallHeader<'a> {
    /// Full name of the function.
    pub name: &'a str,
    /// True if no caller waits for the reply.
    pub cast: bool,
    /// Remaining time in milliseconds; `None` without a deadline.
    pub left_ms: Option<u32>,
}

impl<'a> CallHeader<'a> {
    /// Returns the encoded header, to which the arguments are appended.
    pub fn encode(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(64 + self.name.len());
        head.push((u8::from(self.cast) * CAST) | (u8::from(self.left_ms.is_some()) * DEADLINE));
        if let Some(left) = self.left_ms {
            head.extend_from_slice(&left.to_le_bytes());
        }
        head.extend_from_slice(&(self.name.len() as u16).to_le_bytes());
        head.extend_from_slice(self.name.as_bytes());
        head
    }

    /// Decodes the header of a request. Returns it with the offset of the arguments; `None` if it
    /// is invalid.
    pub fn decode(request: &'a [u8]) -> Option<(Self, usize)> {
        let (flags, mut rest) = request.split_first()?;
        let mut left_ms = None;
        if flags & DEADLINE != 0 {
            let (ms, after) = rest.split_first_chunk()?;
            (left_ms, rest) = (Some(u32::from_le_bytes(*ms)), after);
        }
        let (length, rest) = rest.split_first_chunk()?;
        let (name, arguments) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        let name = core::str::from_utf8(name).ok()?;
        Some((
            CallHeader {
                name,
                cast: flags & CAST != 0,
                left_ms,
            },
            request.len() - arguments.len(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_header_round_trips_and_a_truncated_one_is_refused() {
        for cast in [false, true] {
            for left_ms in [None, Some(0), Some(u32::MAX)] {
                let head = CallHeader {
                    name: "a::b",
                    cast,
                    left_ms,
                };
                let mut request = head.encode();
                let length = request.len();
                for cut in 0..length {
                    assert!(
                        CallHeader::decode(&request[..cut]).is_none(),
                        "cut at {cut}"
                    );
                }
                request.extend_from_slice(b"arguments");
                let (read, at) = CallHeader::decode(&request).unwrap();
                assert_eq!(
                    (read.name, read.cast, read.left_ms, at),
                    ("a::b", cast, left_ms, length)
                );
            }
        }
    }
}
