//! Writes images. The same parts always give the same bytes.

use std::{error::Error, fmt, io::Write};

use xz2::{
    stream::{LzmaOptions, MatchFinder, Mode, Stream},
    write::XzEncoder,
};

use crate::{
    Image, Platform, filter,
    image::{SEGMENT_LENGTHS, check_program},
    layout::{self, TRAILER, Trailer},
};

/// Packs `agent`, an ELF file for `platform`, with the two native stages of that platform into an image.
///
/// The stages come from [`crate::native::compile`]. Several settings of the compressor are tried, the smallest result
/// is kept, and the image is unpacked once for comparison.
///
/// # Errors
/// When a part is not for `platform` or is too large, or the compressor fails.
pub fn pack(platform: Platform, agent: &[u8], loader: &[u8], unpacker: &[u8]) -> Result<Vec<u8>, PackError> {
    let machine = agent.get(18..20).map(|machine| u16::from_le_bytes([machine[0], machine[1]]));
    if !agent.starts_with(b"\x7fELF\x02\x01") || machine != Some(platform.elf_machine()) {
        return Err(PackError::Part("agent", platform));
    }
    check_program(loader, platform, loader.len()).ok_or(PackError::Part("loader", platform))?;
    check_program(unpacker, platform, unpacker.len()).ok_or(PackError::Part("unpacker", platform))?;
    if loader.len() > layout::MAX_LOADER as usize || agent.len() > layout::MAX_RAW as usize {
        return Err(PackError::TooLarge);
    }

    let mut filtered = agent.to_vec();
    filter::apply(platform.filter(), &mut filtered);
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
    for place in SEGMENT_LENGTHS {
        image[place].copy_from_slice(&(length as u64).to_le_bytes());
    }
    match Image::parse(image.as_slice()).and_then(|image| image.unpack()) {
        Ok(unpacked) if unpacked == agent => Ok(image),
        _ => Err(PackError::Compressor("what was packed does not unpack to the same bytes".into())),
    }
}

/// The smallest `.lzma` stream of `data` among the settings that suit machine code.
fn compress(data: &[u8]) -> Result<Vec<u8>, PackError> {
    let dictionary = (data.len() as u32).next_power_of_two().max(1 << 16);
    let mut best: Option<Vec<u8>> = None;
    for (lc, lp, pb) in
        [(3, 0, 0), (3, 0, 2), (4, 0, 0), (2, 0, 0), (1, 0, 0), (0, 0, 0), (0, 2, 2), (2, 2, 2), (1, 2, 2)]
    {
        let mut options = LzmaOptions::new_preset(9).map_err(compressor)?;
        options.dict_size(dictionary).literal_context_bits(lc).literal_position_bits(lp).position_bits(pb);
        options.mode(Mode::Normal).match_finder(MatchFinder::BinaryTree4).nice_len(273).depth(1000);
        let stream = Stream::new_lzma_encoder(&options).map_err(compressor)?;
        let mut encoder = XzEncoder::new_stream(Vec::new(), stream);
        encoder.write_all(data).map_err(compressor)?;
        let packed = encoder.finish().map_err(compressor)?;
        if best.as_ref().is_none_or(|best| packed.len() < best.len()) {
            best = Some(packed);
        }
    }
    best.ok_or_else(|| PackError::Compressor("no setting worked".into()))
}

fn compressor(error: impl fmt::Display) -> PackError {
    PackError::Compressor(error.to_string())
}

/// Why an image could not be written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PackError {
    /// The named part is not a program for the platform.
    Part(&'static str, Platform),
    /// The agent, the loader or the result is over the format's limits.
    TooLarge,
    /// The compressor failed, with its words.
    Compressor(String),
}

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PackError::Part(part, platform) => {
                write!(f, "the {part} is not a program of the right form for {platform}")
            }
            PackError::TooLarge => {
                f.write_str("the agent or its loader is over the limits of the image format")
            }
            PackError::Compressor(words) => write!(f, "the agent could not be compressed: {words}"),
        }
    }
}

impl Error for PackError {}
