//! An image in memory, with its properties.

use std::{error::Error, fmt, sync::Arc};

use crate::{
    branch_filter,
    elf::Elf,
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
    hosts: Platform,
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
        check_stage(unpacker, platform, bytes.len()).ok_or(ImageError::Program("unpacker"))?;
        check_stage(loader, platform, loader.len()).ok_or(ImageError::Program("loader"))?;
        let checksum = layout::fnv1a(&bytes);
        Ok(Self {
            trailer,
            platform,
            hosts: platform,
            checksum,
            bytes,
        })
    }

    /// Returns the platform.
    pub fn platform(&self) -> Platform {
        self.platform
    }

    /// Returns the platform of the hosts that it is sent to: its own, unless [`Image::for_hosts`]
    /// has named another.
    pub fn hosts(&self) -> Platform {
        self.hosts
    }

    /// Returns the image for hosts that say that they are of another platform, such as 32-bit
    /// systems on a 64-bit kernel.
    #[must_use]
    pub fn for_hosts(mut self, platform: Platform) -> Self {
        self.hosts = platform;
        self
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

/// Checks that `program` is (the beginning of) a stage for `platform` of `length` bytes.
pub(crate) fn check_stage(program: &[u8], platform: Platform, length: usize) -> Option<()> {
    Elf::read(program)?.is_stage(platform, length).then_some(())
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
