use alloc::vec::Vec;

/// A record: four bytes of length, one that says what it is, and the rest.
pub const HEAD: usize = 5;

/// A record for a chain, to which its content is added.
pub fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEAD + content.len());
    record.extend_from_slice(&(content.len() as u32).to_le_bytes());
    record.push(kind);
    record.extend_from_slice(content);
    record
}

/// Takes the next whole record off the front of what has come: its kind and content. None where it is not whole.
///
/// # Errors
/// When it is longer than `limit`.
pub fn take_record(
    bytes: &mut Vec<u8>,
    at: &mut usize,
    limit: usize,
) -> Result<Option<(u8, Vec<u8>)>, usize> {
    let rest = &bytes[*at..];
    let next = rest.split_first_chunk::<HEAD>().and_then(|(head, content)| {
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if length > limit {
            Some(Err(length))
        } else {
            content.get(..length).map(|found| Ok((head[4], found.to_vec())))
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
