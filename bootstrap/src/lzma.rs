//! A decoder of `.lzma` streams into memory of known size, small enough to be sent uncompressed
//! with every image.
//!
//! Must never allocate, panic or loop forever, whatever the input: the controller uses this decoder
//! too. The dictionary size and length in the stream's header are not checked, because the caller
//! knows the length of the result and compares a checksum.

/// The reason why a stream could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The header is not that of an LZMA stream with `lc + lp <= 4`.
    Header,
    /// The stream ends before the result is complete.
    Short,
    /// The stream refers to bytes before the first one, or contains an impossible symbol.
    Invalid,
}

/// Number of probabilities that [`decode`] needs. They need no initial value.
pub const PROBABILITIES: usize = 1 << 14;

/// Length of the `.lzma` header in bytes: properties, dictionary size, length.
const HEADER: usize = 13;

// Offsets of the sets of probabilities; the encoder uses the same.
pub(crate) const IS_MATCH: usize = 0;
pub(crate) const IS_REP: usize = IS_MATCH + (STATES << 4);
pub(crate) const IS_REP_G0: usize = IS_REP + STATES;
pub(crate) const IS_REP_G1: usize = IS_REP_G0 + STATES;
pub(crate) const IS_REP_G2: usize = IS_REP_G1 + STATES;
pub(crate) const IS_REP0_LONG: usize = IS_REP_G2 + STATES;
pub(crate) const SLOT: usize = IS_REP0_LONG + (STATES << 4);
pub(crate) const SPECIAL: usize = SLOT + (4 << 6);
pub(crate) const ALIGN: usize = SPECIAL + 128;
pub(crate) const MATCH_LENGTH: usize = ALIGN + 16;
pub(crate) const REP_LENGTH: usize = MATCH_LENGTH + LENGTHS;
pub(crate) const LITERAL: usize = REP_LENGTH + LENGTHS;
// Within a length coder: choice, choice 2, low (16 sets of 8), middle (16 sets of 8), high (256).
const LENGTHS: usize = LENGTH_HIGH + 256;
pub(crate) const LENGTH_LOW: usize = 2;
pub(crate) const LENGTH_MIDDLE: usize = LENGTH_LOW + (16 << 3);
pub(crate) const LENGTH_HIGH: usize = LENGTH_MIDDLE + (16 << 3);
const STATES: usize = 12;
const _: () = assert!(LITERAL + (0x300 << 4) <= PROBABILITIES);

/// The range decoder and its probabilities. Reads zeros past the end, which [`Coder::is_short`]
/// reports.
struct Coder<'a> {
    range: u32,
    code: u32,
    input: core::slice::Iter<'a, u8>,
    missing: u32,
    probabilities: &'a mut [u16; PROBABILITIES],
}

impl Coder<'_> {
    #[inline(never)]
    fn normalize(&mut self) {
        if self.range < 1 << 24 {
            self.range <<= 8;
            self.shift_in();
        }
    }

    #[inline(always)]
    fn shift_in(&mut self) {
        let byte = match self.input.next() {
            Some(&byte) => byte,
            None => {
                self.missing += 1;
                0
            }
        };
        self.code = self.code << 8 | byte as u32;
    }

    fn is_short(&self) -> bool {
        self.missing > 0
    }

    /// Decodes one bit with the probability at `index`; 0 or 1.
    #[inline(never)]
    fn bit(&mut self, index: usize) -> usize {
        self.normalize();
        // The mask proves to the compiler that the index is in range.
        let probability = &mut self.probabilities[index & (PROBABILITIES - 1)];
        let p = *probability as u32;
        let bound = (self.range >> 11) * p;
        if self.code < bound {
            self.range = bound;
            *probability += ((2048 - p) >> 5) as u16;
            0
        } else {
            self.range = self.range.wrapping_sub(bound);
            self.code = self.code.wrapping_sub(bound);
            *probability -= (p >> 5) as u16;
            1
        }
    }

    /// Decodes `bits` bits, most significant first, with the tree at `base`.
    #[inline(never)]
    fn tree(&mut self, base: usize, bits: u32) -> usize {
        let mut node = 1;
        while node < 1 << bits {
            node = node << 1 | self.bit(base + node);
        }
        node - (1 << bits)
    }

    /// Decodes `bits` bits, least significant first, with the tree at `base`.
    #[inline(never)]
    fn reverse_tree(&mut self, base: usize, bits: u32) -> u32 {
        let (mut node, mut value) = (1, 0);
        for i in 0..bits {
            let bit = self.bit(base + node);
            node = node << 1 | bit;
            value |= (bit as u32) << i;
        }
        value
    }

    /// Decodes `bits` bits of equal probability.
    #[inline(always)]
    fn direct(&mut self, bits: u32) -> u32 {
        let mut value: u32 = 0;
        for _ in 0..bits {
            self.normalize();
            self.range >>= 1;
            let bit = self.code >= self.range;
            if bit {
                self.code = self.code.wrapping_sub(self.range);
            }
            value = value << 1 | bit as u32;
        }
        value
    }

    #[inline(never)]
    fn length(&mut self, base: usize, pos_state: usize) -> usize {
        if self.bit(base) == 0 {
            self.tree(base + LENGTH_LOW + (pos_state << 3), 3)
        } else if self.bit(base + 1) == 0 {
            8 + self.tree(base + LENGTH_MIDDLE + (pos_state << 3), 3)
        } else {
            16 + self.tree(base + LENGTH_HIGH, 8)
        }
    }

    /// Decodes the distance, minus one, of a match whose length is `length`, 0 for the shortest.
    #[inline(always)]
    fn distance(&mut self, length: usize) -> u32 {
        let slot = self.tree(SLOT + (length.min(3) << 6), 6) as u32;
        if slot < 4 {
            return slot;
        }
        let bits = (slot >> 1) - 1;
        let base = (2 | slot & 1) << bits;
        if slot < 14 {
            // The trees of these slots overlap, so that each begins at its base minus its slot.
            base + self.reverse_tree(SPECIAL + (base - slot) as usize, bits)
        } else {
            let high = self.direct(bits - 4) << 4;
            base.wrapping_add(high)
                .wrapping_add(self.reverse_tree(ALIGN, 4))
        }
    }

    /// Moves the distance that is repeated to the front. Returns true if only one byte is copied
    /// from there.
    #[inline(always)]
    fn repeats_once(&mut self, reps: &mut [u32; 4], state: usize, pos_state: usize) -> bool {
        let [first, second, third, fourth] = *reps;
        if self.bit(IS_REP_G0 + state) == 0 {
            return self.bit(IS_REP0_LONG + (state << 4) + pos_state) == 0;
        }
        *reps = if self.bit(IS_REP_G1 + state) == 0 {
            [second, first, third, fourth]
        } else if self.bit(IS_REP_G2 + state) == 0 {
            [third, first, second, fourth]
        } else {
            [fourth, first, second, third]
        };
        false
    }

    /// Decodes a literal; `shadow` is the byte at the last distance if the previous symbol was a
    /// match.
    #[inline(always)]
    fn literal(&mut self, base: usize, shadow: Option<u8>) -> u8 {
        let mut node = 1;
        if let Some(shadow) = shadow {
            let mut shadow = (shadow as usize) << 1;
            let mut offset = 0x100;
            while node < 0x100 {
                let expected = shadow & offset;
                let bit = self.bit(base + offset + expected + node);
                node = node << 1 | bit;
                offset &= if bit == 0 { !expected } else { expected };
                shadow <<= 1;
            }
        } else {
            while node < 0x100 {
                node = node << 1 | self.bit(base + node);
            }
        }
        node as u8
    }
}

/// Decodes a `.lzma` file into `output`, which must have the exact length of the result.
///
/// Bytes after the end of the result, such as an end marker, are ignored.
///
/// # Errors
/// Returns an error if the stream is damaged; see [`Broken`]. Parts of `output` may be overwritten
/// then.
#[inline(always)]
pub fn decode(
    stream: &[u8],
    probabilities: &mut [u16; PROBABILITIES],
    output: &mut [u8],
) -> Result<(), Broken> {
    let Some((&[properties, ..], body)) = stream.split_first_chunk::<HEADER>() else {
        return Err(Broken::Header);
    };
    let (lc, rest) = (properties % 9, properties / 9);
    let (lp, pb) = (rest % 5, rest / 5);
    if pb > 4 || lc + lp > 4 {
        return Err(Broken::Header);
    }
    let lp_mask = (1usize << lp) - 1;
    let pb_mask = (1usize << pb) - 1;

    for probability in probabilities.iter_mut() {
        *probability = 1024;
    }
    let mut coder = Coder {
        range: u32::MAX,
        code: 0,
        input: body.iter(),
        missing: 0,
        probabilities,
    };
    for _ in 0..5 {
        coder.shift_in();
    }

    let mut state = 0;
    let mut reps = [0u32; 4];
    let mut at = 0;
    while at < output.len() {
        if coder.is_short() {
            return Err(Broken::Short);
        }
        let pos_state = at & pb_mask;
        if coder.bit(IS_MATCH + (state << 4) + pos_state) == 0 {
            let before = output.get(at.wrapping_sub(1)).copied().unwrap_or(0);
            let context = (at & lp_mask) << lc | (before as usize) >> (8 - lc);
            let shadow = match state {
                0..7 => None,
                _ => output.get(at.wrapping_sub(reps[0] as usize + 1)).copied(),
            };
            let byte = coder.literal(LITERAL + 0x300 * context, shadow);
            if let Some(place) = output.get_mut(at) {
                *place = byte;
            }
            at += 1;
            state = match state {
                0..4 => 0,
                4..10 => state - 3,
                _ => state - 6,
            };
            continue;
        }
        let length;
        if coder.bit(IS_REP + state) == 0 {
            let extra = coder.length(MATCH_LENGTH, pos_state);
            length = extra + 2;
            state = if state < 7 { 7 } else { 10 };
            reps = [coder.distance(extra), reps[0], reps[1], reps[2]];
        } else if coder.repeats_once(&mut reps, state, pos_state) {
            length = 1;
            state = if state < 7 { 9 } else { 11 };
        } else {
            length = coder.length(REP_LENGTH, pos_state) + 2;
            state = if state < 7 { 8 } else { 11 };
        }
        at = copy(output, at, reps[0], length)?;
    }
    if coder.is_short() {
        Err(Broken::Short)
    } else {
        Ok(())
    }
}

/// Copies `length` bytes from `distance + 1` bytes back. Returns the new end.
#[inline(always)]
fn copy(output: &mut [u8], at: usize, distance: u32, length: usize) -> Result<usize, Broken> {
    let Some(from) = at.checked_sub(distance as usize + 1) else {
        return Err(Broken::Invalid);
    };
    let end = at + length;
    if end > output.len() {
        return Err(Broken::Invalid);
    }
    for i in 0..length {
        let byte = output.get(from + i).copied().unwrap_or(0);
        if let Some(place) = output.get_mut(at + i) {
            *place = byte;
        }
    }
    Ok(end)
}
