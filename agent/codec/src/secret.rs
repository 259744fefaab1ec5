//! Secret texts: masked when printed, zeroed when dropped.

use crate::varint::put_unsigned;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use serde::de;
use serde::ser;
use std::cell::Cell;
use std::fmt;

/// A password or another secret text. `Debug` and `Display` print a mask, and the memory is zeroed
/// on drop. It can be serialised into messages of the tree only, not into other serde formats.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Creates a secret from a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into().into_bytes())
    }

    /// Returns the text. The caller is responsible for its use.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        zero(&mut self.0);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

/// Zeroes bytes in a way that the compiler cannot remove.
pub fn zero(bytes: &mut [u8]) {
    for byte in bytes.iter_mut() {
        *byte = 0;
    }
    std::hint::black_box(bytes);
}

/// Reserves room for `more` bytes, and zeroes the old memory if the bytes move.
pub fn reserve(bytes: &mut Vec<u8>, more: usize) {
    if bytes.capacity() - bytes.len() < more {
        let mut moved = Vec::with_capacity((bytes.len() + more).max(bytes.capacity() * 2));
        moved.extend_from_slice(bytes);
        zero(bytes);
        *bytes = moved;
    }
}

/// A buffer for an encoded value, parts of which may be secret.
#[derive(Default)]
pub struct Written(pub Vec<u8>);

impl Written {
    /// Appends bytes. If the buffer may hold a secret and must move, zeroes its old memory.
    pub fn add(&mut self, bytes: &[u8]) {
        if WRITTEN.get() {
            reserve(&mut self.0, bytes.len());
        }
        self.0.extend_from_slice(bytes);
    }

    /// Appends a number: one below 251 is a byte, others follow a byte that gives the width.
    #[inline(never)]
    pub(crate) fn add_unsigned(&mut self, number: u64) {
        let mut bytes = [0; 9];
        let count = put_unsigned(&mut bytes, number);
        self.add(&bytes[..count]);
    }

    pub(crate) fn push(&mut self, byte: u8) {
        match self.0.len() < self.0.capacity() {
            true => self.0.push(byte),
            false => self.add(&[byte]),
        }
    }

    /// Returns the buffer with room for `more` bytes, which keep their place.
    pub(crate) fn room(&mut self, more: usize) -> &mut Vec<u8> {
        match WRITTEN.get() {
            true => reserve(&mut self.0, more),
            false => self.0.reserve(more),
        }
        &mut self.0
    }
}

thread_local! {
    static IN_FRAME: Cell<bool> = const { Cell::new(false) };
    static WRITTEN: Cell<bool> = const { Cell::new(false) };
}

/// Returns true if this thread is encoding a message of the tree.
pub fn is_in_frame() -> bool {
    IN_FRAME.get()
}

/// Returns true if this thread has encoded a secret since the last call.
pub fn was_written() -> bool {
    WRITTEN.replace(false)
}

/// Runs `work` with secrets allowed to serialise. Used by the codec only.
pub(crate) fn in_frame<T>(work: impl FnOnce() -> T) -> T {
    /// Restores the previous state when dropped, also if user code panics.
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            IN_FRAME.set(self.0);
        }
    }
    let _before = Before(IN_FRAME.replace(true));
    work()
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !IN_FRAME.get() {
            return Err(ser::Error::custom(
                "a Secret serialises only into a frame of the tree",
            ));
        }
        WRITTEN.set(true);
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl de::Visitor<'_> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a secret")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(bytes)
            }
        }
        deserializer.deserialize_byte_buf(Bytes).map(Secret)
    }
}
