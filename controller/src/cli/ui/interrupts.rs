//! The first signal that tells this program to end, which is passed on to the programs that it
//! runs. Their connections stay up while they end. The next signal ends everything.

use crate::cli::event::{Event, Events};
use offshoot::{Process, Signaller};
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Default)]
struct Running {
    programs: Vec<(usize, Signaller)>,
    /// The signal that was passed on.
    signal: Option<i32>,
    /// The number of unfinished targets.
    targets: usize,
    /// The highest exit status of the finished targets.
    worst: i32,
}

static RUNNING: Mutex<Running> = Mutex::new(Running {
    programs: Vec::new(),
    signal: None,
    targets: 0,
    worst: 0,
});

fn running() -> MutexGuard<'static, Running> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets the number of targets.
pub(crate) fn expect(targets: usize) {
    running().targets = targets;
}

/// Registers a program for signals.
///
/// # Errors
/// Returns the signal that has arrived already. The program must not run.
pub(crate) fn begin(number: usize, process: &Process) -> Result<(), i32> {
    let mut running = running();
    match running.signal {
        Some(signal) => Err(signal),
        None => {
            running.programs.push((number, process.signaller()));
            Ok(())
        }
    }
}

/// Records the end of a target. After a signal, when no program is left, ends this program: the
/// programs that have not started must not run.
pub(crate) fn finish(number: usize, status: i32, events: &Events) {
    let mut running = running();
    running.programs.retain(|(other, _)| *other != number);
    running.targets = running.targets.saturating_sub(1);
    running.worst = running.worst.max(status);
    if let Some(signal) = running.signal
        && running.programs.is_empty()
        && running.targets > 0
    {
        // If the main thread no longer listens, it is ending this program already.
        let _ = events.send(Event::Finished(running.worst.max(128 + signal)));
    }
}

/// Passes the first signal on to all running programs. Returns false if no program runs, or if a
/// signal was passed on before.
pub(crate) fn pass_on(signal: i32) -> bool {
    let programs = {
        let mut running = running();
        if running.signal.is_some() || running.programs.is_empty() {
            return false;
        }
        running.signal = Some(signal);
        running.programs.clone()
    };
    for (_, program) in programs {
        // Fails if the tree is gone, and then its programs are gone as well.
        let _ = program.signal(signal);
    }
    true
}
