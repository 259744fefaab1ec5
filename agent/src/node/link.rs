//! What waits to go out over one link: control first, then the flows in turn.

use crate::id::{ContextId, Handle};
use crate::wire::{Decoder, Flags, Frame, HEADER_LEN, Kind, encode};
use std::collections::VecDeque;

/// How many bytes may go to a child before it has said hello, kept so that they can go again when its bootstrap has to
/// start anew.
const EARLY_LIMIT: usize = 128 << 10;
/// How many bytes may wait for a child that is still connecting.
const CONNECTING_LIMIT: usize = 4 << 20;

/// What tells one flow from another on a link.
type Lane = (ContextId, ContextId, Handle, bool);

/// Frames of one flow, in order.
struct Queue {
    lane: Lane,
    frames: VecDeque<Frame>,
}

/// One link of a node.
pub(super) struct Link {
    /// The child at its other end; none for the link to the parent.
    pub child: Option<ContextId>,
    /// What has come.
    pub decoder: Decoder,
    /// Whether the other end has said hello.
    pub up: bool,
    /// How many forged or senseless frames it has brought.
    pub offences: u32,
    /// How many flows it was refused.
    pub refusals: u32,
    control: VecDeque<Frame>,
    bulk: VecDeque<Queue>,
    early: Vec<Frame>,
    queued: usize,
    sequence: u32,
}

impl Link {
    pub fn new(child: Option<ContextId>) -> Link {
        Link {
            child,
            decoder: Decoder::default(),
            up: child.is_none(),
            offences: 0,
            refusals: 0,
            control: VecDeque::new(),
            bulk: VecDeque::new(),
            early: Vec::new(),
            queued: 0,
            sequence: 0,
        }
    }

    /// Takes a frame, or gives it back where a connecting child has too much waiting.
    pub fn push(&mut self, frame: Frame) -> Result<(), Frame> {
        let size = HEADER_LEN + frame.payload.len();
        if !self.up && self.queued + size > CONNECTING_LIMIT {
            return Err(frame);
        }
        self.queued += size;
        let header = &frame.header;
        if !matches!(header.kind, Kind::Data | Kind::Reset) {
            self.control.push_back(frame);
            return Ok(());
        }
        let lane = (header.src, header.dst, header.handle, header.flags.has(Flags::OPENER));
        match self.bulk.iter_mut().find(|queue| queue.lane == lane) {
            Some(queue) => queue.frames.push_back(frame),
            None => self.bulk.push_back(Queue { lane, frames: VecDeque::from([frame]) }),
        }
        Ok(())
    }

    /// Takes a frame that has to go before all others.
    pub fn push_first(&mut self, frame: Frame) {
        self.queued += HEADER_LEN + frame.payload.len();
        self.control.push_front(frame);
    }

    fn pop(&mut self) -> Option<Frame> {
        let frame = self.control.pop_front().or_else(|| {
            let mut queue = self.bulk.pop_front()?;
            let frame = queue.frames.pop_front();
            if !queue.frames.is_empty() {
                self.bulk.push_back(queue);
            }
            frame
        })?;
        self.queued -= HEADER_LEN + frame.payload.len();
        Some(frame)
    }

    /// Moves frames into `out` until it holds at least `enough` bytes. Whether secrets were among them.
    pub fn transmit(&mut self, out: &mut Vec<u8>, enough: usize) -> bool {
        let mut secret = false;
        while out.len() < enough {
            if !self.up
                && self.early.iter().map(|frame| HEADER_LEN + frame.payload.len()).sum::<usize>()
                    >= EARLY_LIMIT
            {
                break;
            }
            let Some(frame) = self.pop() else { break };
            encode(&frame.header, &frame.payload, self.sequence, out);
            self.sequence = self.sequence.wrapping_add(1);
            secret |= frame.header.flags.has(Flags::SECRET);
            if !self.up {
                self.early.push(frame);
            }
        }
        secret
    }

    /// How many bytes wait.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// The child has said hello: what was sent has arrived.
    pub fn is_up(&mut self) {
        self.up = true;
        self.early.clear();
    }

    /// The child's bootstrap starts anew: what was sent goes again.
    pub fn restart(&mut self) {
        self.sequence = 0;
        self.decoder = Decoder::default();
        for frame in self.early.drain(..).rev() {
            self.queued += HEADER_LEN + frame.payload.len();
            self.control.push_front(frame);
        }
    }

    /// All that waited or was sent without being heard of, oldest first.
    pub fn take_all(&mut self) -> Vec<Frame> {
        let mut all: Vec<Frame> = self.early.drain(..).chain(self.control.drain(..)).collect();
        for queue in self.bulk.drain(..) {
            all.extend(queue.frames);
        }
        self.queued = 0;
        all
    }
}
