//! Signals that tell this program to end. They become events for the main thread, which owns the
//! tree.

use super::question;
use crate::cli::event::{Event, Events};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// True while the tree is being ended. Another SIGINT then ends this program at once.
static GIVEN_UP: AtomicBool = AtomicBool::new(false);

/// Makes the next SIGINT end this program at once.
pub(crate) fn give_up() {
    GIVEN_UP.store(true, Ordering::Relaxed);
}

/// Makes a write beyond the limit of file sizes an error, which names what could not be written.
pub(crate) fn survive_file_limits() {
    // Refused only for signals that no program can handle.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
}

/// Handles signals on a thread of its own until this program ends.
///
/// # Errors
/// Returns an error if there is no descriptor or thread left.
pub(crate) fn watch(events: Events) -> io::Result<()> {
    // Signals that were ignored on purpose, as by nohup, stay ignored.
    let ignored = ignored();
    let wanted = [SIGINT, SIGTERM, SIGHUP, SIGQUIT]
        .into_iter()
        .filter(|signal| ignored & (1 << (signal - 1)) == 0);
    let mut signals = Signals::new(wanted)?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                if signal == SIGINT && GIVEN_UP.load(Ordering::Relaxed) {
                    question::close();
                    signal_hook::low_level::exit(128 + signal);
                }
                // If the main thread no longer listens, it is ending this program already.
                let _ = events.send(Event::Signal(signal));
            }
        })?;
    Ok(())
}

/// Returns the signals that were ignored when this program started, as a bit mask. Empty if /proc
/// is not mounted.
pub(crate) fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}
