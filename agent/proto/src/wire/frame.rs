//! Frames: a header of 48 bytes and a payload of at most 64 KiB.
//!
//! Encoding is pure and knows nothing of routes.
//!
//! | offset | bytes | field | notes |
//! |---|---|---|---|
//! | 0 | 2 | magic | 0x0F5B; other values mean a damaged stream |
//! | 2 | 1 | version | 1 |
//! | 3 | 1 | kind | [`Kind`] |
//! | 4 | 4 | length | of the payload, at most [`MAX_PAYLOAD`] |
//! | 8 | 4 | dst | destination context |
//! | 12 | 4 | src | source context |
//! | 16 | 4 | auth | context on whose behalf the source acts |
//! | 20 | 4 | handle | service or flow at the destination |
//! | 24 | 4 | reply to | flow for the answer; `Dead`: the unreachable context |
//! | 28 | 2 | flags | [`Flags`] |
//! | 30 | 1 | streams | additional flows of an `Open`, or of an `Open` that a `Dead` returns |
//! | 31 | 1 | answering | bit n is set if additional flow n carries bytes to the opener |
//! | 32 | 8 | offset | in the flow; `Credit`: new limit; connect: new context |
//! | 40 | 4 | payload sum | see [`sum_of`]; from the source, checked and forwarded by relays |
//! | 44 | 4 | header sum | of the 44 bytes before it and the number of the frame on its link |
//!
//! Numbers are little-endian. The frames of each direction of a link are numbered from 0. The
//! number is not sent, but a header sum is right for one number only, so that the frame after a
//! lost one reveals the loss.

use crate::id::ContextId;
use crate::id::Handle;
use crate::wire::checksum::header_sum;
use crate::wire::checksum::sum_of;
use alloc::vec::Vec;

/// Length of a header in bytes.
pub const HEADER_LEN: usize = 48;

/// Maximum length of a payload in bytes. Longer messages take several frames, so that relays can
/// forward early and short messages do not wait behind long ones.
pub const MAX_PAYLOAD: usize = 65_536;

/// Length in bytes from which on a payload's buffer is reused. Small allocators return buffers of
/// this size to the system at once, and must clear new ones.
pub(crate) const RECYCLED: usize = 16 << 10;

/// Wire version.
pub const VERSION: u8 = 1;

/// First two bytes of every frame.
pub(crate) const MAGIC: u16 = 0x0F5B;

/// The neighbour from which a link-local frame is accepted.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Giver {
    /// The parent only.
    Parent,
    /// A child only.
    Child,
    /// Either end of the link.
    Either,
}

/// The nodes that frames of a kind reach.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Scope {
    /// The frame concerns one link and is never forwarded; accepted from this neighbour only.
    Link(Giver),
    /// The frame is forwarded to its destination.
    Routed,
}

/// The part of a link's send queue in which frames of a kind wait.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Lane {
    /// Before all flows.
    Control,
    /// Among the other flows, in turn with them.
    Flow,
    /// Before all flows, unless frames that must not overtake it follow in other lanes.
    Opening,
}

/// Defines [`Kind`] and everything that is known of a kind, from one row for each.
macro_rules! kinds {
    ($($name:ident $number:literal $scope:expr, $lane:ident, $purpose:literal;)*) => {
        /// The purpose of a frame.
        #[derive(Copy, Clone, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Kind {
            $(#[doc = $purpose] $name = $number,)*
        }

        impl Kind {
            /// Every kind, in the order of the table.
            pub const ALL: &[Kind] = &[$(Kind::$name),*];

            /// Returns the kind with this number on the wire.
            pub(crate) fn from_u8(number: u8) -> Option<Kind> {
                match number {
                    $($number => Some(Kind::$name),)*
                    _ => None,
                }
            }

            /// Returns the nodes that frames of this kind reach.
            pub fn scope(self) -> Scope {
                use Giver::{Child, Either, Parent};
                use Scope::{Link, Routed};
                match self {
                    $(Kind::$name => $scope,)*
                }
            }

            /// Returns the part of a send queue in which frames of this kind wait.
            pub fn lane(self) -> Lane {
                match self {
                    $(Kind::$name => Lane::$lane,)*
                }
            }
        }
    };
}

// A new kind is a row at the end of this table, and its handling in `node/dispatch.rs`. Recorded
// inputs of the simulator and the fuzzers name a kind by its row.
kinds! {
    Hello    1 Link(Child),  Control, "Versions and limits; the first frame of a child.";
    Boot     2 Link(Parent), Control, "Identity of the child; the first frame of a parent.";
    Ping     3 Link(Either), Control, "Asks for a `Pong`.";
    Pong     4 Link(Either), Control, "Answers a `Ping`.";
    Shutdown 5 Link(Parent), Control, "Ends the child and everything below it.";
    Route    6 Link(Child),  Control, "Reports contexts added or removed below the child.";
    Open    16 Routed,       Opening, "Opens a flow to a service; carries the first bytes of the request.";
    Data    17 Routed,       Flow,    "Carries bytes of a flow.";
    Credit  18 Routed,       Control, "Allows the peer of a flow to send up to `offset`.";
    Reset   19 Routed,       Control, "Cancels a flow from one of its ends.";
    Dead    20 Routed,       Control, "Reports, from a node on the path, that a frame was undeliverable.";
    Log     21 Routed,       Flow,    "Carries a log record to the root.";
    Choke    7 Link(Either), Control, "Pauses frames to these contexts over this link; to all if none is named.";
    Free     8 Link(Either), Control, "Resumes frames that a `Choke` paused.";
    Pair     9 Link(Parent), Control, "Allows or forbids two contexts to talk past their ancestors.";
    Expel   10 Link(Parent), Control, "Ends the link of a context that violated the protocol.";
    Grant   11 Link(Parent), Control, "Grants a block of context numbers to a context.";
    Filter  12 Link(Parent), Control, "Sets the log filter of the child and of everything below it.";
}

impl Kind {
    /// Returns true if frames of this kind are never forwarded.
    pub fn is_link_local(self) -> bool {
        self.scope() != Scope::Routed
    }
}

/// Flags of a frame.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Flags(pub u16);

impl Flags {
    /// The opener of the flow has sent the frame.
    pub const OPENER: Self = Self(1);
    /// The last frame in this direction of the flow.
    pub const END: Self = Self(2);
    /// The payload holds a secret: it and all buffers with copies of it are zeroed after use.
    pub const SECRET: Self = Self(4);
    /// The sender has used up its credit with this frame.
    pub const FULL: Self = Self(8);
    /// All flags of this version.
    pub(crate) const KNOWN: u16 = 15;

    /// Returns true if all flags of `other` are set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns these flags, and those of `other` if `condition`.
    #[must_use]
    pub fn with(self, other: Self, condition: bool) -> Self {
        if condition {
            Self(self.0 | other.0)
        } else {
            self
        }
    }
}

/// The header of a frame, without checksums.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// Kind.
    pub kind: Kind,
    /// Flags.
    pub flags: Flags,
    /// Destination.
    pub dst: ContextId,
    /// Source.
    pub src: ContextId,
    /// Context on whose behalf the source acts.
    pub auth: ContextId,
    /// Service or flow at the destination.
    pub handle: Handle,
    /// Flow for the answer; in a `Dead`, the unreachable context.
    pub reply_to: Handle,
    /// Number of additional flows, each of one direction, of an `Open`.
    pub streams: u8,
    /// Bit n is set if the n-th additional flow carries bytes to the opener.
    pub answering: u8,
    /// Offset, credit limit or new context; see the table of this module.
    pub offset: u64,
}

impl Header {
    /// Creates a header of `kind` from `src` on its own behalf, with all other fields empty.
    pub fn new(kind: Kind, src: ContextId, dst: ContextId) -> Self {
        Self {
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
    /// Header.
    pub header: Header,
    /// Payload of at most [`MAX_PAYLOAD`] bytes.
    pub payload: Vec<u8>,
    /// Checksum of the payload.
    pub(crate) sum: u32,
}

impl Frame {
    /// Creates a frame and computes its checksum.
    pub fn new(header: Header, payload: Vec<u8>) -> Self {
        let sum = sum_of(&payload);
        Self {
            header,
            payload,
            sum,
        }
    }

    /// Returns the size on a link in bytes.
    pub fn size(&self) -> usize {
        HEADER_LEN + self.payload.len()
    }

    /// Appends the encoded frame to `out`, as number `sequence` of its link.
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

/// Appends an encoded frame to `out`, as number `sequence` of its link.
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
        u32::from(header.flags.0)
            | u32::from(header.streams) << 16
            | u32::from(header.answering) << 24,
    ] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(&header.offset.to_le_bytes());
    out.extend_from_slice(&sum.to_le_bytes());
    let header_sum = header_sum(&out[start..], sequence);
    out.extend_from_slice(&header_sum.to_le_bytes());
    out.extend_from_slice(payload);
}
