//! A message on its way out: bytes, and large blobs that stay where they are.

use crate::blob;
use crate::blob::Blob;
use crate::secret::Written;
use std::io;

/// The first bytes of a message, and what follows them.
#[derive(Default)]
pub struct Message {
    pub head: Written,
    pub rest: Vec<Blob>,
    /// What follows the last blob, while it is being written.
    tail: Written,
}

impl From<Vec<u8>> for Message {
    fn from(head: Vec<u8>) -> Message {
        Message { head: Written(head), ..Message::default() }
    }
}

impl Message {
    /// How many bytes it has.
    pub fn length(&self) -> usize {
        self.head.0.len() + self.rest.iter().map(|blob| blob.len()).sum::<usize>() + self.tail.0.len()
    }

    /// Nothing more is written to it.
    pub fn finish(mut self) -> Message {
        self.end_tail();
        self
    }

    /// All of it in one piece.
    pub fn into_bytes(mut self) -> Vec<u8> {
        self.rest.iter().for_each(|blob| self.head.0.extend_from_slice(blob));
        self.head.0
    }

    fn end_tail(&mut self) {
        if !self.tail.0.is_empty() {
            self.rest.push(std::mem::take(&mut self.tail.0).into());
        }
    }
}

impl io::Write for Message {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(blob) = blob::written(bytes) {
            self.end_tail();
            self.rest.push(blob);
            Ok(bytes.len())
        } else if self.rest.is_empty() {
            self.head.write(bytes)
        } else {
            self.tail.write(bytes)
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
