//! The layout of an image, the self-extracting file that is sent.
//!
//! | part | length | content |
//! |---|---|---|
//! | unpacker | `loader_offset` | an ELF file whose only segment covers the whole image |
//! | loader | `loader_length` | stage 1 for the same platform, for starting further machines |
//! | payload | to the trailer | the agent, branch-filtered for its platform, as a `.lzma` stream |
//! | trailer | 36 | see below, little-endian |
//!
//! | offset | field | |
//! |---|---|---|
//! | 0 | magic | `offshoot` |
//! | 8 | version | 2 |
//! | 9 | platform | 1 x86_64, 2 aarch64, 3 i686, 4 armv7, 5 riscv64; selects the filter |
//! | 10 | zero | two bytes |
//! | 12 | loader offset | |
//! | 16 | loader length | |
//! | 20 | image length | |
//! | 24 | raw length | of the agent |
//! | 28 | raw checksum | FNV-1a-32 of the agent |
//! | 32 | trailer checksum | FNV-1a-32 of the 32 bytes before |
//!
//! Must never allocate or panic: the unpacker on a target includes this file unchanged.

/// Length of the trailer in bytes.
pub const TRAILER: usize = 36;
/// First bytes of a trailer.
pub const MAGIC: [u8; 8] = *b"offshoot";
/// Version of this layout.
pub const VERSION: u8 = 2;
/// Maximum length of an image: 16 MiB.
pub const MAX_IMAGE: usize = 16 << 20;
/// Maximum length of an agent: 64 MiB.
pub const MAX_RAW: u32 = 64 << 20;
/// Maximum length of a loader in bytes; longer ones would not fit the command.
pub const MAX_LOADER: u32 = 2048;

/// The trailer of an image, checked against the image's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Number of the platform.
    pub platform: u8,
    /// Offset in bytes at which the loader begins and the unpacker ends.
    pub loader_offset: u32,
    /// Length of the loader in bytes.
    pub loader_length: u32,
    /// Length of the whole image in bytes.
    pub image_length: u32,
    /// Length of the agent in bytes.
    pub raw_length: u32,
    /// FNV-1a-32 hash of the agent.
    pub raw_checksum: u32,
}

impl Trailer {
    /// Reads the trailer of `image`; `None` if it is not of this version, or contradicts the image
    /// or the limits.
    pub fn read(image: &[u8]) -> Option<Self> {
        if image.len() > MAX_IMAGE {
            return None;
        }
        let bytes: &[u8; TRAILER] = image.last_chunk()?;
        let (head, &checksum) = bytes.split_last_chunk::<4>()?;
        let (&magic, fields) = head.split_first_chunk::<8>()?;
        if magic != MAGIC || fnv1a(head) != u32::from_le_bytes(checksum) {
            return None;
        }
        let (words, _) = fields.as_chunks::<4>();
        let &[
            [VERSION, platform, 0, 0],
            loader_offset,
            loader_length,
            image_length,
            raw_length,
            raw_checksum,
        ] = words.first_chunk::<6>()?
        else {
            return None;
        };
        let trailer = Self {
            platform,
            loader_offset: u32::from_le_bytes(loader_offset),
            loader_length: u32::from_le_bytes(loader_length),
            image_length: u32::from_le_bytes(image_length),
            raw_length: u32::from_le_bytes(raw_length),
            raw_checksum: u32::from_le_bytes(raw_checksum),
        };
        let fits = trailer.image_length as usize == image.len()
            && trailer.loader_length <= MAX_LOADER
            && trailer.raw_length <= MAX_RAW
            && trailer.payload(image).is_some();
        fits.then_some(trailer)
    }

    /// Returns the encoded trailer.
    pub fn write(&self) -> [u8; TRAILER] {
        let mut bytes = [0; TRAILER];
        let mut at = 0;
        let mut put = |part: &[u8]| {
            for &byte in part {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
                at += 1;
            }
        };
        put(&MAGIC);
        put(&[VERSION, self.platform, 0, 0]);
        for field in [
            self.loader_offset,
            self.loader_length,
            self.image_length,
            self.raw_length,
            self.raw_checksum,
        ] {
            put(&field.to_le_bytes());
        }
        if let Some((head, checksum)) = bytes.split_last_chunk_mut::<4>() {
            *checksum = fnv1a(head).to_le_bytes();
        }
        bytes
    }

    /// Returns the loader within `image`.
    pub fn loader<'a>(&self, image: &'a [u8]) -> Option<&'a [u8]> {
        image
            .get(self.loader_offset as usize..)?
            .get(..self.loader_length as usize)
    }

    /// Returns the compressed agent within `image`.
    pub fn payload<'a>(&self, image: &'a [u8]) -> Option<&'a [u8]> {
        let start = self.loader_offset as usize + self.loader_length as usize;
        image.get(start..image.len().checked_sub(TRAILER)?)
    }
}

/// Returns the FNV-1a-32 hash of `bytes`. Detects accidents, not attacks: whoever can change an
/// image in transit controls the transport.
pub fn fnv1a(bytes: &[u8]) -> u32 {
    let mut hash: u32 = 0x811c_9dc5;
    for &byte in bytes {
        hash = (hash ^ byte as u32).wrapping_mul(0x0100_0193);
    }
    hash
}
