//! The unit on a link: a fixed header and at most 64 KiB of payload.
//!
//! Pure: bytes in, frames out. It never allocates for a length it has not checked, and knows nothing of routes.
//!
//! | offset | bytes | field | notes |
//! |---|---|---|---|
//! | 0 | 2 | magic | 0x0F5B; anything else is a damaged stream |
//! | 2 | 1 | version | 1 |
//! | 3 | 1 | kind | [`Kind`] |
//! | 4 | 4 | length | of the payload, at most [`MAX_PAYLOAD`] |
//! | 8 | 4 | dst | the context it goes to |
//! | 12 | 4 | src | the context that sent it |
//! | 16 | 4 | auth | the context on whose behalf |
//! | 20 | 4 | handle | what is addressed at dst |
//! | 24 | 4 | reply to | the flow an answer goes to |
//! | 28 | 2 | flags | [`Flags`] |
//! | 30 | 1 | streams | how many flows an `Open` brings beside its own; of a `Dead`, those of the `Open` that comes back |
//! | 31 | 1 | answering | bit n: the n-th of those carries bytes to the opener, not from it |
//! | 32 | 8 | offset | of the payload in its flow; a `Credit`'s new limit; a connect's new context |
//! | 40 | 4 | payload sum | see [`sum_of`]; made by the sender, checked at every hop, passed on as it is |
//! | 44 | 4 | header sum | over the 44 bytes before it and the number of the frame on this link |
//!
//! All numbers are little-endian. Frames are numbered from 0 on each link and in each direction; the number is not sent,
//! but a header sum fits its own number only, so that a lost frame is noticed at the next one.

use crate::id::ContextId;
use crate::id::Handle;
use crate::wire::checksum::header_sum;
use crate::wire::checksum::sum_of;
use alloc::vec::Vec;

/// Length of a header in bytes.
pub const HEADER_LEN: usize = 48;

/// The most a frame carries, in bytes. Larger messages travel as several frames, so that a relay can forward at once
/// and no small message waits behind a large one.
pub const MAX_PAYLOAD: usize = 65_536;

/// From which length on the memory of a payload is used again. A C library that is made small gives memory of this size
/// back to the system at once, and has to clear it when it is asked for more.
pub const RECYCLED: usize = 16 << 10;

/// The version of this layout.
pub const VERSION: u8 = 1;

pub(crate) const MAGIC: u16 = 0x0F5B;

/// What a frame is for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Child to parent, first: versions and limits. Never forwarded.
    Hello = 1,
    /// Parent to child, first: who it is. Never forwarded.
    Boot = 2,
    /// Are you there. Never forwarded.
    Ping = 3,
    /// I am. Never forwarded.
    Pong = 4,
    /// Parent to child: end yourself and everything below. Never forwarded.
    Shutdown = 5,
    /// Child to parent: contexts that came to be or ceased below. Never forwarded.
    Route = 6,
    /// To a neighbour: hold back what goes to these contexts over this link (none named: to any). Never forwarded.
    Choke = 7,
    /// To a neighbour: what was choked may go on. Never forwarded.
    Free = 8,
    /// Parent to child: two contexts may, or may no longer, talk past their ancestors. Never forwarded.
    Pair = 9,
    /// Parent to child: end the link of this context, it broke the rules. Never forwarded.
    Expel = 10,
    /// Parent to child: the root has granted a block of numbers to a context. Never forwarded.
    Grant = 11,
    /// Parent to child: which log records are wanted from now on, from it and from all below it. Never forwarded.
    Filter = 12,
    /// Opens a flow to a service and carries the first bytes of the request.
    Open = 16,
    /// Bytes of a flow.
    Data = 17,
    /// The receiving end of a flow lets the other send up to `offset`.
    Credit = 18,
    /// One end gives a flow up.
    Reset = 19,
    /// A frame of a flow could not be delivered, by the word of a node on its way.
    Dead = 20,
    /// A log record for the root.
    Log = 21,
}

impl Kind {
    pub(crate) fn from_u8(byte: u8) -> Option<Kind> {
        Some(match byte {
            1 => Kind::Hello,
            2 => Kind::Boot,
            3 => Kind::Ping,
            4 => Kind::Pong,
            5 => Kind::Shutdown,
            6 => Kind::Route,
            7 => Kind::Choke,
            8 => Kind::Free,
            9 => Kind::Pair,
            10 => Kind::Expel,
            11 => Kind::Grant,
            12 => Kind::Filter,
            16 => Kind::Open,
            17 => Kind::Data,
            18 => Kind::Credit,
            19 => Kind::Reset,
            20 => Kind::Dead,
            21 => Kind::Log,
            _ => return None,
        })
    }

    /// Whether frames of this kind stay on one link.
    pub fn is_link_local(self) -> bool {
        (self as u8) < Kind::Open as u8
    }
}

/// Bits that qualify a frame.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Flags(pub u16);

impl Flags {
    /// The sender is the end that opened the flow.
    pub const OPENER: Flags = Flags(1);
    /// Nothing follows in this direction of the flow.
    pub const END: Flags = Flags(2);
    /// The payload holds a secret: it is zeroed with its frame, and so is what frames like it are written from.
    pub const SECRET: Flags = Flags(4);
    /// With this its sender has used up its credit.
    pub const FULL: Flags = Flags(8);
    pub(crate) const KNOWN: u16 = 15;

    /// Whether all bits of `other` are set.
    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// These bits and those of `other`, if `condition`.
    #[must_use]
    pub fn with(self, other: Flags, condition: bool) -> Flags {
        if condition { Flags(self.0 | other.0) } else { self }
    }
}

/// Everything a frame says beside its payload. Sequence and check belong to the link and are not here.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// What the frame is for.
    pub kind: Kind,
    /// Qualifying bits.
    pub flags: Flags,
    /// Where it goes.
    pub dst: ContextId,
    /// Who sent it.
    pub src: ContextId,
    /// On whose behalf.
    pub auth: ContextId,
    /// What is addressed at `dst`.
    pub handle: Handle,
    /// The flow an answer goes to; in a `Dead`, the context that could not be reached.
    pub reply_to: Handle,
    /// How many further flows, each of one direction, an `Open` brings.
    pub streams: u8,
    /// Bit n: the n-th of them carries bytes to the opener, not from it.
    pub answering: u8,
    /// Stream offset, credit limit, or new context: see the table above.
    pub offset: u64,
}

impl Header {
    /// A header of `kind` from `src` on its own behalf, all else empty.
    pub fn new(kind: Kind, src: ContextId, dst: ContextId) -> Header {
        Header {
            kind,
            flags: Flags::default(),
            dst,
            src,
            auth: src,
            handle: Handle::NONE,
            reply_to: Handle::NONE,
            streams: 0,
            answering: 0,
            offset: 0,
        }
    }
}

/// A header with its payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// The header.
    pub header: Header,
    /// At most [`MAX_PAYLOAD`] bytes.
    pub payload: Vec<u8>,
    pub(crate) sum: u32,
}

impl Frame {
    /// A frame made here.
    pub fn new(header: Header, payload: Vec<u8>) -> Frame {
        let sum = sum_of(&payload);
        Frame { header, payload, sum }
    }

    /// How many bytes it takes on a link.
    pub fn size(&self) -> usize {
        HEADER_LEN + self.payload.len()
    }

    /// Appends the frame to `out` as it goes over the link.
    pub fn encode(&self, sequence: u32, out: &mut Vec<u8>) {
        encode_with(&self.header, &self.payload, self.sum, sequence, out);
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        if self.header.flags.has(Flags::SECRET) {
            offshoot_codec::zero(&mut self.payload);
        }
    }
}

/// Appends a frame to `out` as it goes over the link, as the frame of that number.
pub fn encode(header: &Header, payload: &[u8], sequence: u32, out: &mut Vec<u8>) {
    encode_with(header, payload, sum_of(payload), sequence, out);
}

fn encode_with(header: &Header, payload: &[u8], sum: u32, sequence: u32, out: &mut Vec<u8>) {
    debug_assert!(payload.len() <= MAX_PAYLOAD);
    let start = out.len();
    out.reserve(HEADER_LEN + payload.len());
    out.extend_from_slice(&MAGIC.to_le_bytes());
    out.extend_from_slice(&[VERSION, header.kind as u8]);
    for word in [
        payload.len() as u32,
        header.dst.0,
        header.src.0,
        header.auth.0,
        header.handle.0,
        header.reply_to.0,
        u32::from(header.flags.0) | u32::from(header.streams) << 16 | u32::from(header.answering) << 24,
    ] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(&header.offset.to_le_bytes());
    out.extend_from_slice(&sum.to_le_bytes());
    let header_sum = header_sum(&out[start..], sequence);
    out.extend_from_slice(&header_sum.to_le_bytes());
    out.extend_from_slice(payload);
}

pub(crate) const SEED: u64 = 0x9E37_79B9_7F4A_7C15;
