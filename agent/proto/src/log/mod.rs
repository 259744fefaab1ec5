//! Log records, the log filter, and lines of output.

mod filter;
mod lines;
mod record;

pub use filter::*;
pub use lines::Lines;
pub use record::*;
pub use tracing::Level;
