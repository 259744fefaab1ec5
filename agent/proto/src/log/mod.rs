//! Log records as they travel, the filter that decides which do, and the lines that programs print.

mod filter;
mod lines;
mod record;

pub use filter::*;
pub use lines::Lines;
pub use record::*;
pub use tracing::Level;
