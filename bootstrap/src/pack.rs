//! Packing of agents at maximum compression, for images that are built once and sent often.

use std::{fmt, io::Write};

use xz2::{
    stream::{LzmaOptions, MatchFinder, Mode, Stream},
    write::XzEncoder,
};

use crate::{
    assemble::{PackError, assemble},
    platform::Platform,
};

/// Packs `agent`, an ELF file for `platform`, with the two native stages of that platform into an
/// image.
///
/// The stages come from [`crate::native::compile`]. Several settings of the compressor are tried
/// and the smallest result is kept. The image is unpacked once for comparison.
///
/// # Errors
/// Returns an error if a part is not for `platform` or too large, or if the compressor fails.
pub fn pack(
    platform: Platform,
    agent: &[u8],
    loader: &[u8],
    unpacker: &[u8],
) -> Result<Vec<u8>, PackError> {
    assemble(platform, agent, loader, unpacker, compress)
}

/// Returns the smallest `.lzma` stream of `data` among settings that suit machine code.
fn compress(data: &[u8]) -> Result<Vec<u8>, PackError> {
    let dictionary = (data.len() as u32).next_power_of_two().max(1 << 16);
    let mut best: Option<Vec<u8>> = None;
    for (lc, lp, pb) in [
        (3, 0, 0),
        (3, 0, 2),
        (4, 0, 0),
        (2, 0, 0),
        (1, 0, 0),
        (0, 0, 0),
        (0, 2, 2),
        (2, 2, 2),
        (1, 2, 2),
    ] {
        let mut options = LzmaOptions::new_preset(9).map_err(compressor)?;
        options
            .dict_size(dictionary)
            .literal_context_bits(lc)
            .literal_position_bits(lp)
            .position_bits(pb);
        options
            .mode(Mode::Normal)
            .match_finder(MatchFinder::BinaryTree4)
            .nice_len(273)
            .depth(1000);
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
