//! An encoded message whose large blobs are not copied.

use crate::blob;
use crate::blob::Blob;
use crate::secret::Written;

/// The first bytes of a message, and the blobs that follow.
#[derive(Default)]
pub struct Message {
    /// First bytes.
    pub head: Written,
    /// Blobs and the bytes between them, in order.
    pub rest: Vec<Blob>,
    /// Bytes after the last blob, while the message is being written.
    tail: Written,
}

impl From<Vec<u8>> for Message {
    fn from(head: Vec<u8>) -> Self {
        Self {
            head: Written(head),
            ..Self::default()
        }
    }
}

impl Message {
    /// Returns the size in bytes.
    pub fn length(&self) -> usize {
        self.head.0.len()
            + self.rest.iter().map(|blob| blob.len()).sum::<usize>()
            + self.tail.0.len()
    }

    /// Ends writing.
    pub fn finish(mut self) -> Self {
        self.end_tail();
        self
    }

    /// Returns the whole message in one piece.
    pub fn into_bytes(mut self) -> Vec<u8> {
        if !self.rest.is_empty() {
            // The memory that it moves from may hold a secret.
            crate::secret::reserve(
                &mut self.head.0,
                self.rest.iter().map(|blob| blob.len()).sum(),
            );
            self.rest
                .iter()
                .for_each(|blob| self.head.0.extend_from_slice(blob));
        }
        self.head.0
    }

    fn end_tail(&mut self) {
        if !self.tail.0.is_empty() {
            self.rest.push(std::mem::take(&mut self.tail.0).into());
        }
    }

    /// Appends bytes; a large blob without a copy.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        if let Some(blob) = blob::written(bytes) {
            self.end_tail();
            self.rest.push(blob);
        } else {
            self.last().add(bytes);
        }
    }

    /// Returns the buffer that is written.
    pub(crate) fn last(&mut self) -> &mut Written {
        match self.rest.is_empty() {
            true => &mut self.head,
            false => &mut self.tail,
        }
    }
}
