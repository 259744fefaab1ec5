//! Signals that ask this program to end. They become events, so that the tree is torn down by whoever holds it.

use super::question;
use crate::cli::event::{Event, Events};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether everything is being ended already: one more interrupt ends this program at once.
static GIVEN_UP: AtomicBool = AtomicBool::new(false);

/// Has the next interrupt end this program at once.
pub fn give_up() {
    GIVEN_UP.store(true, Ordering::Relaxed);
}

/// Watches for signals for as long as the program lives.
///
/// # Errors
/// When the system gives no descriptors or threads.
pub fn watch(events: Events) -> io::Result<()> {
    // What was ignored on purpose, as by nohup, stays ignored.
    let ignored = ignored();
    let wanted =
        [SIGINT, SIGTERM, SIGHUP, SIGQUIT].into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0);
    let mut signals = Signals::new(wanted)?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            if signal == SIGINT && GIVEN_UP.load(Ordering::Relaxed) {
                question::restore();
                signal_hook::low_level::exit(128 + signal);
            }
            // Where nobody listens any more the program is ending already.
            let _ = events.send(Event::Signal(signal));
        }
    })?;
    Ok(())
}

/// The signals that this program was started with as ignored, a bit each; none where /proc is not mounted.
pub fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
