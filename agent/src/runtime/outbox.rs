use offshoot_codec::Blob;
use std::collections::VecDeque;

/// A message that waits for credit.
pub(crate) struct Chunk {
    pub(crate) bytes: Blob,
    pub(crate) secret: bool,
}

impl Chunk {
    /// Overwrites a secret that nobody else holds.
    pub(crate) fn wipe(&mut self) {
        if self.secret {
            self.bytes.wipe();
        }
    }
}

/// Bytes of one flow that wait for credit.
#[derive(Default)]
pub(crate) struct Outbox {
    pub(crate) first: VecDeque<Chunk>,
    /// How much of the first has gone.
    pub(crate) at: usize,
    /// How many bytes there are, with what has gone of the first.
    pub(crate) length: usize,
    /// Whether the flow ends behind the last.
    pub(crate) end: bool,
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.first.iter_mut().for_each(Chunk::wipe);
    }
}
