const SEED: u64 = 0x9E37_79B9_7F4A_7C15;

/// The sum of a payload, and what tells a damaged one from a whole one: a 64-bit multiplicative hash, folded. It guards
/// against lost and flipped bytes in transports that are known to lose some; it is no defence against a forger.
pub fn sum_of(payload: &[u8]) -> u32 {
    fold(mix(SEED, payload))
}

/// The sum of the first 44 bytes of a header that is the frame of that number on its link.
pub fn header_sum(header: &[u8], sequence: u32) -> u32 {
    fold(mix(SEED ^ u64::from(sequence), header))
}

pub fn fold(sum: u64) -> u32 {
    (sum ^ (sum >> 32)) as u32
}

pub fn mix(mut sum: u64, bytes: &[u8]) -> u64 {
    const K: u64 = 0x2127_599B_F432_5C37;
    let mut lanes = [sum, sum ^ K, sum.rotate_left(17), sum.rotate_left(41)];
    // Written out, for an agent is built for size and this is where a relay's time would go.
    let (blocks, rest) = bytes.as_chunks::<32>();
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        let step =
            |lane: u64, word: [u8; 8]| (lane ^ u64::from_le_bytes(word)).wrapping_mul(K).rotate_left(29);
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

pub fn word_of(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}
