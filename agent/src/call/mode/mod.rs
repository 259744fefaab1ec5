//! The modes in which a called function runs: at once on the broker's thread, on a worker, on a
//! worker after earlier calls of the function, or once for all callers with the same arguments. The
//! attribute names the mode of each function, so that an image contains only the modes it uses.

mod block_on;
mod coalesced;
mod direct;
mod serial;

pub use block_on::block_on;
pub use coalesced::coalesced;
pub use direct::{concurrent, quick};
pub use serial::serial;
