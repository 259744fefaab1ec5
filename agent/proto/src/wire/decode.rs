//! Decoder of the bytes of a link, which may arrive in pieces of any size.

use crate::id::ContextId;
use crate::id::Handle;
use crate::wire::checksum::header_sum;
use crate::wire::checksum::sum_of;
use crate::wire::frame::Flags;
use crate::wire::frame::Frame;
use crate::wire::frame::HEADER_LEN;
use crate::wire::frame::Header;
use crate::wire::frame::Kind;
use crate::wire::frame::MAGIC;
use crate::wire::frame::MAX_PAYLOAD;
use crate::wire::frame::RECYCLED;
use crate::wire::frame::VERSION;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// A violation of the frame format. Ends the link, because the next frame cannot be found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WireError {
    /// Bytes that do not begin a frame; the first of them.
    NotAFrame(Vec<u8>),
    /// Unsupported wire version.
    Version(u8),
    /// Unknown kind.
    Kind(u8),
    /// Unknown flags.
    Flags(u16),
    /// Length above [`MAX_PAYLOAD`].
    Length(u32),
    /// Lost frames: the expected and the received number.
    Lost(u32, u32),
    /// Wrong checksum.
    Sum,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAFrame(seen) => {
                let seen = crate::text::harmless(&String::from_utf8_lossy(seen));
                write!(f, "something else wrote into the stream: \"{seen}\"")
            }
            Self::Version(seen) => {
                write!(
                    f,
                    "the peer speaks wire version {seen}, this build {VERSION}"
                )
            }
            Self::Kind(seen) => write!(f, "a frame of unknown kind {seen}"),
            Self::Flags(seen) => write!(f, "a frame with unknown flags {seen:#x}"),
            Self::Length(seen) => {
                write!(f, "a frame of {seen} bytes, the limit is {MAX_PAYLOAD}")
            }
            Self::Lost(due, seen) => {
                write!(
                    f,
                    "the transport lost bytes: frame {due} was due, frame {seen} came"
                )
            }
            Self::Sum => write!(f, "the transport damaged bytes: a checksum does not match"),
        }
    }
}

/// Maximum number of lost frames that are distinguished from damaged bytes.
const LOOK_AHEAD: u32 = 64;

/// Maximum number of foreign bytes in an error.
const QUOTED: usize = 160;

/// A complete header with the received part of its payload.
struct Begun {
    header: Header,
    length: usize,
    sum: u32,
    payload: Vec<u8>,
}

/// Decodes the bytes of one link. Holds at most one incomplete frame. After an error, every call
/// returns the same error.
#[derive(Default)]
pub struct Decoder {
    /// Received part of a header.
    head: Vec<u8>,
    begun: Option<Begun>,
    sequence: u32,
    failed: Option<WireError>,
}

impl Decoder {
    /// Returns the number of bytes held for an incomplete frame.
    pub fn pending(&self) -> usize {
        self.head.len()
            + self
                .begun
                .as_ref()
                .map_or(0, |begun| HEADER_LEN + begun.payload.len())
    }

    /// Returns true if the incomplete frame holds a secret.
    pub(crate) fn is_secret(&self) -> bool {
        self.begun
            .as_ref()
            .is_some_and(|begun| begun.header.flags.has(Flags::SECRET))
    }

    /// Consumes bytes from the front of `bytes` until a frame is complete or no bytes are left.
    ///
    /// # Errors
    /// Returns an error if the stream is damaged. The link is unusable then.
    pub fn next_frame(&mut self, bytes: &mut &[u8]) -> Result<Option<Frame>, WireError> {
        self.next_frame_in(bytes, &mut Vec::new())
    }

    /// Consumes bytes as [`Decoder::next_frame`] does, with buffers from `used` for large payloads.
    ///
    /// # Errors
    /// Returns an error if the stream is damaged.
    pub(crate) fn next_frame_in(
        &mut self,
        bytes: &mut &[u8],
        used: &mut Vec<Vec<u8>>,
    ) -> Result<Option<Frame>, WireError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.parse(bytes, used);
        if let Err(error) = &result {
            self.failed = Some(error.clone());
        }
        result
    }

    fn parse(
        &mut self,
        bytes: &mut &[u8],
        used: &mut Vec<Vec<u8>>,
    ) -> Result<Option<Frame>, WireError> {
        if self.begun.is_none() {
            let taken = (HEADER_LEN - self.head.len()).min(bytes.len());
            self.head.extend_from_slice(&bytes[..taken]);
            let seen = self.head.len().min(2);
            if self.head[..seen] != MAGIC.to_le_bytes()[..seen] {
                let mut all = core::mem::take(&mut self.head);
                all.extend(bytes[taken..].iter().take(QUOTED));
                all.truncate(QUOTED);
                return Err(WireError::NotAFrame(all));
            }
            *bytes = &bytes[taken..];
            if self.head.len() < HEADER_LEN {
                return Ok(None);
            }
            self.begun = Some(self.begin(used)?);
            self.head.clear();
        }
        let Some(begun) = &mut self.begun else {
            return Ok(None);
        };
        let taken = (begun.length - begun.payload.len()).min(bytes.len());
        begun.payload.extend_from_slice(&bytes[..taken]);
        *bytes = &bytes[taken..];
        if begun.payload.len() < begun.length {
            return Ok(None);
        }
        let Some(Begun {
            header,
            sum,
            payload,
            ..
        }) = self.begun.take()
        else {
            return Ok(None);
        };
        let frame = Frame {
            header,
            payload,
            sum,
        };
        if sum_of(&frame.payload) != sum {
            return Err(WireError::Sum);
        }
        self.sequence = self.sequence.wrapping_add(1);
        Ok(Some(frame))
    }

    /// Checks a complete header before memory is allocated for its payload.
    fn begin(&self, used: &mut Vec<Vec<u8>>) -> Result<Begun, WireError> {
        let head = &self.head;
        let word =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        if head[2] != VERSION {
            return Err(WireError::Version(head[2]));
        }
        let length = word(4);
        if length as usize > MAX_PAYLOAD {
            return Err(WireError::Length(length));
        }
        let fits =
            |ahead: u32| header_sum(&head[..44], self.sequence.wrapping_add(ahead)) == word(44);
        if !fits(0) {
            let seen = (1..LOOK_AHEAD).find(|ahead| fits(*ahead));
            return Err(seen.map_or(WireError::Sum, |ahead| {
                WireError::Lost(self.sequence, self.sequence.wrapping_add(ahead))
            }));
        }
        let kind = Kind::from_u8(head[3]).ok_or(WireError::Kind(head[3]))?;
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
            streams: head[30],
            answering: head[31],
            offset: u64::from(word(32)) | u64::from(word(36)) << 32,
        };
        let length = length as usize;
        let payload = used.pop_if(|payload| length >= RECYCLED && payload.capacity() >= length);
        let payload = payload.unwrap_or_else(|| Vec::with_capacity(length));
        Ok(Begun {
            header,
            length,
            sum: word(40),
            payload,
        })
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        if self.is_secret()
            && let Some(begun) = &mut self.begun
        {
            offshoot_codec::zero(&mut begun.payload);
        }
    }
}
