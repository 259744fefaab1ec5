//! Large byte strings as single values; a list would be encoded element by element.

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use serde::de;
use std::cell::RefCell;
use std::fmt;
use std::ops::Deref;
use std::ops::Range;
use std::sync::Arc;

/// Length in bytes from which on a blob is not copied into or out of the message that carries it. A
/// shorter one would keep a whole message in memory.
const LARGE: usize = 16 << 10;

/// A byte string that is encoded as it is: for the contents of files and other large arguments and
/// results. Derefs to a slice, and prints as its size. Clones share the memory, also while one is
/// sent.
///
/// ```
/// # use offshoot_codec::Blob;
/// let blob = Blob::from(vec![0; 3 << 20]);
/// assert_eq!((blob.len(), format!("{blob}")), (3 << 20, "3 MiB".to_owned()));
/// ```
#[derive(Clone, Default)]
pub struct Blob {
    /// Memory that contains the blob: its own, or a message.
    whole: Arc<Vec<u8>>,
    part: Range<usize>,
}

thread_local! {
    /// The message that this thread is decoding.
    static READ: RefCell<Option<Arc<Vec<u8>>>> = const { RefCell::new(None) };
    /// The blob that this thread is encoding.
    static WRITTEN: RefCell<Option<Blob>> = const { RefCell::new(None) };
}

/// Runs `read`, in which blobs of bytes of `whole` share that memory.
pub(crate) fn read<T>(whole: Option<&Arc<Vec<u8>>>, read: impl FnOnce() -> T) -> T {
    READ.set(whole.cloned());
    let value = read();
    READ.set(None);
    value
}

/// Returns the blob whose `bytes` are being encoded, if it is not to be copied.
pub(crate) fn written(bytes: &[u8]) -> Option<Blob> {
    if bytes.len() < LARGE {
        return None;
    }
    WRITTEN.take().filter(|blob| std::ptr::eq(&**blob, bytes))
}

impl Blob {
    /// Returns the bytes, without copying if no other blob shares the memory. A part of a message
    /// is moved to the beginning of its memory.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        match Arc::try_unwrap(self.whole) {
            Ok(mut bytes) => {
                bytes.truncate(self.part.end);
                bytes.drain(..self.part.start);
                bytes
            }
            Err(whole) => whole[self.part].to_vec(),
        }
    }

    /// Zeroes the bytes if no other blob shares the memory.
    pub fn wipe(&mut self) {
        if let Some(bytes) = Arc::get_mut(&mut self.whole) {
            crate::secret::zero(bytes);
        }
    }

    /// Returns a part of the message that is being decoded, as a blob that shares its memory.
    fn of_message(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < LARGE {
            return None;
        }
        let whole = READ.take()?;
        let start = (bytes.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
        let part = start..start + bytes.len();
        (part.end <= whole.len()).then_some(Self { whole, part })
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self {
            part: 0..bytes.len(),
            whole: Arc::new(bytes),
        }
    }
}

impl From<Arc<Vec<u8>>> for Blob {
    fn from(whole: Arc<Vec<u8>>) -> Self {
        Self {
            part: 0..whole.len(),
            whole,
        }
    }
}

impl From<&[u8]> for Blob {
    fn from(bytes: &[u8]) -> Self {
        bytes.to_vec().into()
    }
}

impl From<Blob> for Vec<u8> {
    fn from(blob: Blob) -> Self {
        blob.into_vec()
    }
}

impl Deref for Blob {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.whole[self.part.clone()]
    }
}

impl PartialEq for Blob {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Blob {}

impl AsRef<[u8]> for Blob {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Display for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.len() {
            mib if mib >= 1 << 20 && mib.is_multiple_of(1 << 20) => write!(f, "{} MiB", mib >> 20),
            kib if kib >= 1 << 10 && kib.is_multiple_of(1 << 10) => write!(f, "{} KiB", kib >> 10),
            1 => f.write_str("1 byte"),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({self})")
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The writer takes the blob from there, or copies the bytes.
        if self.len() >= LARGE && crate::secret::is_in_frame() {
            WRITTEN.set(Some(self.clone()));
        }
        let result = serializer.serialize_bytes(self);
        WRITTEN.set(None);
        result
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl de::Visitor<'_> for Bytes {
            type Value = Blob;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob::of_message(bytes).unwrap_or_else(|| bytes.into()))
            }
            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Blob, E> {
                Ok(bytes.into())
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{from_bytes, from_message, to_bytes, to_message};

    #[test]
    fn debug_prints_only_the_size_of_a_blob() {
        let shown = |length| format!("{:?}", Blob::from(vec![b'x'; length]));
        assert_eq!(
            [0, 1, 1023].map(shown),
            ["Blob(0 bytes)", "Blob(1 byte)", "Blob(1023 bytes)"]
        );
        assert_eq!(
            [3 << 10, 1025 << 10, 127 << 20].map(shown),
            ["Blob(3 KiB)", "Blob(1025 KiB)", "Blob(127 MiB)"]
        );
    }

    #[test]
    fn a_blob_is_encoded_like_a_list_of_bytes() {
        for length in [0, 1, 250, 251, 70_000] {
            let list: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let bytes = to_bytes(&(7, Blob::from(list.clone()), 8)).unwrap();
            assert_eq!(bytes, to_bytes(&(7, list.clone(), 8)).unwrap());
            let (before, blob, after): (i32, Blob, i32) = from_bytes(&bytes).unwrap();
            assert_eq!((before, blob.into_vec(), after), (7, list, 8));
            assert!(from_bytes::<(i32, Blob, i32)>(&bytes[..bytes.len() - 1]).is_err());
        }
    }

    #[test]
    fn a_large_blob_is_encoded_and_decoded_without_a_copy() {
        let (one, other) = (Blob::from(vec![1; LARGE]), Blob::from(vec![2; 5 * LARGE]));
        let value = (
            7_u8,
            one.clone(),
            "between".to_owned(),
            vec![other.clone(), vec![3; LARGE - 1].into()],
        );
        let message = to_message(vec![9], &value).unwrap();
        let places: Vec<_> = message.rest.iter().map(|part| part.as_ptr()).collect();
        assert_eq!(
            (message.rest.len(), places[0], places[2]),
            (4, one.as_ptr(), other.as_ptr())
        );
        let (length, whole) = (message.length(), Arc::new(message.into_bytes()));
        assert_eq!(
            (length, &whole[1..]),
            (whole.len(), &*to_bytes(&value).unwrap())
        );

        let memory = whole.as_ptr_range();
        let (_, read, _, list): (u8, Blob, String, Vec<Blob>) = from_message(&whole, 1).unwrap();
        let stays = [&read, &list[0], &list[1]].map(|blob| memory.contains(&blob.as_ptr()));
        assert_eq!(stays, [true, true, false]);
        assert!(read == one && list[0] == other && list[1].len() == LARGE - 1);
        drop((whole, list));
        // It is the only one now: what it gives is the message's own memory.
        let vec = read.into_vec();
        assert_eq!((vec.as_ptr(), vec.len()), (memory.start, LARGE));
        assert!(READ.take().is_none() && WRITTEN.take().is_none());
    }

    #[test]
    fn into_vec_copies_a_blob_that_is_shared() {
        let blob = Blob::from(vec![5; LARGE]);
        let other = blob.clone();
        assert_eq!(other.as_ptr(), blob.as_ptr());
        let mut taken = other.into_vec();
        taken[0] = 6;
        assert_eq!((blob[0], taken.len()), (5, LARGE));
    }
}
