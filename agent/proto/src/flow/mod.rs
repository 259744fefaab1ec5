//! Flow control: the credit of each flow, and the reassembly of messages.

mod credit;
mod reassembly;

pub use credit::*;
pub use reassembly::*;
