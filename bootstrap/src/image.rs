//! An image in memory, with its properties.

use std::{error::Error, fmt, sync::Arc};

use crate::{
    branch_filter,
    layout::{self, Trailer},
    lzma,
    platform::Platform,
};

/// A self-extracting agent for one platform. Clones share the memory.
///
/// The module `layout` documents the format.
#[derive(Clone)]
pub struct Image {
    bytes: Arc<[u8]>,
    trailer: Trailer,
    platform: Platform,
    checksum: u32,
}

impl Image {
    /// Reads an image.
    ///
    /// # Errors
    /// Returns an error if `bytes` are not an image of this version. Lengths are checked before
    /// memory is allocated. Only [`Image::unpack`] checks the agent inside.
    pub fn parse(bytes: impl Into<Arc<[u8]>>) -> Result<Self, ImageError> {
        let bytes = bytes.into();
        let trailer = Trailer::read(&bytes).ok_or(ImageError::Trailer)?;
        let platform = Platform::ALL
            .into_iter()
            .find(|platform| platform.number() == trailer.platform)
            .ok_or(ImageError::Platform(trailer.platform))?;
        let loader = trailer.loader(&bytes).ok_or(ImageError::Trailer)?;
        let unpacker = bytes
            .get(..trailer.loader_offset as usize)
            .ok_or(ImageError::Trailer)?;
        check_program(unpacker, platform, bytes.len()).ok_or(ImageError::Program("unpacker"))?;
        check_program(loader, platform, loader.len()).ok_or(ImageError::Program("loader"))?;
        let checksum = layout::fnv1a(&bytes);
        Ok(Self {
            trailer,
            platform,
            checksum,
            bytes,
        })
    }

    /// Returns the platform.
    pub fn platform(&self) -> Platform {
        self.platform
    }

    /// Returns stage 1 for the same platform: an ELF file of less than 2 KiB.
    pub fn loader(&self) -> &[u8] {
        // Present, because `parse` has checked it.
        self.trailer.loader(&self.bytes).unwrap_or_default()
    }

    /// Returns stage 2, whose headers claim the whole image.
    pub(crate) fn before_loader(&self) -> &[u8] {
        self.bytes
            .get(..self.trailer.loader_offset as usize)
            .unwrap_or_default()
    }

    /// Returns the whole image.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// Returns the FNV-1a-32 hash of the whole image.
    pub fn checksum(&self) -> u32 {
        self.checksum
    }

    /// Returns the agent inside, an ELF file.
    ///
    /// # Errors
    /// Returns an error if the payload is damaged. At most 64 MiB are allocated.
    pub fn unpack(&self) -> Result<Vec<u8>, ImageError> {
        let payload = self
            .trailer
            .payload(&self.bytes)
            .ok_or(ImageError::Trailer)?;
        let mut agent = vec![0; self.trailer.raw_length as usize];
        let mut probabilities = Box::new([0; lzma::PROBABILITIES]);
        lzma::decode(payload, &mut probabilities, &mut agent).map_err(|_| ImageError::Payload)?;
        branch_filter::undo(self.platform.filter(), &mut agent);
        if layout::fnv1a(&agent) != self.trailer.raw_checksum {
            return Err(ImageError::Payload);
        }
        Ok(agent)
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Image({}, {} bytes, {:08x})",
            self.platform,
            self.bytes.len(),
            self.checksum
        )
    }
}

/// Offsets of the segment's length, in the file and in memory, in an ELF file of one segment.
pub(crate) const SEGMENT_LENGTHS: [std::ops::Range<usize>; 2] = [96..104, 104..112];

/// Checks that `program` is (the beginning of) a stage for `platform`: an ELF file whose only
/// segment is the first `length` bytes.
pub(crate) fn check_program(program: &[u8], platform: Platform, length: usize) -> Option<()> {
    let header = program.first_chunk::<120>()?;
    let machine = u16::from_le_bytes([header[18], header[19]]);
    let one_header = header[32..40] == 64u64.to_le_bytes() && header[54..58] == [56, 0, 1, 0];
    let from_start = header[72..80] == [0; 8];
    let whole = SEGMENT_LENGTHS
        .into_iter()
        .all(|place| header[place] == (length as u64).to_le_bytes());
    let right = header.starts_with(b"\x7fELF\x02\x01") && machine == platform.elf_machine();
    (right && one_header && from_start && whole).then_some(())
}

/// The reason why bytes are not an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageError {
    /// The trailer is missing, of another version, or contradicts the rest.
    Trailer,
    /// Unknown platform.
    Platform(u8),
    /// The named native stage is not a program for the platform.
    Program(&'static str),
    /// The agent inside is damaged.
    Payload,
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trailer => {
                f.write_str("this is not an image of this version of offshoot, or it was cut short")
            }
            Self::Platform(number) => {
                write!(
                    f,
                    "the image is for platform number {number}, which is unknown here"
                )
            }
            Self::Program(stage) => {
                write!(
                    f,
                    "the image's {stage} is not a program for the image's platform"
                )
            }
            Self::Payload => f.write_str("the agent inside the image is damaged"),
        }
    }
}

impl Error for ImageError {}
