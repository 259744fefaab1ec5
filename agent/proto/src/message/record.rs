//! Records: length, kind and content, several of which make up a stream.

use alloc::vec::Vec;

/// Length in bytes of a record's header: four bytes of length, one byte of kind.
pub const HEAD: usize = 5;

/// Returns the encoded record of a chain.
pub fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEAD + content.len());
    record.extend_from_slice(&(content.len() as u32).to_le_bytes());
    record.push(kind);
    record.extend_from_slice(content);
    record
}

/// Removes the next complete record from the front of the bytes. Returns its kind and content;
/// `None` if it is incomplete.
///
/// # Errors
/// Returns the length of a record that exceeds `limit`.
pub fn take_record(
    bytes: &mut Vec<u8>,
    at: &mut usize,
    limit: usize,
) -> Result<Option<(u8, Vec<u8>)>, usize> {
    let rest = &bytes[*at..];
    let next = rest
        .split_first_chunk::<HEAD>()
        .and_then(|(head, content)| {
            let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
            if length > limit {
                Some(Err(length))
            } else {
                content
                    .get(..length)
                    .map(|found| Ok((head[4], found.to_vec())))
            }
        });
    match next {
        Some(Ok((kind, content))) => {
            *at += HEAD + content.len();
            Ok(Some((kind, content)))
        }
        Some(Err(length)) => Err(length),
        None => {
            bytes.drain(..core::mem::take(at));
            Ok(None)
        }
    }
}
