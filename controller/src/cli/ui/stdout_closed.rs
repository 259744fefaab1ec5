//! Detection of a stdout that was closed when this program started. The Rust runtime opens missing
//! standard streams as `/dev/null` before `main`, so that no other file gets their numbers, and
//! output to them would vanish without an error.

use std::fs::read_link;
use std::sync::atomic::{AtomicBool, Ordering};

static MISSING: AtomicBool = AtomicBool::new(false);

offshoot_agent::before_main!(look);

fn look() {
    // Without /proc nothing is known, and stdout is assumed to be open.
    let known = read_link("/proc/self/exe").is_ok();
    MISSING.store(
        known && read_link("/proc/self/fd/1").is_err(),
        Ordering::Relaxed,
    );
}

/// Returns true if this program was started without a stdout.
pub(super) fn stdout_is_missing() -> bool {
    MISSING.load(Ordering::Relaxed)
}
