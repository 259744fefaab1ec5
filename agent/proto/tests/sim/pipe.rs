//! One direction of a link: like a pipe it has a capacity, and like a network it has latency.

use super::plan::Wire;
use std::collections::VecDeque;

/// The end of a frame under way. When a call's end is read, the call waits at the reader for the
/// next link.
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    pub end: u64,
    /// Caller, flow and callee of a call; none for other frames.
    pub call: Option<(u32, u32, u32)>,
}

/// One direction of a link.
pub(crate) struct Pipe {
    wire: Wire,
    chunks: VecDeque<(u64, Vec<u8>)>,
    /// Read position in the first chunk.
    at: usize,
    inside: usize,
    clear_at: u64,
    pub stalled_until: u64,
    stalled_from: u64,
    /// Flip or loss for the next bytes written.
    pub flip: Option<u32>,
    pub drop: u32,
    /// True if no more bytes are accepted.
    pub closed: bool,
    /// True if a `Carry` is on the agenda.
    pub scheduled: bool,
    /// True if the reader is paused.
    pub paused: bool,
    pub marks: VecDeque<Mark>,
    /// Bytes that have left the writer's node, and bytes that the reader's node has received.
    pub written: u64,
    pub read: u64,
    /// End of the last frame that was read completely.
    pub whole: u64,
}

impl Pipe {
    pub(crate) fn new(wire: Wire) -> Self {
        Self {
            wire,
            chunks: VecDeque::new(),
            at: 0,
            inside: 0,
            clear_at: 0,
            stalled_until: 0,
            stalled_from: 0,
            flip: None,
            drop: 0,
            closed: false,
            scheduled: false,
            paused: false,
            marks: VecDeque::new(),
            written: 0,
            read: 0,
            whole: 0,
        }
    }

    /// Returns the number of bytes that may be written. Like a kernel, does not wake a writer for a
    /// few.
    pub(crate) fn room(&self) -> usize {
        let capacity = self.wire.capacity as usize;
        let room = capacity.saturating_sub(self.inside);
        if self.closed || room < capacity / 4 {
            0
        } else {
            room
        }
    }

    /// Takes at most [`Pipe::room`] bytes. Returns true if they were damaged.
    pub(crate) fn write(&mut self, now: u64, bytes: &[u8]) -> bool {
        let mut bytes = bytes.to_vec();
        let lost = bytes.len().min(self.drop as usize);
        let mut damaged = lost > 0;
        bytes.drain(..lost);
        self.drop -= lost as u32;
        if let Some(bit) = self.flip.filter(|_| !bytes.is_empty()) {
            let at = bit as usize % (bytes.len() * 8);
            bytes[at / 8] ^= 1 << (at % 8);
            self.flip = None;
            damaged = true;
        }
        if !bytes.is_empty() {
            let takes = bytes.len() as u64 * u64::from(self.wire.us_per_kib) / 1024;
            self.clear_at = self.clear_at.max(now) + takes;
            self.inside += bytes.len();
            self.chunks
                .push_back((self.clear_at + u64::from(self.wire.latency_us), bytes));
        }
        damaged
    }

    /// Delivers nothing before `until`. Returns the length of the stall.
    pub(crate) fn stall(&mut self, now: u64, until: u64) -> u64 {
        if self.stalled_until <= now {
            self.stalled_from = now;
        }
        self.stalled_until = self.stalled_until.max(until);
        self.stalled_until - self.stalled_from
    }

    /// Returns the time at which bytes can be read, if there will be any.
    pub(crate) fn ready_at(&self) -> Option<u64> {
        self.chunks
            .front()
            .map(|(ready, _)| (*ready).max(self.stalled_until))
    }

    /// Returns at most `limit` of the bytes that have arrived.
    pub(crate) fn take(&mut self, now: u64, limit: usize) -> Vec<u8> {
        let mut taken = Vec::new();
        while taken.len() < limit {
            let Some((ready, chunk)) = self.chunks.front() else {
                break;
            };
            if *ready > now {
                break;
            }
            let piece = (chunk.len() - self.at).min(limit - taken.len());
            taken.extend_from_slice(&chunk[self.at..self.at + piece]);
            self.at += piece;
            if self.at == chunk.len() {
                self.chunks.pop_front();
                self.at = 0;
            }
        }
        self.inside -= taken.len();
        self.read += taken.len() as u64;
        taken
    }

    /// Accepts no more bytes, and delivers only `keep` percent of those inside.
    pub(crate) fn cut(&mut self, keep: u32) {
        self.closed = true;
        let mut left = self.inside * keep as usize / 100;
        let mut at = self.at;
        for (_, chunk) in &mut self.chunks {
            let stays = (chunk.len() - at).min(left);
            chunk.truncate(at + stays);
            left -= stays;
            at = 0;
        }
        if self
            .chunks
            .front()
            .is_some_and(|(_, chunk)| chunk.len() == self.at)
        {
            self.at = 0;
            self.chunks.pop_front();
        }
        self.chunks.retain(|(_, chunk)| !chunk.is_empty());
        self.inside = self
            .chunks
            .iter()
            .map(|(_, chunk)| chunk.len())
            .sum::<usize>()
            - self.at;
    }
}
