use crate::error::dead_letter::DeadLetter;
use crate::error::reason::Reason;
use crate::id::ContextId;
use crate::id::FlowKey;
use crate::id::Handle;
use crate::id::LinkId;
use crate::message::boot::BootInfo;
use crate::wire::Header;
use crate::wire::Kind;
use alloc::string::String;
use alloc::vec::Vec;
use tracing::Level;

/// Something the owner of a node has to act on.
#[derive(Debug)]
pub enum Event {
    /// A peer opened a flow to a service here; the first bytes of its request. More may come as [`Event::Data`].
    Opened {
        /// The flow on which to answer.
        flow: FlowKey,
        /// The service.
        service: Handle,
        /// On whose behalf.
        auth: ContextId,
        /// The further flows it brought: handles count up from the flow's own.
        streams: u8,
        /// For a connect: the new context, and the link that waits for it. Frames for it may be queued there already.
        child: Option<(ContextId, LinkId)>,
        /// The first bytes.
        bytes: Vec<u8>,
        /// Whether these are all.
        end: bool,
    },
    /// Bytes of a flow came; they count as held until [`Node::consume`].
    Data {
        /// The flow.
        flow: FlowKey,
        /// The bytes.
        bytes: Vec<u8>,
        /// Whether these are the last.
        end: bool,
    },
    /// A flow that stood at its limit may go on.
    Room(FlowKey),
    /// A flow is over before its time; it is forgotten here.
    Closed {
        /// The flow.
        flow: FlowKey,
        /// Why.
        letter: DeadLetter,
    },
    /// The parent said who this node is; it has taken the name already.
    Boot(BootInfo),
    /// A frame that concerns the link itself.
    Control {
        /// The link it came over.
        link: LinkId,
        /// `Hello`, `Ping`, `Pong`, `Shutdown` or `Filter`.
        kind: Kind,
        /// Its payload.
        bytes: Vec<u8>,
    },
    /// A log record from below.
    Log {
        /// Whose it is.
        from: ContextId,
        /// The record.
        bytes: Vec<u8>,
    },
    /// A link brought damaged or forged frames, or nothing for too long, and must be closed. Nothing more is taken from it.
    Broken {
        /// The link.
        link: LinkId,
        /// [`Reason::Lost`], [`Reason::Violation`] or [`Reason::Silent`].
        reason: Reason,
        /// What was wrong.
        why: String,
    },
    /// Nothing is to be read from this link for now: too much waits because of it.
    Pause(LinkId),
    /// The link may be read from again.
    Resume(LinkId),
    /// Contexts that are gone, from whatever cause.
    Gone(Vec<ContextId>),
    /// Something for the log of this process.
    Say(Level, String),
    /// A frame came or went; only where [`Node::show_frames`] asks for it.
    Frame(ShownFrame),
}

/// A frame that came or went over a link, without its payload.
#[derive(Copy, Clone, Debug)]
pub struct ShownFrame {
    /// True if it came over the link, false if it left by it.
    pub came: bool,
    /// The link.
    pub link: LinkId,
    /// Its header.
    pub header: Header,
    /// The length of its payload in bytes.
    pub length: usize,
}
