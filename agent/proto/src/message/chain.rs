//! Chains of calls: the kinds of their records, and the queue of the calls that have come and not run.

use crate::message::record::take_record;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use offshoot_codec::MAX_MESSAGE;

/// Kind of a record that is a call; its request follows.
pub const CALL: u8 = 0;

/// Kind of a record that has the chain forget an earlier failure.
pub const RESET: u8 = 1;

/// Kind of a record that cancels the call with the number that follows, counted from 0.
pub const CANCEL: u8 = 2;

/// Record of a chain that waits for the records before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueuedCall {
    /// Number of the call, counted from 0.
    pub number: u32,
    /// [`CALL`], [`RESET`] or [`CANCEL`]; any other number that a peer has sent.
    pub kind: u8,
    /// Content of the record.
    pub content: Vec<u8>,
    /// Time at which the record came, in milliseconds of the node.
    pub came: u64,
}

/// Calls of one chain that have come, in order.
#[derive(Default, Debug)]
pub struct CallQueue {
    /// Bytes that are not a whole record yet.
    partial: Vec<u8>,
    waiting: VecDeque<QueuedCall>,
    /// Length in bytes of the contents that wait.
    length: usize,
    next: u32,
}

impl CallQueue {
    /// Takes bytes that came at the time `came`, while the call `running` runs. Returns true if that call is cancelled.
    ///
    /// # Errors
    /// Returns the length of a record that is longer than any may be.
    pub fn take(&mut self, bytes: &[u8], came: u64, running: Option<u32>) -> Result<bool, usize> {
        self.partial.extend_from_slice(bytes);
        let (mut cancelled, mut at) = (false, 0);
        while let Some((kind, content)) = take_record(&mut self.partial, &mut at, MAX_MESSAGE)? {
            if kind != CANCEL {
                self.length += content.len();
                self.waiting.push_back(QueuedCall { number: self.next, kind, content, came });
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

    /// Returns the length in bytes of the contents that wait.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Returns true if no whole record waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns the records that wait.
    pub fn iter(&self) -> impl Iterator<Item = &QueuedCall> {
        self.waiting.iter()
    }
}
