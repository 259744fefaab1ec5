//! Packing of agents at maximum compression, for images that are built once and sent often.

use std::{fmt, io::Write};

use lzma_rust2::{EncodeMode, LzmaOptions, LzmaWriter, MfType};

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
        (3, 1, 1),
    ] {
        let mut options = LzmaOptions::with_preset(9);
        options.dict_size = dictionary;
        (options.lc, options.lp, options.pb) = (lc, lp, pb);
        options.mode = EncodeMode::Normal;
        options.mf = MfType::Bt4;
        options.nice_len = LzmaOptions::NICE_LEN_MAX;
        options.depth_limit = 1000;
        let length = Some(data.len() as u64);
        let mut encoder =
            LzmaWriter::new_use_header(Vec::new(), &options, length).map_err(compressor)?;
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
