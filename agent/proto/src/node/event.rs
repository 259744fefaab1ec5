//! Events that a node reports to its owner.

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

/// Something that the owner of a node must act on.
#[derive(Debug)]
pub enum Event {
    /// A peer has opened a flow to a service. More of its request may follow as [`Event::Data`].
    Opened {
        /// Flow of the request, on which the service answers.
        flow: FlowKey,
        /// Service.
        service: Handle,
        /// Context on whose behalf the peer asks.
        auth: ContextId,
        /// Number of additional flows, whose handles count up from the request's.
        streams: u8,
        /// For a connect: the new context and its link, which may have frames queued already.
        child: Option<(ContextId, LinkId)>,
        /// First bytes of the request.
        bytes: Vec<u8>,
        /// True if the request is complete.
        end: bool,
    },
    /// Bytes of a flow have arrived. They count against the window until
    /// [`Node::consume`](crate::node::Node::consume).
    Data {
        /// Flow.
        flow: FlowKey,
        /// Bytes.
        bytes: Vec<u8>,
        /// True if the peer sends nothing more.
        end: bool,
    },
    /// A flow that could not send may send again.
    Room(FlowKey),
    /// A flow was closed early. The node has forgotten it.
    Closed {
        /// Flow.
        flow: FlowKey,
        /// Reason.
        letter: DeadLetter,
    },
    /// The parent has sent this node's identity, which is in effect already.
    Boot(BootInfo),
    /// A link-local frame has arrived.
    Control {
        /// Link.
        link: LinkId,
        /// `Hello`, `Ping`, `Pong`, `Shutdown` or `Filter`.
        kind: Kind,
        /// Payload.
        bytes: Vec<u8>,
    },
    /// A log record has arrived from below.
    Log {
        /// Context that has logged it.
        from: ContextId,
        /// Encoded record.
        bytes: Vec<u8>,
    },
    /// A link must be closed: it brought damaged or forged frames, or nothing for too long. Its
    /// frames are ignored from now on.
    Broken {
        /// Link.
        link: LinkId,
        /// [`Reason::Lost`], [`Reason::Violation`] or [`Reason::Silent`].
        reason: Reason,
        /// Description of the failure.
        why: String,
    },
    /// The owner must stop reading this link, because too much is queued because of it.
    Pause(LinkId),
    /// The owner may read this link again.
    Resume(LinkId),
    /// Contexts were lost.
    Gone(Vec<ContextId>),
    /// A message for the log of this process.
    Say(Level, String),
    /// A frame was sent or received; only after
    /// [`Node::show_frames`](crate::node::Node::show_frames).
    Frame(ShownFrame),
}

/// A frame that was sent or received, without its payload.
#[derive(Copy, Clone, Debug)]
pub struct ShownFrame {
    /// True if the frame was received, false if it was sent.
    pub came: bool,
    /// Link.
    pub link: LinkId,
    /// Header.
    pub header: Header,
    /// Length of the payload in bytes.
    pub length: usize,
}
