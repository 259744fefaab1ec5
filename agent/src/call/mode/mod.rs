//! When a called function runs, and on which thread: at once on the broker's, on a worker beside others, on a worker after
//! those before it, or once for all who ask for the same. The attribute picks one for each function, so that an image has
//! the code of those ways only that its functions take.

mod block_on;
mod coalesced;
mod direct;
mod serial;

pub use block_on::block_on;
pub use coalesced::shared;
pub use direct::{concurrent, quick};
pub use serial::serial;
