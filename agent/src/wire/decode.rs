//! Bytes from a link, in whatever pieces they come, back into frames.

use super::{Flags, Frame, HEADER_LEN, Header, Kind, MAGIC, MAX_PAYLOAD, VERSION, check};
use crate::id::{ContextId, Handle};
use std::fmt;

/// Why the bytes on a link are no frame. Each of them ends the link: there is no way to find the next frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WireError {
    /// Not the start of a frame; the first bytes that were seen instead.
    NotAFrame(Vec<u8>),
    /// A version that this build does not speak.
    Version(u8),
    /// A kind that does not exist in this version.
    Kind(u8),
    /// Flags that do not exist in this version.
    Flags(u16),
    /// A length beyond [`MAX_PAYLOAD`].
    Length(u32),
    /// Frames were lost: the expected and the seen number.
    Sequence(u32, u32),
    /// Bytes were damaged.
    Check,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::NotAFrame(seen) => {
                write!(f, "something else wrote into the stream: \"{}\"", seen.escape_ascii())
            }
            WireError::Version(seen) => {
                write!(f, "the peer speaks wire version {seen}, this build {VERSION}")
            }
            WireError::Kind(seen) => write!(f, "a frame of unknown kind {seen}"),
            WireError::Flags(seen) => write!(f, "a frame with unknown flags {seen:#x}"),
            WireError::Length(seen) => write!(f, "a frame of {seen} bytes, the limit is {MAX_PAYLOAD}"),
            WireError::Sequence(expected, seen) => {
                write!(f, "the transport lost bytes: frame {expected} was due, frame {seen} came")
            }
            WireError::Check => write!(f, "the transport damaged bytes: a frame's check does not fit"),
        }
    }
}

/// Takes the bytes of one link and gives its frames. After an error it gives that error for ever.
#[derive(Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
    sequence: u32,
    failed: Option<WireError>,
}

impl Decoder {
    /// Adds bytes as they came.
    pub fn extend(&mut self, bytes: &[u8]) {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        } else if self.start > MAX_PAYLOAD {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// How many bytes wait for the rest of their frame.
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// The next whole frame, if it is there.
    ///
    /// # Errors
    /// When the stream is damaged; the link is of no use any more.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, WireError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.parse();
        if let Err(error) = &result {
            self.failed = Some(error.clone());
        }
        result
    }

    fn parse(&mut self) -> Result<Option<Frame>, WireError> {
        let bytes = &self.buffer[self.start..];
        let seen = bytes.len().min(2);
        if bytes[..seen] != MAGIC.to_le_bytes()[..seen] {
            return Err(WireError::NotAFrame(bytes[..bytes.len().min(160)].to_vec()));
        }
        if bytes.len() < HEADER_LEN {
            return Ok(None);
        }
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if bytes[2] != VERSION {
            return Err(WireError::Version(bytes[2]));
        }
        let kind = Kind::from_u8(bytes[3]).ok_or(WireError::Kind(bytes[3]))?;
        let length = word(4);
        if length as usize > MAX_PAYLOAD {
            return Err(WireError::Length(length));
        }
        if word(40) != self.sequence {
            return Err(WireError::Sequence(self.sequence, word(40)));
        }
        let end = HEADER_LEN + length as usize;
        if bytes.len() < end {
            return Ok(None);
        }
        if check(&bytes[..44], &bytes[HEADER_LEN..end]) != word(44) {
            return Err(WireError::Check);
        }
        let flags = word(28) as u16;
        if flags & !Flags::KNOWN != 0 {
            return Err(WireError::Flags(flags));
        }
        let header = Header {
            kind,
            flags: Flags(flags),
            dst: ContextId(word(8)),
            src: ContextId(word(12)),
            auth: ContextId(word(16)),
            handle: Handle(word(20)),
            reply_to: Handle(word(24)),
            streams: bytes[30],
            answering: bytes[31],
            offset: u64::from(word(32)) | u64::from(word(36)) << 32,
        };
        let payload = bytes[HEADER_LEN..end].to_vec();
        if header.flags.has(Flags::SECRET) {
            crate::secret::zero(&mut self.buffer[self.start + HEADER_LEN..self.start + end]);
        }
        self.start += end;
        self.sequence = self.sequence.wrapping_add(1);
        Ok(Some(Frame { header, payload }))
    }
}
