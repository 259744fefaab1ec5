use alloc::vec::Vec;

/// Nobody waits for what the call gives; failures are logged where it runs.
pub const CAST: u8 = 1;

/// Four more bytes: how many milliseconds are left for it.
pub const DEADLINE: u8 = 2;

/// What stands before a call's arguments.
#[derive(Copy, Clone, Default)]
pub struct CallHeader<'a> {
    /// The function's full name.
    pub name: &'a str,
    /// Whether nobody waits for what it gives.
    pub cast: bool,
    /// How many milliseconds are left for it, if they are counted.
    pub left_ms: Option<u32>,
}

impl<'a> CallHeader<'a> {
    /// The head as bytes, after which the arguments come.
    pub fn encode(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(64 + self.name.len());
        head.push((u8::from(self.cast) * CAST) | (u8::from(self.left_ms.is_some()) * DEADLINE));
        head.extend(self.left_ms.map(u32::to_le_bytes).iter().flatten());
        head.extend_from_slice(&(self.name.len() as u16).to_le_bytes());
        head.extend_from_slice(self.name.as_bytes());
        head
    }

    /// The head of a request, and where its arguments begin.
    pub fn decode(request: &'a [u8]) -> Option<(CallHeader<'a>, usize)> {
        let (flags, mut rest) = request.split_first()?;
        let mut left_ms = None;
        if flags & DEADLINE != 0 {
            let (ms, after) = rest.split_first_chunk()?;
            (left_ms, rest) = (Some(u32::from_le_bytes(*ms)), after);
        }
        let (length, rest) = rest.split_first_chunk()?;
        let (name, arguments) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        let name = core::str::from_utf8(name).ok()?;
        Some((CallHeader { name, cast: flags & CAST != 0, left_ms }, request.len() - arguments.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_header_round_trips_and_a_truncated_one_is_refused() {
        for cast in [false, true] {
            for left_ms in [None, Some(0), Some(u32::MAX)] {
                let head = CallHeader { name: "a::b", cast, left_ms };
                let mut request = head.encode();
                let length = request.len();
                for cut in 0..length {
                    assert!(CallHeader::decode(&request[..cut]).is_none(), "cut at {cut}");
                }
                request.extend_from_slice(b"arguments");
                let (read, at) = CallHeader::decode(&request).unwrap();
                assert_eq!((read.name, read.cast, read.left_ms, at), ("a::b", cast, left_ms, length));
            }
        }
    }
}
