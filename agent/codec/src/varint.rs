//! Integers as bytes.

/// Writes a number into `bytes`: one below 251 is a byte, others follow a byte that gives the
/// width. Returns the number of bytes.
#[inline]
pub(crate) fn put_unsigned(bytes: &mut [u8; 9], number: u64) -> usize {
    let (first, count) = match number {
        ..=250 => {
            bytes[0] = number as u8;
            return 1;
        }
        251..=0xffff => (251, 2),
        0x1_0000..=0xffff_ffff => (252, 4),
        _ => (253, 8),
    };
    bytes[0] = first;
    bytes[1..].copy_from_slice(&number.to_le_bytes());
    1 + count
}

/// Returns the unsigned number for a signed one: even numbers are positive, odd ones negative.
#[inline]
pub(crate) fn folded(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}
