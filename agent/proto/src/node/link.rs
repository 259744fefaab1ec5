//! Link of a node to a neighbour: decoder, send queue, early frames, and the state of the
//! neighbour.

use crate::id::ContextId;
use crate::id::FlowKey;
use crate::id::LinkId;
use crate::node::keepalive::Keepalive;
use crate::node::ledger::Ledger;
use crate::node::rate_limit::RateLimit;
use crate::node::send_queue::Paused;
use crate::node::send_queue::Pushed;
use crate::node::send_queue::Queued;
use crate::node::send_queue::SendQueue;
use crate::node::throttled_peer::ThrottledPeer;
use crate::wire::Decoder;
use crate::wire::Flags;
use crate::wire::Frame;
use crate::wire::Header;
use crate::wire::RECYCLED;
use alloc::vec::Vec;

/// Maximum number of bytes sent to a child before its hello. They are kept, because a new attempt
/// of its bootstrap needs them again.
const EARLY_LIMIT: usize = 128 << 10;

/// Maximum number of bytes queued for a child that is still connecting.
const CONNECTING_LIMIT: usize = 4 << 20;

/// Maximum number of bytes queued for a child that is up. Back-pressure sets in long before.
const QUEUE_LIMIT: usize = 64 << 20;

/// Maximum number of payload buffers kept for reuse.
pub(crate) const USED: usize = 2;

/// Link of a node to a neighbour.
pub(crate) struct Link {
    /// Child at the other end; `None` for the link to the parent.
    pub child: Option<ContextId>,
    /// Authority of the neighbour, if not its own.
    pub authority: Option<ContextId>,
    /// Decoder of received bytes.
    pub decoder: Decoder,
    /// True if the neighbour has said hello and was answered.
    pub up: bool,
    /// True if the neighbour has said hello.
    pub said_hello: bool,
    /// True if the link is about to be closed; its frames are ignored.
    pub closing: bool,
    /// Number of protocol violations.
    pub offences: u32,
    /// Number of refused flows.
    pub refusals: u32,
    /// Number of open requests from contexts that are not obeyed.
    pub unprivileged_flows: u32,
    /// Account of the bytes held for these requests.
    pub ledger: Ledger,
    /// Frames to send.
    pub queue: SendQueue,
    /// Destinations that the neighbour has paused (`Choke`).
    pub choked: Paused,
    /// Neighbours that were asked to pause frames for this link.
    pub throttled: Vec<ThrottledPeer>,
    /// Flows of this node that wait for room.
    pub waiting: Vec<FlowKey>,
    /// True if waiting flows or paused neighbours may be resumed once the link has room. Those for
    /// destinations that the neighbour has paused are not looked at before it resumes them.
    pub may_resume: bool,
    /// Bytes queued anywhere in this node because of frames from this link.
    pub bytes_attributed: usize,
    /// True if the owner does not read the link for now.
    pub paused: bool,
    /// Heartbeat state, if there are heartbeats.
    pub keepalive: Option<Keepalive>,
    /// True if the neighbour has announced a stop of its process.
    pub resting: bool,
    /// Rate limit for log records.
    pub logs: RateLimit,
    /// Rate limit for blocks of context numbers.
    pub numbers: RateLimit,
    /// Number of log records that did not fit the queue and were not reported yet.
    pub lost_logs: u32,
    early: Vec<Frame>,
    early_bytes: usize,
    sequence: u32,
}

impl Link {
    /// Creates the link to a child, or to the parent if `None`.
    pub(crate) fn new(child: Option<ContextId>) -> Self {
        Self {
            child,
            authority: None,
            decoder: Decoder::default(),
            up: child.is_none(),
            said_hello: false,
            closing: false,
            offences: 0,
            refusals: 0,
            unprivileged_flows: 0,
            ledger: Ledger::default(),
            queue: SendQueue::default(),
            choked: Paused::default(),
            throttled: Vec::new(),
            waiting: Vec::new(),
            may_resume: false,
            bytes_attributed: 0,
            paused: false,
            keepalive: None,
            resting: false,
            logs: RateLimit::default(),
            numbers: RateLimit::default(),
            lost_logs: 0,
            early: Vec::new(),
            early_bytes: 0,
            sequence: 0,
        }
    }

    /// Queues a frame. Returns it if the queue is full.
    // Not inlined, because that adds 280 bytes to an image.
    #[inline(never)]
    pub(crate) fn push(&mut self, from: Option<LinkId>, frame: Frame) -> Result<Pushed, Frame> {
        let limit = if self.up {
            QUEUE_LIMIT
        } else {
            CONNECTING_LIMIT
        };
        if self.queued() + frame.size() > limit && !frame.header.kind.is_link_local() {
            return Err(frame);
        }
        Ok(self.queue.push(from, frame))
    }

    /// Moves frames into `out` until it holds at least `enough` bytes. Reports the origin and size
    /// of each to `passed`. Returns true if any holds a secret.
    pub(crate) fn transmit(
        &mut self,
        out: &mut Vec<u8>,
        enough: usize,
        passed: &mut dyn FnMut(LinkId, usize),
        used: &mut Vec<Vec<u8>>,
        mut shown: Option<&mut Vec<(Header, usize)>>,
    ) -> bool {
        let mut secret = false;
        while out.len() < enough && (self.up || self.early_bytes < EARLY_LIMIT) {
            let Some(Queued { from, mut frame }) = self.queue.pop(&self.choked) else {
                break;
            };
            if let Some(shown) = &mut shown {
                shown.push((frame.header, frame.payload.len()));
            }
            secret |= frame.header.flags.has(Flags::SECRET);
            if secret {
                offshoot_codec::reserve(out, frame.size());
            }
            frame.encode(self.sequence, out);
            self.sequence = self.sequence.wrapping_add(1);
            if let Some(from) = from {
                passed(from, frame.size());
            }
            if !self.up {
                self.early_bytes += frame.size();
                self.early.push(frame);
            } else if frame.payload.capacity() >= RECYCLED && used.len() < USED && !secret {
                frame.payload.clear();
                used.push(core::mem::take(&mut frame.payload));
            }
        }
        secret
    }

    /// Returns the number of bytes queued.
    pub(crate) fn queued(&self) -> usize {
        self.queue.urgent + self.queue.bulk
    }

    /// Records that the child has said hello, so that everything sent has arrived.
    pub(crate) fn is_up(&mut self) {
        self.up = true;
        self.early.clear();
        self.early_bytes = 0;
    }

    /// Records a new attempt of the child's bootstrap, to which early frames are sent again.
    pub(crate) fn restart(&mut self) {
        self.sequence = 0;
        self.decoder = Decoder::default();
        self.said_hello = false;
        self.early_bytes = 0;
        for frame in self.early.drain(..).rev() {
            self.queue.push_first(frame);
        }
    }

    /// Removes and returns all frames that are queued or may not have arrived, oldest first.
    pub(crate) fn take_all(&mut self) -> Vec<Queued> {
        let early = core::mem::take(&mut self.early);
        let mut all: Vec<Queued> = early
            .into_iter()
            .map(|frame| Queued { from: None, frame })
            .collect();
        all.extend(self.queue.drain());
        all
    }
}
