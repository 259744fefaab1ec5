//! Branch filters: relative jump targets are made absolute before compression, so that all calls of
//! one function look alike.
//!
//! Applied to a whole program from position 0. The filters for ARM are those of the xz format. The
//! one for x86 converts more than xz's and takes less code to undo. Must never allocate or
//! panic: the unpacker on a target includes this file unchanged.

/// The branch filter of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// No filter: the payload is the program itself.
    None,
    /// Calls and jumps of x86_64, and operands relative to the instruction.
    X86,
    /// Calls and jumps of 32-bit x86, which has no such operands.
    I686,
    /// `BL` and `ADRP` of aarch64.
    Arm64,
    /// `BL` of 32-bit ARM, executed always.
    Arm,
    /// `JAL` of RISC-V.
    Riscv,
}

/// Converts relative targets to absolute ones in place, before compression.
pub fn apply(filter: Filter, program: &mut [u8]) {
    convert(filter, program, true);
}

/// Converts absolute targets to relative ones in place, after decompression.
pub fn undo(filter: Filter, program: &mut [u8]) {
    convert(filter, program, false);
}

#[inline(always)]
fn convert(filter: Filter, program: &mut [u8], forward: bool) {
    match filter {
        Filter::None => {}
        Filter::X86 => x86(program, forward, true),
        Filter::I686 => x86(program, forward, false),
        Filter::Arm => arm(program, forward),
        Filter::Riscv => riscv(program, forward),
        Filter::Arm64 => arm64(program, forward),
    }
}

/// Returns the offset of the operand of an x86 instruction that begins with these bytes, if it is a
/// relative target. `wide` says that operands in memory can be.
#[inline(always)]
fn x86_operand(first: u8, second: u8, wide: bool) -> Option<usize> {
    match (first, second) {
        (0xe8 | 0xe9, _) => Some(1),
        (0x0f, 0x80..=0x8f) => Some(2),
        // Common opcodes with a memory operand relative to the next instruction.
        (0x80..=0x8f | 0xff, _) if wide && second & 0xc7 == 5 => Some(2),
        _ => None,
    }
}

/// Applies the filter of x86_64, or without `wide` that of 32-bit x86. Targets within the program
/// and its zeroed data (up to twice the program's length) become absolute and big-endian, so that
/// their common bytes come first. The first 256 bytes, the headers, hold no calls; a relative
/// target to there is a small number that stays unchanged.
#[inline(always)]
fn x86(program: &mut [u8], forward: bool, wide: bool) {
    let reach = program.len() as u32 * 2;
    let within = |to: &u32| to.wrapping_sub(0x100) < reach;
    let mut at = 0;
    while let Some(window) = at_most_six(program, at) {
        at += 1;
        let Some(skipped) = x86_operand(window[0], window[1], wide) else {
            continue;
        };
        let Some(operand) = window
            .get_mut(skipped..)
            .and_then(|rest| rest.first_chunk_mut())
        else {
            continue;
        };
        // Unconverted operands are skipped as well: undoing could not tell overlapping operands
        // apart.
        at += skipped + 3;
        let here = at as u32;
        let target = |code: u32| {
            Some(code.wrapping_add(here))
                .filter(within)
                .map(u32::swap_bytes)
        };
        let code_of = |target: u32| {
            Some(target.swap_bytes())
                .filter(within)
                .map(|to| to.wrapping_sub(here))
        };
        let value = u32::from_le_bytes(*operand);
        *operand = if forward {
            exchange(value, target, code_of)
        } else {
            exchange(value, code_of, target)
        }
        .to_le_bytes();
    }
}

/// Converts a value by `there`. If that leaves the value unchanged although another value maps to
/// it, follows `back` to a free value. Undone with both functions exchanged; terminates because
/// both are injective.
#[inline(always)]
fn exchange(
    mut value: u32,
    there: impl Fn(u32) -> Option<u32>,
    back: impl Fn(u32) -> Option<u32>,
) -> u32 {
    if let Some(other) = there(value) {
        return other;
    }
    while let Some(other) = back(value) {
        value = other;
    }
    value
}

#[inline(always)]
fn at_most_six(program: &mut [u8], at: usize) -> Option<&mut [u8; 6]> {
    program.get_mut(at..)?.first_chunk_mut()
}

/// Applies the aarch64 filter: `BL` over its whole range, `ADRP` within 512 MiB.
#[inline(always)]
fn arm64(program: &mut [u8], forward: bool) {
    let (words, _) = program.as_chunks_mut::<4>();
    let mut at: u32 = 0;
    for word in words {
        let code = u32::from_le_bytes(*word);
        let sign = |value: u32| if forward { value } else { value.wrapping_neg() };
        if code >> 26 == 0x25 {
            *word = (0x9400_0000 | code.wrapping_add(sign(at >> 2)) & 0x03ff_ffff).to_le_bytes();
        } else if code & 0x9f00_0000 == 0x9000_0000 {
            let source = code >> 29 & 3 | code >> 3 & 0x001f_fffc;
            if source.wrapping_add(0x0002_0000) & 0x001c_0000 == 0 {
                let target = source.wrapping_add(sign(at >> 12));
                let sign_bits = (target & 0x0002_0000).wrapping_neg() & 0x00e0_0000;
                let place = (target & 3) << 29 | (target & 0x0003_fffc) << 3;
                *word = (code & 0x9000_001f | place | sign_bits).to_le_bytes();
            }
        }
        at = at.wrapping_add(4);
    }
}

/// Applies the filter of 32-bit ARM: `BL`, whose offset counts words from two instructions on.
#[inline(always)]
fn arm(program: &mut [u8], forward: bool) {
    let (words, _) = program.as_chunks_mut::<4>();
    let mut at: u32 = 2;
    for word in words {
        let code = u32::from_le_bytes(*word);
        if code >> 24 == 0xeb {
            let to = if forward { at } else { at.wrapping_neg() };
            *word = (0xeb00_0000 | code.wrapping_add(to) & 0x00ff_ffff).to_le_bytes();
        }
        at = at.wrapping_add(1);
    }
}

/// Applies the filter of RISC-V: `JAL`, whose target is stored with its first bits in front. The
/// length of each instruction is in bits that stay.
#[inline(always)]
fn riscv(program: &mut [u8], forward: bool) {
    let mut at = 0;
    while let Some(word) = at_most_four(program, at) {
        let here = at as u32;
        at += if word[0] & 3 == 3 { 4 } else { 2 };
        if word[0] & 0x7f != 0x6f {
            continue;
        }
        let code = u32::from_le_bytes(*word);
        let [_, _, third, fourth] = *word;
        *word = if forward {
            let distance = code >> 11 & 0x0010_0000
                | code & 0x000f_f000
                | code >> 9 & 0x0800
                | code >> 20 & 0x07fe;
            let target = distance.wrapping_add(here) >> 1;
            (code & 0x0fff | (target >> 4 & 0xf000) | (target & 0xffff).swap_bytes()).to_le_bytes()
        } else {
            let stored = code >> 12 & 0xf;
            let target = (stored << 16 | (third as u32) << 8 | fourth as u32) << 1;
            let distance = target.wrapping_sub(here);
            (code & 0x0fff
                | distance << 11 & 0x8000_0000
                | distance & 0x000f_f000
                | distance << 9 & 0x0010_0000
                | distance << 20 & 0x7fe0_0000)
                .to_le_bytes()
        };
    }
}

#[inline(always)]
fn at_most_four(program: &mut [u8], at: usize) -> Option<&mut [u8; 4]> {
    program.get_mut(at..)?.first_chunk_mut()
}
