//! Checksums of headers and payloads.

const SEED: u64 = 0x9E37_79B9_7F4A_7C15;

/// Returns the checksum of a payload: a 64-bit multiplicative hash, folded to 32 bits. Detects lost
/// and flipped bytes in faulty transports; no defence against forgery.
pub fn sum_of(payload: &[u8]) -> u32 {
    fold(mix(SEED, payload))
}

/// Returns the checksum of the first 44 bytes of a header, for the frame with this number on its
/// link.
pub fn header_sum(header: &[u8], sequence: u32) -> u32 {
    fold(mix(SEED ^ u64::from(sequence), header))
}

/// Folds a hash to 32 bits.
pub(crate) fn fold(sum: u64) -> u32 {
    (sum ^ (sum >> 32)) as u32
}

/// Mixes bytes into a hash.
pub(crate) fn mix(mut sum: u64, bytes: &[u8]) -> u64 {
    const K: u64 = 0x2127_599B_F432_5C37;
    let mut lanes = [sum, sum ^ K, sum.rotate_left(17), sum.rotate_left(41)];
    // Unrolled by hand, because agents are compiled for size and a relay spends its time here.
    let (blocks, rest) = bytes.as_chunks::<32>();
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        let step = |lane: u64, word: [u8; 8]| {
            (lane ^ u64::from_le_bytes(word))
                .wrapping_mul(K)
                .rotate_left(29)
        };
        lanes = [
            step(lanes[0], words[0]),
            step(lanes[1], words[1]),
            step(lanes[2], words[2]),
            step(lanes[3], words[3]),
        ];
    }
    sum = lanes[0] ^ lanes[1].rotate_left(13) ^ lanes[2].rotate_left(27) ^ lanes[3].rotate_left(47);
    for word in rest.chunks(8) {
        sum = (sum ^ word_of(word)).wrapping_mul(K).rotate_left(29);
    }
    (sum ^ bytes.len() as u64).wrapping_mul(K) ^ (sum >> 29)
}

/// Reads at most 8 bytes as a little-endian number.
pub(crate) fn word_of(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}
