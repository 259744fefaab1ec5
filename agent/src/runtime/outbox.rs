use offshoot_codec::Blob;
use std::collections::VecDeque;

/// A message that waits for credit.
pub(crate) struct Chunk {
    pub(crate) bytes: Blob,
    pub(crate) secret: bool,
}

impl Chunk {
    /// Overwrites a secret, if this is its only copy.
    pub(crate) fn wipe(&mut self) {
        if self.secret {
            self.bytes.wipe();
        }
    }
}

/// The bytes of a flow that wait for credit.
#[derive(Default)]
pub(crate) struct Outbox {
    pub(crate) first: VecDeque<Chunk>,
    /// The number of bytes of the first chunk that were sent.
    pub(crate) at: usize,
    /// The number of bytes, including the sent ones of the first chunk.
    pub(crate) length: usize,
    /// True if the flow ends after the last chunk.
    pub(crate) end: bool,
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.first.iter_mut().for_each(Chunk::wipe);
    }
}
