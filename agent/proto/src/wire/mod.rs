//! Frames as bytes: layout, checksums, and the decoder of a link.

mod checksum;
mod decode;
mod frame;

pub use checksum::{header_sum, sum_of};
pub use decode::{Decoder, WireError};
pub use frame::*;
