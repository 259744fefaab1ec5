//! Bytes from a link, in whatever pieces they come, back into frames.

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
    /// Frames were lost: the number that was due, and the one that came.
    Lost(u32, u32),
    /// Bytes were damaged.
    Sum,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::NotAFrame(seen) => {
                let seen = crate::text::harmless(&String::from_utf8_lossy(seen));
                write!(f, "something else wrote into the stream: \"{seen}\"")
            }
            WireError::Version(seen) => {
                write!(f, "the peer speaks wire version {seen}, this build {VERSION}")
            }
            WireError::Kind(seen) => write!(f, "a frame of unknown kind {seen}"),
            WireError::Flags(seen) => write!(f, "a frame with unknown flags {seen:#x}"),
            WireError::Length(seen) => write!(f, "a frame of {seen} bytes, the limit is {MAX_PAYLOAD}"),
            WireError::Lost(due, seen) => {
                write!(f, "the transport lost bytes: frame {due} was due, frame {seen} came")
            }
            WireError::Sum => write!(f, "the transport damaged bytes: a frame's sum does not fit"),
        }
    }
}

/// How many lost frames are told from damaged bytes, for the error's text.
const LOOK_AHEAD: u32 = 64;

/// How much of what is no frame is shown.
const QUOTED: usize = 160;

/// A header that has come, and what has come of its payload.
struct Begun {
    header: Header,
    length: usize,
    sum: u32,
    payload: Vec<u8>,
}

/// Takes the bytes of one link and gives its frames. After an error it gives that error for ever. It holds at most one
/// frame that is not whole yet.
#[derive(Default)]
pub struct Decoder {
    /// The beginning of a header.
    head: Vec<u8>,
    begun: Option<Begun>,
    sequence: u32,
    failed: Option<WireError>,
}

impl Decoder {
    /// How many bytes wait for the rest of their frame.
    pub fn pending(&self) -> usize {
        self.head.len() + self.begun.as_ref().map_or(0, |begun| HEADER_LEN + begun.payload.len())
    }

    /// Returns true if the frame that is not whole yet holds a secret.
    pub fn is_secret(&self) -> bool {
        self.begun.as_ref().is_some_and(|begun| begun.header.flags.has(Flags::SECRET))
    }

    /// Takes bytes from the front of `bytes` until a frame is whole or none are left.
    ///
    /// # Errors
    /// When the stream is damaged; the link is of no use any more.
    pub fn next_frame(&mut self, bytes: &mut &[u8]) -> Result<Option<Frame>, WireError> {
        self.next_frame_in(bytes, &mut Vec::new())
    }

    /// The same, with memory for payloads that was used before.
    pub fn next_frame_in(
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

    fn parse(&mut self, bytes: &mut &[u8], used: &mut Vec<Vec<u8>>) -> Result<Option<Frame>, WireError> {
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
        let Some(begun) = &mut self.begun else { return Ok(None) };
        let taken = (begun.length - begun.payload.len()).min(bytes.len());
        begun.payload.extend_from_slice(&bytes[..taken]);
        *bytes = &bytes[taken..];
        if begun.payload.len() < begun.length {
            return Ok(None);
        }
        let Some(Begun { header, sum, payload, .. }) = self.begun.take() else { return Ok(None) };
        let frame = Frame { header, payload, sum };
        if sum_of(&frame.payload) != sum {
            return Err(WireError::Sum);
        }
        self.sequence = self.sequence.wrapping_add(1);
        Ok(Some(frame))
    }

    /// Checks a whole header, before anything is kept for its payload.
    fn begin(&self, used: &mut Vec<Vec<u8>>) -> Result<Begun, WireError> {
        let head = &self.head;
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        if head[2] != VERSION {
            return Err(WireError::Version(head[2]));
        }
        let length = word(4);
        if length as usize > MAX_PAYLOAD {
            return Err(WireError::Length(length));
        }
        let fits = |ahead: u32| header_sum(&head[..44], self.sequence.wrapping_add(ahead)) == word(44);
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
        Ok(Begun { header, length, sum: word(40), payload })
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
