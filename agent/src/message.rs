//! A message on its way out: bytes, and large blobs that stay where they are.

use crate::blob::{self, Blob};
use std::io;

/// The first bytes of a message, and what follows them.
#[derive(Default)]
pub(crate) struct Message {
    pub head: Vec<u8>,
    pub rest: Vec<Blob>,
    /// What follows the last blob, while it is being written.
    tail: Vec<u8>,
}

impl From<Vec<u8>> for Message {
    fn from(head: Vec<u8>) -> Message {
        Message { head, ..Message::default() }
    }
}

impl Message {
    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.head.len() + self.rest.iter().map(|blob| blob.len()).sum::<usize>() + self.tail.len()
    }

    /// Nothing more is written to it.
    pub fn finish(mut self) -> Message {
        self.end_tail();
        self
    }

    /// All of it in one piece.
    pub fn into_bytes(mut self) -> Vec<u8> {
        self.rest.iter().for_each(|blob| self.head.extend_from_slice(blob));
        self.head
    }

    fn end_tail(&mut self) {
        if !self.tail.is_empty() {
            self.rest.push(std::mem::take(&mut self.tail).into());
        }
    }
}

impl io::Write for Message {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(blob) = blob::written(bytes) {
            self.end_tail();
            self.rest.push(blob);
        } else if self.rest.is_empty() {
            self.head.extend_from_slice(bytes);
        } else {
            self.tail.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
