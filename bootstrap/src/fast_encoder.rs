//! A fast encoder of `.lzma` streams, for a controller that becomes its own image while its user
//! waits.
//!
//! Finds matches with chains of three-byte hashes and chooses the better of two neighbouring ones,
//! as the fast modes of other encoders do. `pack` uses another crate's encoder, which is many times
//! slower and compresses a tenth better. [`lzma`](crate::lzma), which decodes the streams, defines
//! the layout of the probabilities. Must never panic, whatever the input.

use crate::lzma::{
    ALIGN, IS_MATCH, IS_REP, IS_REP_G0, IS_REP_G1, IS_REP_G2, IS_REP0_LONG, LENGTH_HIGH,
    LENGTH_LOW, LENGTH_MIDDLE, LITERAL, MATCH_LENGTH, PROBABILITIES, REP_LENGTH, SLOT, SPECIAL,
};

/// The upper three bits of the previous byte select the coding of a literal; the position does not.
const LITERAL_CONTEXT_BITS: u32 = 3;
/// Maximum length of a match in the format.
const LONGEST: usize = 273;
/// Length from which on a match is taken without a search for a better one.
const NICE: usize = 96;
/// Number of positions with the same hash that are compared.
const DEPTH: u32 = 8;
/// Maximum distance at which a match of three bytes is cheaper than literals.
const NEAR: u32 = 1 << 12;
const HASH_BITS: u32 = 16;
/// End of a chain.
const NONE: u32 = u32::MAX;

/// Returns `data` as a `.lzma` file with its length in the header and without an end marker.
pub fn encode(data: &[u8]) -> Vec<u8> {
    let dictionary = (data.len() as u32)
        .checked_next_power_of_two()
        .unwrap_or(1 << 31)
        .max(1 << 16);
    let mut coder = Coder::new(data.len() / 2);
    coder.output.push(LITERAL_CONTEXT_BITS as u8);
    coder.output.extend_from_slice(&dictionary.to_le_bytes());
    coder
        .output
        .extend_from_slice(&(data.len() as u64).to_le_bytes());
    let mut finder = Finder::new(data);
    let mut symbols = Symbols {
        coder,
        state: 0,
        reps: [0; 4],
    };
    let mut at = 0;
    let mut found = finder.next(at);
    while at < data.len() {
        let (repeat, repeated) = best_repeat(data, at, &symbols.reps);
        let mut length = 1;
        if repeated >= 2 && is_cheaper(repeated, found) {
            symbols.repeat(repeat, repeated);
            length = repeated;
        } else if found.length >= 3 {
            let after = if found.length < NICE {
                finder.next(at + 1)
            } else {
                Match::default()
            };
            let lazy = after.length > found.length
                || after.length == found.length && after.distance < found.distance >> 7;
            if lazy {
                symbols.literal(data, at);
                at += 1;
                found = after;
                continue;
            }
            symbols.fresh(found);
            length = found.length;
        } else {
            symbols.literal(data, at);
        }
        at += length;
        found = finder.next(at);
    }
    symbols.coder.finish()
}

/// A match with earlier bytes.
#[derive(Clone, Copy, Default)]
struct Match {
    /// Length in bytes; 0 for no match.
    length: usize,
    /// Distance in bytes, minus one.
    distance: u32,
}

/// Returns the number of equal bytes at `at` and at the earlier position `from`.
fn same(data: &[u8], from: usize, at: usize) -> usize {
    let (Some(old), Some(new)) = (data.get(from..), data.get(at..)) else {
        return 0;
    };
    old.iter()
        .zip(new)
        .take(LONGEST)
        .take_while(|(old, new)| old == new)
        .count()
}

/// Returns the longest match at one of the last distances.
fn best_repeat(data: &[u8], at: usize, reps: &[u32; 4]) -> (usize, usize) {
    let mut best = (0, 0);
    for (index, &rep) in reps.iter().enumerate() {
        let Some(from) = at.checked_sub(rep as usize + 1) else {
            continue;
        };
        let length = same(data, from, at);
        if length > best.1 {
            best = (index, length);
        }
    }
    best
}

/// Returns true if a match at one of the last distances encodes more bytes per bit than `found`,
/// which needs its distance.
fn is_cheaper(repeated: usize, found: Match) -> bool {
    repeated + 1 >= found.length
        || repeated + 2 >= found.length && found.distance >= 1 << 9
        || repeated + 3 >= found.length && found.distance >= 1 << 15
}

/// The match finder: for each hash of three bytes, a chain of the positions where it occurred,
/// latest first.
struct Finder<'a> {
    data: &'a [u8],
    heads: Vec<u32>,
    before: Vec<u32>,
    /// All positions before this one are in a chain.
    entered: usize,
}

impl<'a> Finder<'a> {
    fn new(data: &'a [u8]) -> Self {
        Finder {
            data,
            heads: vec![NONE; 1 << HASH_BITS],
            before: vec![NONE; data.len()],
            entered: 0,
        }
    }

    fn hash(&self, at: usize) -> Option<usize> {
        let &[a, b, c] = self.data.get(at..)?.first_chunk()?;
        let word = u32::from_le_bytes([a, b, c, 0]);
        Some((word.wrapping_mul(0x9E37_79B1) >> (32 - HASH_BITS)) as usize)
    }

    /// Returns the best match at `at`, which never decreases between calls.
    fn next(&mut self, at: usize) -> Match {
        while self.entered < at {
            if let Some(hash) = self.hash(self.entered) {
                self.before[self.entered] = self.heads[hash];
                self.heads[hash] = self.entered as u32;
            }
            self.entered += 1;
        }
        let mut best = Match::default();
        let Some(hash) = self.hash(at) else {
            return best;
        };
        let mut place = self.heads[hash];
        for _ in 0..DEPTH {
            if place == NONE || best.length >= NICE {
                break;
            }
            let from = place as usize;
            // A longer match must be equal at the end of the best one so far.
            if self.data.get(from + best.length) == self.data.get(at + best.length) {
                let length = same(self.data, from, at);
                if length > best.length {
                    best = Match {
                        length,
                        distance: (at - from - 1) as u32,
                    };
                }
            }
            place = self.before[from];
        }
        if best.length < 3 || best.length == 3 && best.distance >= NEAR {
            Match::default()
        } else {
            best
        }
    }
}

/// The decoder's state between symbols, and the coder.
struct Symbols {
    coder: Coder,
    state: usize,
    reps: [u32; 4],
}

impl Symbols {
    fn literal(&mut self, data: &[u8], at: usize) {
        let byte = data[at];
        self.coder.bit(IS_MATCH + (self.state << 4), false);
        let before = at.checked_sub(1).map_or(0, |before| data[before]);
        let base = LITERAL + 0x300 * (before as usize >> (8 - LITERAL_CONTEXT_BITS));
        let shadow = match self.state {
            0..7 => None,
            _ => at
                .checked_sub(self.reps[0] as usize + 1)
                .map(|from| data[from]),
        };
        self.coder.literal(base, byte, shadow);
        self.state = match self.state {
            0..4 => 0,
            4..10 => self.state - 3,
            _ => self.state - 6,
        };
    }

    fn fresh(&mut self, found: Match) {
        self.coder.bit(IS_MATCH + (self.state << 4), true);
        self.coder.bit(IS_REP + self.state, false);
        self.coder.length(MATCH_LENGTH, found.length - 2);
        self.coder.distance(found.length - 2, found.distance);
        self.reps = [found.distance, self.reps[0], self.reps[1], self.reps[2]];
        self.state = if self.state < 7 { 7 } else { 10 };
    }

    fn repeat(&mut self, index: usize, length: usize) {
        let state = self.state;
        self.coder.bit(IS_MATCH + (state << 4), true);
        self.coder.bit(IS_REP + state, true);
        self.coder.bit(IS_REP_G0 + state, index > 0);
        if index == 0 {
            self.coder.bit(IS_REP0_LONG + (state << 4), true);
        } else {
            self.coder.bit(IS_REP_G1 + state, index > 1);
            if index > 1 {
                self.coder.bit(IS_REP_G2 + state, index > 2);
            }
        }
        self.reps[..=index].rotate_right(1);
        self.coder.length(REP_LENGTH, length - 2);
        self.state = if state < 7 { 8 } else { 11 };
    }
}

/// The range encoder and its probabilities.
struct Coder {
    low: u64,
    range: u32,
    /// The last byte that only a carry can change, and the number of 0xFF bytes behind it, plus
    /// one.
    pending: (u8, u64),
    output: Vec<u8>,
    probabilities: Vec<u16>,
}

impl Coder {
    fn new(capacity: usize) -> Self {
        let probabilities = vec![1024; PROBABILITIES];
        Self {
            low: 0,
            range: u32::MAX,
            pending: (0, 1),
            output: Vec::with_capacity(capacity),
            probabilities,
        }
    }

    fn finish(mut self) -> Vec<u8> {
        for _ in 0..5 {
            self.shift_out();
        }
        self.output
    }

    fn shift_out(&mut self) {
        if self.low < 0xFF00_0000 || self.low > 0xFFFF_FFFF {
            let carry = (self.low >> 32) as u8;
            let (mut byte, count) = self.pending;
            for _ in 0..count {
                self.output.push(byte.wrapping_add(carry));
                byte = 0xFF;
            }
            self.pending = ((self.low >> 24) as u8, 0);
        }
        self.pending.1 += 1;
        self.low = (self.low & 0x00FF_FFFF) << 8;
    }

    fn normalize(&mut self) {
        while self.range < 1 << 24 {
            self.range <<= 8;
            self.shift_out();
        }
    }

    fn bit(&mut self, index: usize, bit: bool) {
        let probability = &mut self.probabilities[index];
        let p = *probability as u32;
        let bound = (self.range >> 11) * p;
        if bit {
            self.low += bound as u64;
            self.range -= bound;
            *probability -= (p >> 5) as u16;
        } else {
            self.range = bound;
            *probability += ((2048 - p) >> 5) as u16;
        }
        self.normalize();
    }

    /// Encodes the low `bits` bits of `value`, most significant first, with the tree at `base`.
    fn tree(&mut self, base: usize, bits: u32, value: usize) {
        let mut node = 1;
        for place in (0..bits).rev() {
            let bit = value >> place & 1;
            self.bit(base + node, bit == 1);
            node = node << 1 | bit;
        }
    }

    /// Encodes the low `bits` bits of `value`, least significant first, with the tree at `base`.
    fn reverse_tree(&mut self, base: usize, bits: u32, value: u32) {
        let mut node = 1;
        for place in 0..bits {
            let bit = (value >> place & 1) as usize;
            self.bit(base + node, bit == 1);
            node = node << 1 | bit;
        }
    }

    /// Encodes bits of equal probability.
    fn direct(&mut self, bits: u32, value: u32) {
        for place in (0..bits).rev() {
            self.range >>= 1;
            if value >> place & 1 == 1 {
                self.low += self.range as u64;
            }
            self.normalize();
        }
    }

    /// Encodes a length, 0 for the shortest.
    fn length(&mut self, base: usize, length: usize) {
        self.bit(base, length >= 8);
        if length < 8 {
            return self.tree(base + LENGTH_LOW, 3, length);
        }
        self.bit(base + 1, length >= 16);
        if length < 16 {
            self.tree(base + LENGTH_MIDDLE, 3, length - 8);
        } else {
            self.tree(base + LENGTH_HIGH, 8, length - 16);
        }
    }

    /// Encodes the distance, minus one, of a match whose length is `length`, 0 for the shortest.
    fn distance(&mut self, length: usize, distance: u32) {
        let slot = match distance {
            0..4 => distance,
            _ => {
                let top = distance.ilog2();
                top << 1 | distance >> (top - 1) & 1
            }
        };
        self.tree(SLOT + (length.min(3) << 6), 6, slot as usize);
        if slot < 4 {
            return;
        }
        let bits = (slot >> 1) - 1;
        let base = (2 | slot & 1) << bits;
        let rest = distance - base;
        if slot < 14 {
            self.reverse_tree(SPECIAL + (base - slot) as usize, bits, rest);
        } else {
            self.direct(bits - 4, rest >> 4);
            self.reverse_tree(ALIGN, 4, rest & 15);
        }
    }

    /// Encodes a literal; `shadow` is the byte at the last distance if the previous symbol was a
    /// match.
    fn literal(&mut self, base: usize, byte: u8, shadow: Option<u8>) {
        let Some(shadow) = shadow else {
            return self.tree(base, 8, byte as usize);
        };
        let (mut node, mut offset, mut shadow) = (1, 0x100, (shadow as usize) << 1);
        for place in (0..8).rev() {
            let bit = (byte >> place & 1) as usize;
            let expected = shadow & offset;
            self.bit(base + offset + expected + node, bit == 1);
            node = node << 1 | bit;
            offset &= if bit == 0 { !expected } else { expected };
            shadow <<= 1;
        }
    }
}
