//! Job control: Ctrl-Z, `fg` and `bg`. Before this program stops, it restores the settings of the
//! terminal and pauses the tree, so that no context takes the stopped controller for a lost one.
//! When it continues, both are undone.
//!
//! The signals are blocked, and a thread reads them from a descriptor. The stop itself is the
//! default action of the signal, so a shell sees the right signal, and without a shell that could
//! continue this program the kernel does not stop it. The price: the kernel no longer stops a
//! background process that reads from the terminal or changes its settings, so that code has to
//! call [`wait_for_foreground`].

use super::shared_fd::in_foreground;
use super::{question, signals};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, killpg, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::getpgrp;
use offshoot::Context;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The signals that stop a program, except SIGSTOP, which cannot be handled.
const STOPS: [Signal; 3] = [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU];

struct Jobs {
    /// The root of the tree to pause.
    root: Option<Context>,
    /// The signals that stop this program: those that were not ignored when it started.
    stops: Vec<Signal>,
    /// True while a signal that this program has sent to itself is pending.
    sent: bool,
    /// True if the last handled signal did stop this program.
    stopped: bool,
}

static JOBS: Mutex<Jobs> = Mutex::new(Jobs {
    root: None,
    stops: Vec::new(),
    sent: false,
    stopped: false,
});
static HANDLED: Condvar = Condvar::new();

fn jobs() -> MutexGuard<'static, Jobs> {
    JOBS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Handles the signals that stop this program. They are blocked in this thread and in all that it
/// starts later.
///
/// # Errors
/// Returns an error if there is no descriptor or thread left.
pub(crate) fn watch() -> io::Result<()> {
    let ignored = signals::ignored();
    let stops: Vec<Signal> = STOPS
        .into_iter()
        .filter(|signal| ignored & (1 << (*signal as i32 - 1)) == 0)
        .collect();
    let handled: SigSet = stops.iter().copied().chain([Signal::SIGCONT]).collect();
    handled.thread_block()?;
    let signals = SignalFd::with_flags(&handled, SfdFlags::SFD_CLOEXEC)?;
    jobs().stops = stops;
    std::thread::Builder::new()
        .name("jobs".into())
        .spawn(move || follow(&signals))?;
    Ok(())
}

/// Makes this program pause a tree before it stops.
pub(crate) fn set_tree(root: &Context) {
    jobs().root = Some(root.clone());
}

/// Handles the signals one after another.
fn follow(signals: &SignalFd) {
    let mut waiting = None;
    loop {
        match waiting.take().or_else(|| next(signals, PollTimeout::NONE)) {
            // Another process has stopped this program with SIGSTOP, of which there is no notice.
            Some(Signal::SIGCONT) => {
                question::show_again();
                // SIGCONT discards all pending signals that stop a process.
                handled(true);
            }
            Some(signal) => waiting = stop(signals, signal),
            None => {}
        }
    }
}

/// Returns the next signal, or `None` if none arrives in time.
fn next(signals: &SignalFd, wait: PollTimeout) -> Option<Signal> {
    let mut ready = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    if !matches!(poll(&mut ready, wait), Ok(1)) {
        return None;
    }
    let signal = signals.read_signal().ok().flatten()?;
    Signal::try_from(signal.ssi_signo as i32).ok()
}

/// Stops this program. Returns when it continues, with a further signal if one has arrived since.
fn stop(signals: &SignalFd, signal: Signal) -> Option<Signal> {
    question::suspend();
    let root = jobs().root.clone();
    let pause = root.map(|root| root.router().pause());
    let only = SigSet::from(signal);
    // While the tree was being paused, this program may have moved to the foreground, where reading
    // is allowed.
    let moot = signal != Signal::SIGTSTP && File::open("/dev/tty").is_ok_and(in_foreground);
    if !moot {
        // Cannot fail for a valid signal.
        let _ = only.thread_unblock().and_then(|()| raise(signal));
        let _ = only.thread_block();
    }
    drop(pause);
    // A pending SIGCONT proves that this program was stopped. A new stop signal discards a pending
    // SIGCONT, so it proves the same.
    let (mut stopped, mut more) = (moot, None);
    while let Some(signal) = next(signals, PollTimeout::ZERO) {
        match signal {
            Signal::SIGCONT => stopped = true,
            signal => (stopped, more) = (true, Some(signal)),
        }
    }
    question::show_again();
    if more.is_none() && (stopped || signal != Signal::SIGTSTP) {
        handled(stopped);
    }
    more
}

/// Records that no signal of this program to itself is pending any more, and wakes the threads that
/// wait for that.
fn handled(stopped: bool) {
    let mut jobs = jobs();
    (jobs.sent, jobs.stopped) = (false, stopped);
    HANDLED.notify_all();
}

/// Waits until this program is in the foreground of a terminal. Until then `signal` stops its whole
/// process group, as the kernel does to a background process that reads from a terminal.
///
/// Returns false if this program is in the background and cannot be stopped, because the signal is
/// ignored or there is no shell.
pub(crate) fn wait_for_foreground(fd: impl AsFd, signal: Signal) -> bool {
    while !in_foreground(&fd) {
        let mut jobs = jobs();
        if !jobs.stops.contains(&signal) {
            return false;
        }
        // One signal for all threads that wait: a second one could arrive after the first was
        // handled, and stop again.
        if !jobs.sent && killpg(getpgrp(), signal).is_err() {
            return false;
        }
        jobs.sent = true;
        while jobs.sent {
            jobs = HANDLED.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
        if !jobs.stopped {
            return false;
        }
    }
    true
}

/// Waits for the foreground before a write, if the terminal stops background programs that write
/// (`stty tostop`).
pub(crate) fn before_writing(fd: impl AsFd) {
    if !in_foreground(&fd)
        && tcgetattr(&fd).is_ok_and(|modes| modes.local_flags.contains(LocalFlags::TOSTOP))
    {
        // If this program cannot be stopped, the kernel allows the write.
        wait_for_foreground(fd, Signal::SIGTTOU);
    }
}
