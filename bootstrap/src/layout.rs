//! Where everything is in an image: the self-extracting file that is sent.
//!
//! | part | length | what it is |
//! |---|---|---|
//! | unpacker | `loader_offset` | an ELF file; its one segment covers the whole image |
//! | loader | `loader_length` | stage 1 for the same platform, so that whoever holds an image can start a machine with it |
//! | payload | to the trailer | the agent: through its platform's branch filter, then a `.lzma` stream |
//! | trailer | 36 | the table below, little-endian |
//!
//! | offset | field | |
//! |---|---|---|
//! | 0 | magic | `offshoot` |
//! | 8 | version | 2 |
//! | 9 | platform | 1 x86_64, 2 aarch64; it decides the filter |
//! | 10 | zero | two bytes |
//! | 12 | loader offset | |
//! | 16 | loader length | |
//! | 20 | image length | |
//! | 24 | raw length | of the agent |
//! | 28 | raw checksum | FNV-1a-32 of the agent |
//! | 32 | trailer checksum | FNV-1a-32 of the 32 bytes before |
//!
//! Must never allocate or panic: the unpacker on a target includes this file as it is.

/// The trailer's length.
pub const TRAILER: usize = 36;
/// What a trailer starts with.
pub const MAGIC: [u8; 8] = *b"offshoot";
/// The version of this layout.
pub const VERSION: u8 = 2;
/// The longest image that is taken for one, 16 MiB.
pub const MAX_IMAGE: usize = 16 << 20;
/// The longest agent that is unpacked, 64 MiB.
pub const MAX_RAW: u32 = 64 << 20;
/// The longest loader that is taken for one: more would not fit a command.
pub const MAX_LOADER: u32 = 2048;

/// What an image's last bytes say, checked against the image's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// The number of the platform.
    pub platform: u8,
    /// Where the loader starts and the unpacker ends.
    pub loader_offset: u32,
    /// The loader's length.
    pub loader_length: u32,
    /// The length of the whole image.
    pub image_length: u32,
    /// The agent's length.
    pub raw_length: u32,
    /// The agent's FNV-1a-32.
    pub raw_checksum: u32,
}

impl Trailer {
    /// Reads the trailer of `image`; `None` when it is not one of this version, or contradicts the image or the
    /// limits.
    pub fn read(image: &[u8]) -> Option<Trailer> {
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
        let trailer = Trailer {
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

    /// The trailer's bytes.
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
        for field in
            [self.loader_offset, self.loader_length, self.image_length, self.raw_length, self.raw_checksum]
        {
            put(&field.to_le_bytes());
        }
        if let Some((head, checksum)) = bytes.split_last_chunk_mut::<4>() {
            *checksum = fnv1a(head).to_le_bytes();
        }
        bytes
    }

    /// The loader within `image`.
    pub fn loader<'a>(&self, image: &'a [u8]) -> Option<&'a [u8]> {
        image.get(self.loader_offset as usize..)?.get(..self.loader_length as usize)
    }

    /// The compressed agent within `image`.
    pub fn payload<'a>(&self, image: &'a [u8]) -> Option<&'a [u8]> {
        let start = self.loader_offset as usize + self.loader_length as usize;
        image.get(start..image.len().checked_sub(TRAILER)?)
    }
}

/// FNV-1a, 32 bits. It notices accidents, not attacks: whoever can change an image in transit owns the transport.
pub fn fnv1a(bytes: &[u8]) -> u32 {
    let mut hash: u32 = 0x811c_9dc5;
    for &byte in bytes {
        hash = (hash ^ byte as u32).wrapping_mul(0x0100_0193);
    }
    hash
}
