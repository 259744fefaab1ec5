//! Looks at a built agent: is it static, is every function in it, what is its hash.

use std::{path::Path, process::Command};

use offshoot_bootstrap::Platform;

use super::output_of;

/// The section that holds one entry for each function of an agent.
const FUNCTIONS: &str = "linkme_FUNCTIONS";

const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;

/// That `program` runs on a machine on which nothing is installed.
pub fn is_static(program: &[u8], platform: Platform) -> Result<(), String> {
    let elf = Elf::read(program).ok_or("the agent is not a 64-bit ELF file")?;
    for kind in elf.segments().ok_or("the agent's program headers are damaged")? {
        if kind == PT_DYNAMIC || kind == PT_INTERP {
            return Err(format!(
                "the agent for {platform} is not static: it names an interpreter or needs relocation"
            ));
        }
    }
    Ok(())
}

/// That no function was lost between source and binary: an agent that can run here is asked for their names, and the
/// others must have a table of the same size.
pub fn functions(agents: &[(Platform, &Path)]) -> Result<(), String> {
    let mut sizes = Vec::new();
    for &(platform, path) in agents {
        let program = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let size = Elf::read(&program).and_then(|elf| elf.section(FUNCTIONS));
        let Some(size) = size else {
            return Err(format!("the agent for {platform} has no function table (section {FUNCTIONS})"));
        };
        sizes.push((platform, size));
        if Some(platform) == Platform::host() {
            let names = output_of(Command::new(path).arg("--functions"))?;
            let count = names.lines().count() as u64;
            if count == 0 || size % count != 0 {
                return Err(format!(
                    "the agent for {platform} names {count} functions, but its table has {size} bytes"
                ));
            }
        }
    }
    match sizes.as_slice() {
        [(_, first), rest @ ..] if rest.iter().any(|(_, size)| size != first) => {
            Err(format!("the agents do not have the same functions: {sizes:?}"))
        }
        _ => Ok(()),
    }
}

/// The SHA-256 of a file, by the system's own program.
pub fn sha256(path: &Path) -> Result<String, String> {
    let line = output_of(Command::new("sha256sum").arg(path))?;
    Ok(line.split_whitespace().next().unwrap_or_default().into())
}

/// A 64-bit little-endian ELF file, read with every place checked.
struct Elf<'a>(&'a [u8]);

impl<'a> Elf<'a> {
    fn read(bytes: &'a [u8]) -> Option<Elf<'a>> {
        bytes.starts_with(b"\x7fELF\x02\x01").then_some(Elf(bytes))
    }

    fn number<const N: usize>(&self, at: u64) -> Option<u64> {
        let bytes = self.0.get(usize::try_from(at).ok()?..)?.first_chunk::<N>()?;
        Some(bytes.iter().rev().fold(0, |value, &byte| value << 8 | byte as u64))
    }

    /// The kind of each program header.
    fn segments(&self) -> Option<Vec<u32>> {
        let (start, size, count) = (self.number::<8>(32)?, self.number::<2>(54)?, self.number::<2>(56)?);
        (0..count).map(|i| Some(self.number::<4>(start + i * size)? as u32)).collect()
    }

    /// The length of the section of that name.
    fn section(&self, name: &str) -> Option<u64> {
        let (start, size, count) = (self.number::<8>(40)?, self.number::<2>(58)?, self.number::<2>(60)?);
        let names = self.number::<8>(start.checked_add(self.number::<2>(62)? * size)?.checked_add(24)?)?;
        let wanted = [name.as_bytes(), b"\0"].concat();
        for i in 0..count {
            let header = start.checked_add(i * size)?;
            let place = usize::try_from(names.checked_add(self.number::<4>(header)?)?).ok()?;
            if self.0.get(place..).is_some_and(|rest| rest.starts_with(&wanted)) {
                return self.number::<8>(header + 32);
            }
        }
        None
    }
}
