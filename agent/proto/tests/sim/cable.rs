//! A link: two pipes, the bytes that wait for them, and counters.

use super::pipe::{Mark, Pipe};
use super::place::{Glance, forged};
use super::plan::{Forgery, Wire};
use offshoot_proto::LinkId;
use offshoot_proto::wire::{Decoder, Frame, encode};
use std::collections::BTreeMap;

/// From parent to child.
pub(crate) const DOWN: usize = 0;
/// From child to parent.
pub(crate) const UPWARD: usize = 1;

/// Bytes of a node that no pipe has accepted yet: whole frames, the first of which may have gone in
/// part.
#[derive(Default)]
pub(crate) struct Out {
    pub bytes: Vec<u8>,
    pub at: usize,
}

impl Out {
    pub(crate) fn rest(&self) -> usize {
        self.bytes.len() - self.at
    }
}

/// Renumbers the frames of a direction, so that frames can be inserted or held back.
#[derive(Default)]
pub(crate) struct Rewriter {
    decoder: Decoder,
    sequence: u32,
    /// Bytes of bulk data that must go before each call. Used to test the tests.
    delay: u64,
    held: Vec<(u64, Frame)>,
}

impl Rewriter {
    pub(crate) fn delaying(delay: u64) -> Self {
        Self {
            delay,
            ..Self::default()
        }
    }

    fn put(&mut self, frame: &Frame, out: &mut Vec<u8>) {
        encode(&frame.header, &frame.payload, self.sequence, out);
        self.sequence = self.sequence.wrapping_add(1);
    }

    fn rewrite(&mut self, bulk: u64, bytes: &mut Vec<u8>) {
        let taken = std::mem::take(bytes);
        let mut rest = taken.as_slice();
        let mut bulk = bulk;
        while let Ok(Some(frame)) = self.decoder.next_frame(&mut rest) {
            let mut one = Vec::new();
            encode(&frame.header, &frame.payload, 0, &mut one);
            let glance = Glance::at(&one);
            if self.delay > 0 && glance.is_call() {
                self.held.push((bulk + self.delay, frame));
                continue;
            }
            bulk += if glance.is_bulk() {
                glance.size as u64
            } else {
                0
            };
            self.put(&frame, bytes);
            let (due, held) = std::mem::take(&mut self.held)
                .into_iter()
                .partition(|(at, _)| *at <= bulk);
            self.held = held;
            for (_, frame) in due {
                self.put(&frame, bytes);
            }
        }
    }
}

/// State of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// The parent waits for a hello.
    Connecting,
    Up,
    /// The parent was told that the link is lost.
    Gone,
}

/// A link.
pub(crate) struct Cable {
    pub parent: u32,
    pub link: LinkId,
    pub child: u32,
    pub wire: Wire,
    pub state: State,
    /// True if the agent reads.
    pub reading: bool,
    /// True if bytes were flipped or lost.
    pub damaged: bool,
    /// True if the link stalled for so long that an end may have given up the other.
    pub stood: bool,
    pub out: [Out; 2],
    pub pipes: [Pipe; 2],
    pub rewriters: [Option<Rewriter>; 2],
    /// Bytes of bulk data that have entered each pipe, and their number when each pending call was
    /// queued.
    pub bulk: [u64; 2],
    pub waiting: [BTreeMap<(u32, u32), u64>; 2],
}

impl Cable {
    pub(crate) fn new(parent: u32, link: LinkId, child: u32, wire: Wire) -> Self {
        Self {
            parent,
            link,
            child,
            wire,
            state: State::Connecting,
            reading: false,
            damaged: false,
            stood: false,
            out: Default::default(),
            pipes: [Pipe::new(wire), Pipe::new(wire)],
            rewriters: [None, None],
            bulk: [0; 2],
            waiting: Default::default(),
        }
    }

    /// Restarts the bootstrap: bytes to the old program are lost.
    pub(crate) fn restart(&mut self) {
        self.pipes[DOWN] = Pipe::new(self.wire);
        self.out[DOWN] = Out::default();
        if let Some(rewriter) = &mut self.rewriters[DOWN] {
            *rewriter = Rewriter::delaying(rewriter.delay);
        }
    }

    /// Inspects frames that have left a node. Returns the most bytes of bulk data that one of their
    /// calls had to wait for.
    pub(crate) fn look(&mut self, direction: usize) -> u64 {
        let bytes = &mut self.out[direction].bytes;
        if let Some(rewriter) = &mut self.rewriters[direction] {
            rewriter.rewrite(self.bulk[direction], bytes);
        }
        let (mut at, mut most) = (0, 0);
        while at < bytes.len() {
            let glance = Glance::at(&bytes[at..]);
            at += glance.size;
            self.bulk[direction] += if glance.is_bulk() {
                glance.size as u64
            } else {
                0
            };
            if glance.is_call()
                && let Some(queued) = self.waiting[direction].remove(&(glance.src, glance.reply_to))
            {
                most = most.max(self.bulk[direction] - queued);
            }
            let pipe = &mut self.pipes[direction];
            pipe.written += glance.size as u64;
            let call = glance
                .is_call()
                .then_some((glance.src, glance.reply_to, glance.dst));
            pipe.marks.push_back(Mark {
                end: pipe.written,
                call,
            });
        }
        most
    }

    /// Inserts a forged frame behind the bytes that wait to go up.
    pub(crate) fn forge(&mut self, frame: &Forgery, mark: &[u8]) {
        let (header, payload) = forged(frame, mark);
        let Some(rewriter) = &mut self.rewriters[UPWARD] else {
            return;
        };
        let bytes = &mut self.out[UPWARD].bytes;
        let before = bytes.len();
        encode(&header, &payload, rewriter.sequence, bytes);
        rewriter.sequence = rewriter.sequence.wrapping_add(1);
        let pipe = &mut self.pipes[UPWARD];
        pipe.written += (bytes.len() - before) as u64;
        pipe.marks.push_back(Mark {
            end: pipe.written,
            call: None,
        });
    }
}
