//! Flow control: credit of each byte stream, and messages that come in pieces.

mod credit;
mod reassembly;

pub use credit::*;
pub use reassembly::*;
