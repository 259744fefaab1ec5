//! 64-bit little-endian ELF files: linkage, and the part that is loaded.
//!
//! Must never panic, whatever the file contains.

use crate::platform::Platform;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;

/// An ELF file.
pub struct Elf<'a>(&'a [u8]);

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
    /// Reads the header of `bytes`; `None` if they are not a 64-bit little-endian ELF file.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        bytes.starts_with(b"\x7fELF\x02\x01").then_some(Elf(bytes))
    }

    /// Returns true if the program is for the machine of `platform`.
    pub fn is_for(&self, platform: Platform) -> bool {
        self.number::<2>(18) == Some(u64::from(platform.elf_machine()))
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
        let mut bytes = self.0.get(..usize::try_from(end).ok()?)?.to_vec();
        bytes.get_mut(40..48)?.fill(0); // where the section headers are
        bytes.get_mut(58..64)?.fill(0); // how long, how many, which one has the names
        Some(bytes)
    }

    /// Returns the length in bytes of the section with this name.
    pub fn section(&self, name: &str) -> Option<u64> {
        let (start, size, count) = (
            self.number::<8>(40)?,
            self.number::<2>(58)?,
            self.number::<2>(60)?,
        );
        let names = self.number::<8>(
            start
                .checked_add(self.number::<2>(62)? * size)?
                .checked_add(24)?,
        )?;
        let wanted = [name.as_bytes(), b"\0"].concat();
        for i in 0..count {
            let header = start.checked_add(i * size)?;
            let place = usize::try_from(names.checked_add(self.number::<4>(header)?)?).ok()?;
            if self
                .0
                .get(place..)
                .is_some_and(|rest| rest.starts_with(&wanted))
            {
                return self.number::<8>(header.checked_add(32)?);
            }
        }
        None
    }

    fn segments(&self) -> Option<Vec<Segment>> {
        let (start, size, count) = (
            self.number::<8>(32)?,
            self.number::<2>(54)?,
            self.number::<2>(56)?,
        );
        let segment = |at: u64| {
            let kind = self.number::<4>(at)? as u32;
            let (start, length) = (
                self.number::<8>(at.checked_add(8)?)?,
                self.number::<8>(at.checked_add(32)?)?,
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

    fn number<const N: usize>(&self, at: u64) -> Option<u64> {
        let bytes = self
            .0
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
