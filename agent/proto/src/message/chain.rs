//! Chains of calls: the kinds of their records, and the queue of calls that did not run yet.

use crate::message::record::take_record;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use offshoot_codec::MAX_MESSAGE;

/// Record kind: a call, followed by its request.
pub const CALL: u8 = 0;

/// Record kind: forgets an earlier failure.
pub const RESET: u8 = 1;

/// Record kind: cancels the call with the number that follows, counted from 0.
pub const CANCEL: u8 = 2;

/// A queued record of a chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueuedCall {
    /// Number of the call, counted from 0.
    pub number: u32,
    /// [`CALL`], [`RESET`] or [`CANCEL`], or any other number from a faulty peer.
    pub kind: u8,
    /// Content of the record.
    pub content: Vec<u8>,
    /// Time of arrival in milliseconds of the node.
    pub came: u64,
}

/// The queue of one chain, in order of arrival.
#[derive(Default, Debug)]
pub struct CallQueue {
    /// Bytes of an incomplete record.
    partial: Vec<u8>,
    waiting: VecDeque<QueuedCall>,
    /// Length in bytes of the queued contents.
    length: usize,
    next: u32,
}

impl CallQueue {
    /// Takes bytes that arrive at the time `came` while the call `running` runs. Returns true if
    /// they cancel that call.
    ///
    /// # Errors
    /// Returns the length of a record that exceeds the limit.
    pub fn take(&mut self, bytes: &[u8], came: u64, running: Option<u32>) -> Result<bool, usize> {
        self.partial.extend_from_slice(bytes);
        let (mut cancelled, mut at) = (false, 0);
        while let Some((kind, content)) = take_record(&mut self.partial, &mut at, MAX_MESSAGE)? {
            if kind != CANCEL {
                self.length += content.len();
                self.waiting.push_back(QueuedCall {
                    number: self.next,
                    kind,
                    content,
                    came,
                });
                self.next = self.next.wrapping_add(u32::from(kind == CALL));
                continue;
            }
            let number = content.try_into().map_or(u32::MAX, u32::from_le_bytes);
            cancelled |= running == Some(number);
            let theirs = |record: &&mut QueuedCall| record.number == number && record.kind == CALL;
            if let Some(record) = self.waiting.iter_mut().find(theirs) {
                record.kind = CANCEL;
            }
        }
        Ok(cancelled)
    }

    /// Removes and returns the next record.
    pub fn pop(&mut self) -> Option<QueuedCall> {
        let next = self.waiting.pop_front();
        self.length -= next.as_ref().map_or(0, |record| record.content.len());
        next
    }

    /// Returns the length in bytes of the queued contents.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Returns true if no complete record is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns the queued records.
    pub fn iter(&self) -> impl Iterator<Item = &QueuedCall> {
        self.waiting.iter()
    }
}
