//! The hash of a name and of a text, by which functions and types are compared.

/// Returns the hash of a function's name in the upper half and of its signature in the lower. Used
/// by the attribute.
#[must_use]
pub const fn signature(name: &str, text: &str) -> u64 {
    (sum(name.as_bytes()) as u64) << 32 | sum(text.as_bytes()) as u64
}

/// Returns the 32-bit FNV-1a hash.
const fn sum(bytes: &[u8]) -> u32 {
    let (mut sum, mut at) = (0x811c_9dc5_u32, 0);
    while at < bytes.len() {
        sum = (sum ^ bytes[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    sum
}
