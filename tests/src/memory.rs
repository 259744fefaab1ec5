//! Search for a secret in the memory of a process, without a plain copy in the searching process.

use std::fs;
use std::os::unix::fs::FileExt as _;

/// The mask that keeps the plain bytes out of the memory of the searching process.
const MASK: u8 = 0x5a;

/// A masked secret to search for.
#[derive(Debug)]
pub struct Masked(Vec<u8>);

impl<I: IntoIterator<Item = u8>> From<I> for Masked {
    fn from(secret: I) -> Self {
        Self(secret.into_iter().map(|byte| byte ^ MASK).collect())
    }
}

impl Masked {
    /// Returns the plain secret, in a buffer that was never reallocated.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(self.0.len());
        text.extend(self.0.iter().map(|byte| char::from(byte ^ MASK)));
        text
    }

    /// Counts the copies in the writable memory of a process; 0 if there is no such process.
    ///
    /// # Panics
    /// Panics if the caller may not look into it.
    pub fn count_in(&self, process: u32) -> usize {
        let Ok(maps) = fs::read_to_string(format!("/proc/{process}/maps")) else {
            return 0;
        };
        let Ok(memory) = fs::File::open(format!("/proc/{process}/mem")) else {
            return 0;
        };
        let masked = &self.0;
        let mut buffer = vec![0; 1 << 20];
        let own = if process == std::process::id() {
            buffer.as_ptr() as u64
        } else {
            0
        };
        let mut count = 0;
        for line in maps.lines().filter(|line| line.contains(" rw")) {
            let range = line
                .split(' ')
                .next()
                .and_then(|range| range.split_once('-'));
            let (from, to) = range.expect("the kernel writes a range");
            let [mut at, to] =
                [from, to].map(|text| u64::from_str_radix(text, 16).expect("a number"));
            while at < to {
                let length = (buffer.len() as u64).min(to - at) as usize;
                // Unreadable ranges are not memory.
                let read = memory.read_at(&mut buffer[..length], at).unwrap_or(0);
                let here = (0..read.saturating_sub(masked.len() - 1)).filter(|start| {
                    buffer[*start] ^ MASK == masked[0]
                        && !(own..own + (1 << 20)).contains(&(at + *start as u64))
                        && buffer[*start..]
                            .iter()
                            .zip(masked)
                            .all(|(byte, other)| byte ^ MASK == *other)
                });
                count += here.count();
                // Pieces overlap, so a copy across a border is found.
                let next = read.saturating_sub(masked.len() - 1) as u64;
                at += if read == length && at + (length as u64) < to {
                    next
                } else {
                    length as u64
                };
            }
        }
        count
    }
}
