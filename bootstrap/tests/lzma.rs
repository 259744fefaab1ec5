//! The decoder compared with liblzma, and the filters, on data of many kinds and on damaged
//! streams.
//!
//! Each property prints its seed; `OFFSHOOT_SEED=<number>` repeats a run.

use std::io::Write;

use offshoot_bootstrap::{
    branch_filter::{self as filter, Filter},
    elf, fast_encoder, lzma,
};
use xz2::{
    stream::{Action, LzmaOptions, Stream},
    write::XzEncoder,
};

/// Marsaglia's xorshift: sufficient for tests, and the same on every machine.
struct Random(u64);

impl Random {
    fn new(test: &str) -> Self {
        let clock = || {
            std::time::SystemTime::UNIX_EPOCH
                .elapsed()
                .map_or(1, |time| time.as_nanos() as u64)
        };
        let seed = std::env::var("OFFSHOOT_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok())
            .unwrap_or_else(clock)
            | 1;
        println!("{test}: OFFSHOOT_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 11) as usize % limit
    }

    /// Returns compressible data: runs, repetitions at all distances, noise, code-like words, and
    /// opcodes so dense that their operands overlap.
    fn data(&mut self, length: usize) -> Vec<u8> {
        let mut data = Vec::with_capacity(length);
        while data.len() < length {
            let count = 1 + self.below(300);
            match self.below(6) {
                0 => data.extend(std::iter::repeat_n(self.next() as u8, count)),
                1 if !data.is_empty() => {
                    let from = self.below(data.len());
                    for i in 0..count {
                        data.push(data[from + i]);
                    }
                }
                2 => data.extend((0..count).map(|_| self.next() as u8)),
                3 => {
                    for _ in 0..count / 5 {
                        data.push(0xe8 | self.next() as u8 & 1);
                        data.extend((self.next() as i32 >> (self.below(4) * 8)).to_le_bytes());
                    }
                }
                4 => data.extend((0..count).map(|_| {
                    [0xe8, 0xe9, 0, 0xff, 0x0f, 0x84, 5, self.next() as u8][self.below(8)]
                })),
                _ => {
                    for _ in 0..count / 4 {
                        let word = self.next() as u32 & 0x03ff_ffff;
                        data.extend(
                            (word | [0x9400_0000, 0x9000_0000, 0xb000_0000][self.below(3)])
                                .to_le_bytes(),
                        );
                    }
                }
            }
        }
        data.truncate(length);
        data
    }
}

fn compress(data: &[u8], lc: u32, lp: u32, pb: u32) -> Vec<u8> {
    let mut options = LzmaOptions::new_preset(6).unwrap();
    options
        .literal_context_bits(lc)
        .literal_position_bits(lp)
        .position_bits(pb);
    let mut encoder =
        XzEncoder::new_stream(Vec::new(), Stream::new_lzma_encoder(&options).unwrap());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn decode(stream: &[u8], length: usize) -> Result<Vec<u8>, lzma::Broken> {
    let mut output = vec![0xaa; length];
    lzma::decode(stream, &mut [7; lzma::PROBABILITIES], &mut output).map(|()| output)
}

#[test]
fn output_of_liblzma_is_decoded_for_all_settings() {
    let mut random = Random::new("settings");
    for round in 0..120 {
        let (lc, pb) = (random.below(5), random.below(5));
        let lp = random.below(5 - lc);
        let length = if round < 8 {
            round
        } else {
            random.below(60_000)
        };
        let data = random.data(length);
        let packed = compress(&data, lc as u32, lp as u32, pb as u32);
        assert_eq!(
            decode(&packed, length).as_deref(),
            Ok(data.as_slice()),
            "lc {lc} lp {lp} pb {pb}, {length} bytes"
        );
    }
}

/// Unpacks a `.lzma` file with liblzma.
fn unpack_by_liblzma(packed: &[u8], length: usize) -> Vec<u8> {
    let mut output = Vec::with_capacity(length + 1);
    let mut stream = Stream::new_lzma_decoder(u64::MAX).unwrap();
    stream
        .process_vec(packed, &mut output, Action::Finish)
        .unwrap();
    output
}

#[test]
fn output_of_the_fast_encoder_is_decoded_here_and_by_liblzma() {
    let mut random = Random::new("squeeze");
    for round in 0..200 {
        let length = if round < 20 {
            round
        } else {
            random.below(80_000)
        };
        let data = random.data(length);
        let packed = fast_encoder::encode(&data);
        assert_eq!(
            decode(&packed, length).as_deref(),
            Ok(data.as_slice()),
            "{length} bytes"
        );
        assert!(unpack_by_liblzma(&packed, length) == data, "{length} bytes");
    }
    // The longest match, the farthest distance, and a carry through a long run of ones.
    for data in [
        vec![0; 1 << 20],
        vec![0xff; 100_000],
        [random.data(1 << 20), vec![7; 300]].concat().repeat(2),
    ] {
        let packed = fast_encoder::encode(&data);
        assert!(
            decode(&packed, data.len()).as_deref() == Ok(data.as_slice()),
            "{} bytes",
            data.len()
        );
    }
}

#[test]
fn the_fast_encoder_compresses_a_program_nearly_as_well_as_liblzma() {
    let program = std::fs::read("/proc/self/exe").unwrap();
    let program = elf::Elf::read(&program)
        .and_then(|elf| elf.loaded())
        .unwrap();
    let begun = std::time::Instant::now();
    let (ours, theirs) = (
        fast_encoder::encode(&program).len(),
        compress(&program, 3, 0, 0).len(),
    );
    println!(
        "{} bytes: {ours} ours, {theirs} theirs; both took {:?}",
        program.len(),
        begun.elapsed()
    );
    assert!(ours < theirs + theirs / 5, "{ours} against {theirs}");
}

#[test]
fn every_truncated_stream_is_detected() {
    let mut random = Random::new("short");
    let data = random.data(3000);
    let packed = compress(&data, 3, 0, 2);
    // The coder flushes five bytes, and the end marker takes a few; the result does not depend on
    // these.
    for length in 0..packed.len() - 16 {
        assert!(
            decode(&packed[..length], data.len()).is_err(),
            "{length} of {} bytes",
            packed.len()
        );
    }
}

#[test]
fn a_damaged_stream_never_panics_nor_hangs() {
    let mut random = Random::new("damage");
    let data = random.data(2000);
    let packed = compress(&data, 3, 0, 2);
    for _ in 0..3000 {
        let mut damaged = packed.clone();
        for _ in 0..=random.below(4) {
            let place = random.below(damaged.len());
            damaged[place] = random.next() as u8;
        }
        let length = random.below(4000);
        let _ = decode(&damaged, length);
    }
    for _ in 0..500 {
        let length = random.below(200);
        let noise: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        let _ = decode(&noise, 10_000);
    }
}

#[test]
fn a_header_with_invalid_settings_is_refused() {
    let packed = compress(b"some data", 3, 0, 2);
    for properties in 0..=255u8 {
        let (lc, lp, pb) = (properties % 9, properties / 9 % 5, properties / 45);
        let stream = [&[properties], &packed[1..]].concat();
        let refused = decode(&stream, 9) == Err(lzma::Broken::Header);
        assert_eq!(refused, lc + lp > 4 || pb > 4, "properties {properties}");
    }
}

#[test]
fn the_x86_filter_gives_equal_branch_targets_equal_bytes() {
    // Each is one instruction whose operand, relative to the next instruction, is 0x120.
    let instructions: [&[u8]; 6] = [
        &[0xe8],
        &[0xe9],
        &[0x0f, 0x84],
        &[0x48, 0x8d, 0x3d],
        &[0x8b, 0x05],
        &[0xff, 0x15],
    ];
    let (mut code, mut places) = (Vec::new(), Vec::new());
    for instruction in instructions {
        code.extend(instruction);
        places.push(code.len());
        code.extend((0x120 - (code.len() as i32 + 4)).to_le_bytes());
    }
    // Not a target: far behind the end of the program.
    code.extend([0xe8, 1, 2, 3, 0x10, 0, 0]);
    let before = code.clone();
    filter::apply(Filter::X86, &mut code);
    for place in places {
        assert_eq!(code[place..place + 4], [0, 0, 1, 0x20]);
    }
    assert_eq!(code[code.len() - 7..], before[before.len() - 7..]);
    filter::undo(Filter::X86, &mut code);
    assert_eq!(code, before);
}

#[test]
fn both_filters_round_trip() {
    let mut random = Random::new("undo");
    for filter in [
        Filter::X86,
        Filter::I686,
        Filter::Arm64,
        Filter::Arm,
        Filter::Riscv,
        Filter::None,
    ] {
        for round in 0..300 {
            let length = if round < 12 {
                round
            } else {
                random.below(20_000)
            };
            let data = random.data(length);
            let mut copy = data.clone();
            filter::apply(filter, &mut copy);
            filter::undo(filter, &mut copy);
            assert!(copy == data, "{filter:?}, {length} bytes");
            // Undoing a filter that was never applied must not panic, and is reverted by applying
            // it.
            filter::undo(filter, &mut copy);
            filter::apply(filter, &mut copy);
            assert!(
                copy == data,
                "{filter:?} the other way round, {length} bytes"
            );
        }
    }
}

#[test]
fn the_arm64_filter_gives_calls_of_one_function_equal_bytes() {
    // bl to 0x1000 from 0 and from 8; adrp of page 0x12345 from page 0 is unchanged.
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let mut code = [0x9400_0400u32, 0xd503_201f, 0x9400_03fe, 0x9000_0001]
        .map(u32::to_le_bytes)
        .concat();
    filter::apply(Filter::Arm64, &mut code);
    assert_eq!(word(&code, 0), 0x9400_0400);
    assert_eq!(word(&code, 8), 0x9400_0400);
    assert_eq!(word(&code, 4), 0xd503_201f);
    assert_eq!(word(&code, 12), 0x9000_0001);
}
