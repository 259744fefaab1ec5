//! One link of a node: its decoder, its queue, what has to go again when a bootstrap starts anew, and what is known of
//! the neighbour's behaviour.

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

/// How many bytes may go to a child before it has said hello, kept so that they can go again when its bootstrap has to
/// start anew.
const EARLY_LIMIT: usize = 128 << 10;

/// How many bytes may wait for a child that is still connecting.
const CONNECTING_LIMIT: usize = 4 << 20;

/// How many bytes may wait for a child that is up. Neighbours and this node's own flows hold back long before that.
const QUEUE_LIMIT: usize = 64 << 20;

/// How many payloads' memory is kept.
pub const USED: usize = 2;

/// One link of a node.
pub struct Link {
    /// The child at its other end; none for the link to the parent.
    pub child: Option<ContextId>,
    /// Whose authority the neighbour has, where that is not its own.
    pub authority: Option<ContextId>,
    /// What has come.
    pub decoder: Decoder,
    /// Whether the other end has said hello, and was answered.
    pub up: bool,
    /// Whether it has said hello.
    pub greeted: bool,
    /// Whether it is to be closed for what it brought; nothing more is taken from it.
    pub condemned: bool,
    /// How many forged or senseless frames it has brought.
    pub offences: u32,
    /// How many flows it was refused.
    pub refusals: u32,
    /// How many questions from it are open.
    pub questions: u32,
    /// What is held because of them.
    pub ledger: Ledger,
    /// What waits to go out.
    pub lanes: SendQueue,
    /// What the neighbour does not take for now.
    pub choked: Paused,
    /// Who was asked to hold back what goes over this link.
    pub told: Vec<ThrottledPeer>,
    /// Flows of this node that wait for room.
    pub waiting: Vec<FlowKey>,
    /// Whether some of these may go on when it has room. What the neighbour does not take is not looked at until it does.
    pub unsettled: bool,
    /// How many bytes wait anywhere in this node because of what came over this link.
    pub caused: usize,
    /// Whether nothing is read from it for now.
    pub paused: bool,
    /// Whether the neighbour is still there.
    pub heart: Option<Keepalive>,
    /// Whether it has said that its process is about to be stopped.
    pub resting: bool,
    /// What it may log.
    pub logs: RateLimit,
    /// What numbers it may ask for.
    pub numbers: RateLimit,
    /// How many log records did not fit and were not told of yet.
    pub lost_logs: u32,
    early: Vec<Frame>,
    early_bytes: usize,
    sequence: u32,
}

impl Link {
    pub fn new(child: Option<ContextId>) -> Link {
        Link {
            child,
            authority: None,
            decoder: Decoder::default(),
            up: child.is_none(),
            greeted: false,
            condemned: false,
            offences: 0,
            refusals: 0,
            questions: 0,
            ledger: Ledger::default(),
            lanes: SendQueue::default(),
            choked: Paused::default(),
            told: Vec::new(),
            waiting: Vec::new(),
            unsettled: false,
            caused: 0,
            paused: false,
            heart: None,
            resting: false,
            logs: RateLimit::default(),
            numbers: RateLimit::default(),
            lost_logs: 0,
            early: Vec::new(),
            early_bytes: 0,
            sequence: 0,
        }
    }

    /// Takes a frame, or gives it back where too much waits.
    pub fn push(&mut self, from: Option<LinkId>, frame: Frame) -> Result<Pushed, Frame> {
        let limit = if self.up { QUEUE_LIMIT } else { CONNECTING_LIMIT };
        if self.queued() + frame.size() > limit && !frame.header.kind.is_link_local() {
            return Err(frame);
        }
        Ok(self.lanes.push(from, frame))
    }

    /// Moves frames into `out` until it holds at least `enough` bytes; tells `passed` of each whose it was and how long.
    /// Whether secrets were among them.
    pub fn transmit(
        &mut self,
        out: &mut Vec<u8>,
        enough: usize,
        passed: &mut dyn FnMut(LinkId, usize),
        used: &mut Vec<Vec<u8>>,
        mut shown: Option<&mut Vec<(Header, usize)>>,
    ) -> bool {
        let mut secret = false;
        while out.len() < enough && (self.up || self.early_bytes < EARLY_LIMIT) {
            let Some(Queued { from, mut frame }) = self.lanes.pop(&self.choked) else { break };
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

    /// How many bytes wait.
    pub fn queued(&self) -> usize {
        self.lanes.urgent + self.lanes.bulk
    }

    /// The child has said hello: what was sent has arrived.
    pub fn is_up(&mut self) {
        self.up = true;
        self.early.clear();
        self.early_bytes = 0;
    }

    /// The child's bootstrap starts anew: what was sent goes again.
    pub fn restart(&mut self) {
        self.sequence = 0;
        self.decoder = Decoder::default();
        self.greeted = false;
        self.early_bytes = 0;
        for frame in self.early.drain(..).rev() {
            self.lanes.push_first(frame);
        }
    }

    /// All that waited or was sent without being heard of, oldest first.
    pub fn take_all(&mut self) -> Vec<Queued> {
        let early = core::mem::take(&mut self.early);
        let mut all: Vec<Queued> = early.into_iter().map(|frame| Queued { from: None, frame }).collect();
        all.extend(self.lanes.drain());
        all
    }
}
