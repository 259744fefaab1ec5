//! Whether this program was started with a stdout. The Rust runtime opens standard streams that are missing as `/dev/null`
//! before `main`, so that no other file gets their numbers; whoever writes to one would not notice.

use std::fs::read_link;
use std::sync::atomic::{AtomicBool, Ordering};

static MISSING: AtomicBool = AtomicBool::new(false);

// SAFETY: the section holds pointers to functions that the C library calls once each before `main`, when it is itself ready.
// This one needs no more than that: it reads two links and sets a flag, and does not panic.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = look;

extern "C" fn look() {
    // Without /proc nothing is known, and the stream is taken to be there.
    let known = read_link("/proc/self/exe").is_ok();
    MISSING.store(known && read_link("/proc/self/fd/1").is_err(), Ordering::Relaxed);
}

/// Returns true if it was started without one.
pub fn stdout_is_missing() -> bool {
    MISSING.load(Ordering::Relaxed)
}
