//! Branch filters: relative jump targets made absolute before compression, so that calls of one function look alike.
//!
//! The filters are those of the xz format (x86 and ARM64), applied to a whole program from position 0. Must never
//! allocate or panic: the unpacker on a target includes this file as it is.

/// Which branch filter a payload went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// None: the payload is the program itself.
    None,
    /// `E8`/`E9` calls and jumps of x86_64.
    X86,
    /// `BL` and `ADRP` of aarch64.
    Arm64,
}

/// Turns relative targets into absolute ones, in place: what is done before compressing.
pub fn apply(filter: Filter, program: &mut [u8]) {
    convert(filter, program, true);
}

/// Turns absolute targets back into relative ones, in place: what is done after decompressing.
pub fn undo(filter: Filter, program: &mut [u8]) {
    convert(filter, program, false);
}

#[inline(always)]
fn convert(filter: Filter, program: &mut [u8], forward: bool) {
    match filter {
        Filter::None => {}
        Filter::X86 => x86(program, forward),
        Filter::Arm64 => arm64(program, forward),
    }
}

/// The bit number for each history of doubtful bytes; `None` where the x86 filter leaves the operand alone.
const fn history_bit(history: u32) -> Option<u32> {
    match history {
        0 => Some(0),
        1 => Some(1),
        2 => Some(2),
        4 => Some(3),
        _ => None,
    }
}

#[inline(always)]
fn is_sign(byte: u8) -> bool {
    byte == 0 || byte == 0xff
}

/// The x86 filter. `history` remembers which of the last bytes could themselves have been part of an operand, so that
/// encoder and decoder take the same decision on overlapping candidates.
#[inline(always)]
fn x86(program: &mut [u8], forward: bool) {
    let mut history: u32 = 0;
    let mut last = usize::MAX - 4; // the position of the last opcode: "five before the start"
    let mut at = 0;
    while let Some(window) = at_most_five(program, at) {
        let &mut [opcode, ref mut operand @ ..] = window;
        if opcode & 0xfe != 0xe8 {
            at += 1;
            continue;
        }
        let distance = at.wrapping_sub(last);
        last = at;
        history = if distance > 5 { 0 } else { shift_history(history, distance) };
        let top = operand[3];
        match history_bit(history >> 1) {
            Some(bit) if is_sign(top) => {
                let here = (at as u32).wrapping_add(5);
                let target = relocate(u32::from_le_bytes(*operand), here, history, bit, forward);
                *operand = target.to_le_bytes();
                operand[3] = if target & 1 << 24 != 0 { 0xff } else { 0 };
                at += 5;
                history = 0;
            }
            _ => {
                at += 1;
                history |= if is_sign(top) { 0x11 } else { 1 };
            }
        }
    }
}

#[inline(always)]
fn at_most_five(program: &mut [u8], at: usize) -> Option<&mut [u8; 5]> {
    program.get_mut(at..)?.first_chunk_mut()
}

#[inline(always)]
fn shift_history(mut history: u32, distance: usize) -> u32 {
    for _ in 0..distance {
        history = (history & 0x77) << 1;
    }
    history
}

/// Adds or subtracts the position, again where the result's own top byte would look like an operand's.
#[inline(always)]
fn relocate(mut source: u32, here: u32, history: u32, bit: u32, forward: bool) -> u32 {
    // Two rounds always suffice; the bound keeps a hostile operand from turning for ever.
    for _ in 0..4 {
        let target = if forward { source.wrapping_add(here) } else { source.wrapping_sub(here) };
        if history == 0 {
            return target;
        }
        let shift = bit * 8;
        if !is_sign((target << shift >> 24) as u8) {
            return target;
        }
        source = target ^ (u32::MAX >> shift);
    }
    source
}

/// The ARM64 filter: `BL` over its whole range, `ADRP` within 512 MiB.
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
