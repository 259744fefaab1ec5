//! Assembly of images from their parts. The same parts always give the same bytes.

use std::{error::Error, fmt};

use crate::{
    branch_filter,
    elf::{Class, Elf},
    fast_encoder,
    image::{Image, check_stage},
    layout::{self, TRAILER, Trailer},
    platform::Platform,
};

impl Image {
    /// Returns an image of the same platform with another agent, an ELF file, compressed by the
    /// fast encoder of this crate: for a controller that becomes its own image at run time. Symbols
    /// and debugging data are removed.
    ///
    /// # Errors
    /// Returns an error if `agent` is not a program for the platform, or exceeds the limits of the
    /// format.
    pub fn with_agent(&self, agent: &[u8]) -> Result<Self, PackError> {
        Self::of_program(self.platform(), agent, self.loader(), &self.unpacker())
    }

    /// Returns an image of an agent as [`Image::with_agent`] does, with the two native stages of
    /// its platform.
    ///
    /// # Errors
    /// Returns an error if a part is not for the platform, or exceeds the limits of the format.
    pub fn of_program(
        platform: Platform,
        agent: &[u8],
        loader: &[u8],
        unpacker: &[u8],
    ) -> Result<Self, PackError> {
        let part = PackError::Part("agent", platform);
        let agent = Elf::read(agent).and_then(|elf| elf.loaded()).ok_or(part)?;
        let image = assemble(platform, &agent, loader, unpacker, |data| {
            Ok(fast_encoder::encode(data))
        })?;
        Self::parse(image).map_err(|error| PackError::Compressor(error.to_string()))
    }

    /// Returns stage 2 as compiled, without the image behind it.
    pub fn unpacker(&self) -> Vec<u8> {
        let mut unpacker = self.before_loader().to_vec();
        let length = unpacker.len();
        Class::of_platform(self.platform()).set_stage_length(&mut unpacker, length);
        unpacker
    }
}

/// Assembles an image of `agent`, an ELF file for `platform`, with the two native stages of that
/// platform, and unpacks it once for comparison. `compress` returns a `.lzma` stream.
pub(crate) fn assemble(
    platform: Platform,
    agent: &[u8],
    loader: &[u8],
    unpacker: &[u8],
    compress: impl FnOnce(&[u8]) -> Result<Vec<u8>, PackError>,
) -> Result<Vec<u8>, PackError> {
    if !Elf::read(agent).is_some_and(|elf| elf.is_for(platform)) {
        return Err(PackError::Part("agent", platform));
    }
    check_stage(loader, platform, loader.len()).ok_or(PackError::Part("loader", platform))?;
    check_stage(unpacker, platform, unpacker.len()).ok_or(PackError::Part("unpacker", platform))?;
    if loader.len() > layout::MAX_LOADER as usize || agent.len() > layout::MAX_RAW as usize {
        return Err(PackError::TooLarge);
    }

    let mut filtered = agent.to_vec();
    branch_filter::apply(platform.filter(), &mut filtered);
    let payload = compress(&filtered)?;

    let length = unpacker.len() + loader.len() + payload.len() + TRAILER;
    if length > layout::MAX_IMAGE {
        return Err(PackError::TooLarge);
    }
    let trailer = Trailer {
        platform: platform.number(),
        loader_offset: unpacker.len() as u32,
        loader_length: loader.len() as u32,
        image_length: length as u32,
        raw_length: agent.len() as u32,
        raw_checksum: layout::fnv1a(agent),
    };
    let mut image = [unpacker, loader, &payload, &trailer.write()].concat();
    Class::of_platform(platform).set_stage_length(&mut image, length);
    match Image::parse(image.as_slice()).and_then(|image| image.unpack()) {
        Ok(unpacked) if unpacked == agent => Ok(image),
        _ => Err(PackError::Compressor(
            "what was packed does not unpack to the same bytes".into(),
        )),
    }
}

/// The reason why an image could not be written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PackError {
    /// The named part is not a program for the platform.
    Part(&'static str, Platform),
    /// The agent, the loader or the result exceeds a limit of the format.
    TooLarge,
    /// The compressor failed; its message.
    Compressor(String),
}

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Part(part, platform) => {
                write!(f, "the {part} is not a program of the right form for {platform}")
            }
            Self::TooLarge => f.write_str(
                "the agent or its loader is over the limits of the image format (64 MiB before packing, 16 MiB after)",
            ),
            Self::Compressor(words) => write!(f, "the agent could not be compressed: {words}"),
        }
    }
}

impl Error for PackError {}
