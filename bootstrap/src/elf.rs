//! Little-endian ELF files: linkage, and the part that is loaded.
//!
//! Must never panic, whatever the file contains.

use std::ops::Range;

use crate::platform::Platform;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;

/// The address of every stage, as in `native/link.ld`.
const STAGE_ADDRESS: u64 = 0x40_0000;

/// The layout of ELF files whose addresses have one width: offsets and lengths of fields.
pub struct Class {
    /// The number of the class, the fifth byte of a file.
    number: u8,
    /// Length of an address, and of every field that is as wide.
    pub(crate) word: usize,
    /// Length of the file's header; the program headers of a stage follow.
    pub(crate) header: usize,
    /// Length of a program header.
    pub(crate) segment: usize,
    /// Offset of the offset of the program headers.
    segments_at: usize,
    /// Offset of the offset of the section headers.
    sections_at: usize,
    /// Offset of the length of a program header, followed by the number of these, and by length,
    /// number and index of names of section headers, two bytes each.
    counts_at: usize,
    /// Offsets in a program header: of the place in the file, and of the length there.
    segment_start: usize,
    segment_length: usize,
    /// Offsets in a section header: of the place in the file, and of the length there.
    section_start: usize,
    section_length: usize,
}

impl Class {
    /// 64-bit files.
    pub(crate) const WIDE: Self = Self {
        number: 2,
        word: 8,
        header: 64,
        segment: 56,
        segments_at: 32,
        sections_at: 40,
        counts_at: 54,
        segment_start: 8,
        segment_length: 32,
        section_start: 24,
        section_length: 32,
    };
    /// 32-bit files.
    pub(crate) const NARROW: Self = Self {
        number: 1,
        word: 4,
        header: 52,
        segment: 32,
        segments_at: 28,
        sections_at: 32,
        counts_at: 42,
        segment_start: 4,
        segment_length: 16,
        section_start: 16,
        section_length: 20,
    };

    /// Returns the layout of a platform's files.
    pub(crate) fn of_platform(platform: Platform) -> &'static Self {
        match platform.pointer_width() {
            32 => &Self::NARROW,
            _ => &Self::WIDE,
        }
    }

    /// Returns the layout of the file that begins with `bytes`.
    fn of(bytes: &[u8]) -> Option<&'static Self> {
        [&Self::WIDE, &Self::NARROW]
            .into_iter()
            .find(|class| bytes.starts_with(&[0x7f, b'E', b'L', b'F', class.number, 1]))
    }

    /// Returns the length of the headers of a stage, which has one segment.
    #[cfg(feature = "native")]
    pub(crate) fn stage_headers(&self) -> usize {
        self.header + self.segment
    }

    /// Returns the ranges of the two lengths of a stage's segment, in the file and in memory.
    pub(crate) fn stage_lengths(&self) -> [Range<usize>; 2] {
        let at = self.header + self.segment_length;
        [at..at + self.word, at + self.word..at + 2 * self.word]
    }

    /// Writes the length of a stage's segment, which must be within the limits of an image.
    pub(crate) fn set_stage_length(&self, stage: &mut [u8], length: usize) {
        for place in self.stage_lengths() {
            if let Some(field) = stage.get_mut(place) {
                field.copy_from_slice(&(length as u64).to_le_bytes()[..self.word]);
            }
        }
    }
}

/// An ELF file.
pub struct Elf<'a> {
    bytes: &'a [u8],
    class: &'static Class,
}

/// Requirements of a program on its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linkage {
    /// None: the program is loaded where it was linked to.
    Static,
    /// None: the program relocates itself to where it was loaded.
    StaticPie,
    /// An interpreter, and the libraries that it finds.
    Dynamic,
}

impl<'a> Elf<'a> {
    /// Reads the header of `bytes`; `None` if they are not a little-endian ELF file.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let class = Class::of(bytes)?;
        Some(Elf { bytes, class })
    }

    /// Returns true if the program is for the machine of `platform`.
    pub fn is_for(&self, platform: Platform) -> bool {
        self.class.number == Class::of_platform(platform).number
            && self.number::<2>(18) == Some(u64::from(platform.elf_machine()))
    }

    /// Returns true if the file is a stage for `platform` of `length` bytes, or the beginning of
    /// one: its only segment is the first `length` bytes.
    pub(crate) fn is_stage(&self, platform: Platform, length: usize) -> bool {
        let class = self.class;
        let whole = class.stage_lengths().into_iter().all(|place| {
            let field = self.bytes.get(place).unwrap_or_default();
            field == &(length as u64).to_le_bytes()[..class.word]
        });
        self.is_for(platform)
            && whole
            && self.word(class.segments_at as u64) == Some(class.header as u64)
            && self.number::<2>(class.counts_at as u64) == Some(class.segment as u64)
            && self.number::<2>(class.counts_at as u64 + 2) == Some(1)
            && self.word((class.header + class.segment_start) as u64) == Some(0)
            && self.word((class.header + class.segment_start + class.word) as u64)
                == Some(STAGE_ADDRESS)
    }

    /// Returns the linkage; `None` if the program headers are damaged.
    pub fn linkage(&self) -> Option<Linkage> {
        let kinds: Vec<u32> = self
            .segments()?
            .iter()
            .map(|segment| segment.kind)
            .collect();
        Some(if kinds.contains(&PT_INTERP) {
            Linkage::Dynamic
        } else if kinds.contains(&PT_DYNAMIC) {
            Linkage::StaticPie
        } else {
            Linkage::Static
        })
    }

    /// Returns the file up to the end of its last loaded segment, without section headers: no
    /// symbols and no debugging data. It runs like the original. `None` if the headers are damaged.
    pub fn loaded(&self) -> Option<Vec<u8>> {
        let segments = self.segments()?;
        let loaded = segments.iter().filter(|segment| segment.kind == PT_LOAD);
        let end = loaded
            .map(|segment| segment.start.checked_add(segment.length))
            .max()??;
        let mut bytes = self.bytes.get(..usize::try_from(end).ok()?)?.to_vec();
        let Class {
            word,
            sections_at,
            counts_at,
            ..
        } = *self.class;
        bytes.get_mut(sections_at..sections_at + word)?.fill(0);
        bytes.get_mut(counts_at + 4..counts_at + 10)?.fill(0);
        Some(bytes)
    }

    /// Returns the length in bytes of the section with this name.
    pub fn section(&self, name: &str) -> Option<u64> {
        let class = self.class;
        let counts = class.counts_at as u64;
        let (start, size, count) = (
            self.word(class.sections_at as u64)?,
            self.number::<2>(counts + 4)?,
            self.number::<2>(counts + 6)?,
        );
        let names = self.word(
            start
                .checked_add(self.number::<2>(counts + 8)? * size)?
                .checked_add(class.section_start as u64)?,
        )?;
        let wanted = [name.as_bytes(), b"\0"].concat();
        for i in 0..count {
            let header = start.checked_add(i * size)?;
            let place = usize::try_from(names.checked_add(self.number::<4>(header)?)?).ok()?;
            if self
                .bytes
                .get(place..)
                .is_some_and(|rest| rest.starts_with(&wanted))
            {
                return self.word(header.checked_add(class.section_length as u64)?);
            }
        }
        None
    }

    fn segments(&self) -> Option<Vec<Segment>> {
        let class = self.class;
        let counts = class.counts_at as u64;
        let (start, size, count) = (
            self.word(class.segments_at as u64)?,
            self.number::<2>(counts)?,
            self.number::<2>(counts + 2)?,
        );
        let segment = |at: u64| {
            let kind = self.number::<4>(at)? as u32;
            let (start, length) = (
                self.word(at.checked_add(class.segment_start as u64)?)?,
                self.word(at.checked_add(class.segment_length as u64)?)?,
            );
            Some(Segment {
                kind,
                start,
                length,
            })
        };
        (0..count)
            .map(|i| segment(start.checked_add(i * size)?))
            .collect()
    }

    /// Reads a field that is as wide as an address.
    fn word(&self, at: u64) -> Option<u64> {
        match self.class.word {
            4 => self.number::<4>(at),
            _ => self.number::<8>(at),
        }
    }

    fn number<const N: usize>(&self, at: u64) -> Option<u64> {
        let bytes = self
            .bytes
            .get(usize::try_from(at).ok()?..)?
            .first_chunk::<N>()?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0, |value, &byte| value << 8 | u64::from(byte)),
        )
    }
}

/// A program header: the location of a segment in the file.
struct Segment {
    kind: u32,
    start: u64,
    length: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_program_parses_and_damaged_headers_do_not_panic() {
        let program = std::fs::read("/proc/self/exe").unwrap();
        let elf = Elf::read(&program).unwrap();
        let platform = Platform::host().unwrap();
        assert!(
            Platform::ALL
                .into_iter()
                .all(|other| elf.is_for(other) == (other == platform))
        );
        let interpreted = cfg!(not(target_feature = "crt-static"));
        assert_eq!(elf.linkage() == Some(Linkage::Dynamic), interpreted);
        let loaded = elf.loaded().unwrap();
        assert!(loaded.len() < program.len());
        assert!(
            elf.section(".text").is_some()
                && Elf::read(&loaded).unwrap().section(".text").is_none()
        );
        for place in 6..1024 {
            for wrong in [0, 0x7f, 0xff] {
                let mut damaged = program[..program.len().min(1 << 16)].to_vec();
                damaged[place] = wrong;
                let elf = Elf::read(&damaged).unwrap();
                let _ = (elf.linkage(), elf.loaded(), elf.section(".text"));
            }
        }
    }
}
