//! The hash of what a probe sees.

/// A 64-bit FNV-1a hash.
#[derive(Clone)]
pub(super) struct Sum(u64);

impl Default for Sum {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Sum {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(super) fn get(&self) -> u32 {
        (self.0 ^ self.0 >> 32) as u32
    }
}
