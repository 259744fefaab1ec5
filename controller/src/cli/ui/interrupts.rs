//! Signals that ask this program to end: the first is passed on to the programs that it runs, which have their time to end while
//! their hosts are reached as ever; the next one ends everything.

use crate::cli::event::{Event, Events};
use offshoot::{Process, Signaller};
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Default)]
struct Running {
    programs: Vec<(usize, Signaller)>,
    /// The signal that was passed on.
    told: Option<i32>,
    /// How many targets are not done.
    targets: usize,
    /// The highest status of those that are.
    worst: i32,
}

static RUNNING: Mutex<Running> =
    Mutex::new(Running { programs: Vec::new(), told: None, targets: 0, worst: 0 });

fn running() -> MutexGuard<'static, Running> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells how many targets there are.
pub fn expect(targets: usize) {
    running().targets = targets;
}

/// Has signals passed on to a program from now on.
///
/// # Errors
/// Returns the signal that has come already: the program is not to run.
pub fn begin(number: usize, process: &Process) -> Result<(), i32> {
    let mut running = running();
    match running.told {
        Some(signal) => Err(signal),
        None => {
            running.programs.push((number, process.signaller()));
            Ok(())
        }
    }
}

/// Notes how a target has ended. Where programs were told to end and none is left, those that do not run yet never will.
pub fn finish(number: usize, status: i32, events: &Events) {
    let mut running = running();
    running.programs.retain(|(other, _)| *other != number);
    running.targets = running.targets.saturating_sub(1);
    running.worst = running.worst.max(status);
    if let Some(signal) = running.told
        && running.programs.is_empty()
        && running.targets > 0
    {
        // Where nobody listens any more this program is ending already.
        let _ = events.send(Event::Finished(running.worst.max(128 + signal)));
    }
}

/// Passes the first signal on to all programs that run. Returns false if none does, or if it is not the first.
pub fn pass_on(signal: i32) -> bool {
    let programs = {
        let mut running = running();
        if running.told.is_some() || running.programs.is_empty() {
            return false;
        }
        running.told = Some(signal);
        running.programs.clone()
    };
    for (_, program) in programs {
        // Where the tree is gone its program is as well.
        let _ = program.signal(signal);
    }
    true
}
