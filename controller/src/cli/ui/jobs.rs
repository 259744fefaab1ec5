//! Job control: Ctrl-Z, `fg` and `bg`. Before this program stops, the terminal gets its settings back and the tree is told,
//! so that no context takes the controller for a lost one; when it goes on, both are undone.
//!
//! The signals are blocked and read from a descriptor by a thread. The stop itself is the signal's own default action, so a
//! shell sees which signal it was, and where there is no shell that could continue this program, it is not stopped.
//! The price: the kernel does not stop whoever reads from a terminal or sets it in the background, so that
//! [`wait_for_foreground`] has to be asked.

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

/// The signals that stop a program, but for the one that nobody can take.
const STOPS: [Signal; 3] = [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU];

struct Jobs {
    /// Who is told.
    root: Option<Context>,
    /// Which signals stop this program: those that it was not started with as ignored.
    stops: Vec<Signal>,
    /// Whether this program has sent itself one that was not taken yet.
    sent: bool,
    /// Whether the last one that was taken did stop it.
    stopped: bool,
}

static JOBS: Mutex<Jobs> = Mutex::new(Jobs { root: None, stops: Vec::new(), sent: false, stopped: false });
static TAKEN: Condvar = Condvar::new();

fn jobs() -> MutexGuard<'static, Jobs> {
    JOBS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the signals that stop this program, from now on and in all threads that this one starts.
///
/// # Errors
/// Returns an error if the system gives no descriptor or thread.
pub fn watch() -> io::Result<()> {
    let ignored = signals::ignored();
    let stops: Vec<Signal> =
        STOPS.into_iter().filter(|signal| ignored & (1 << (*signal as i32 - 1)) == 0).collect();
    let taken: SigSet = stops.iter().copied().chain([Signal::SIGCONT]).collect();
    taken.thread_block()?;
    let signals = SignalFd::with_flags(&taken, SfdFlags::SFD_CLOEXEC)?;
    jobs().stops = stops;
    std::thread::Builder::new().name("jobs".into()).spawn(move || follow(&signals))?;
    Ok(())
}

/// Has a tree told before this program stops.
pub fn tell(root: &Context) {
    jobs().root = Some(root.clone());
}

fn follow(signals: &SignalFd) {
    let mut waiting = None;
    loop {
        match waiting.take().or_else(|| next(signals, PollTimeout::NONE)) {
            // Somebody else had stopped this program, in a way that it was not told of.
            Some(Signal::SIGCONT) => {
                question::ask_again();
                // It takes away all signals to stop that were on their way.
                taken(true);
            }
            Some(signal) => waiting = stop(signals, signal),
            None => {}
        }
    }
}

fn next(signals: &SignalFd, wait: PollTimeout) -> Option<Signal> {
    let mut ready = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    if !matches!(poll(&mut ready, wait), Ok(1)) {
        return None;
    }
    let taken = signals.read_signal().ok().flatten()?;
    Signal::try_from(taken.ssi_signo as i32).ok()
}

/// Stops this program, and returns when it goes on, with a signal that has come right after that.
fn stop(signals: &SignalFd, signal: Signal) -> Option<Signal> {
    question::give_back();
    let root = jobs().root.clone();
    let pause = root.map(|root| root.router().pause());
    let only = SigSet::from(signal);
    // Whoever reads in the background may have come into the foreground while the tree was told.
    let moot = signal != Signal::SIGTSTP && File::open("/dev/tty").is_ok_and(in_foreground);
    if !moot {
        // Neither fails for a signal there is.
        let _ = only.thread_unblock().and_then(|()| raise(signal));
        let _ = only.thread_block();
    }
    drop(pause);
    // Only what was stopped is continued; a new signal that stops takes the place of the one that continues.
    let (mut stopped, mut more) = (moot, None);
    while let Some(signal) = next(signals, PollTimeout::ZERO) {
        match signal {
            Signal::SIGCONT => stopped = true,
            signal => (stopped, more) = (true, Some(signal)),
        }
    }
    question::ask_again();
    if more.is_none() && (stopped || signal != Signal::SIGTSTP) {
        taken(stopped);
    }
    more
}

/// Nothing that this program has sent itself is on its way any more.
fn taken(stopped: bool) {
    let mut jobs = jobs();
    (jobs.sent, jobs.stopped) = (false, stopped);
    TAKEN.notify_all();
}

/// Has this program wait, stopped by `signal` with its whole process group, until it is in the foreground of a terminal: as
/// the kernel does it to whoever reads there.
///
/// Returns false if it is in the background and nothing stops it: the signal is ignored, or there is no shell.
pub fn wait_for_foreground(fd: impl AsFd, signal: Signal) -> bool {
    while !in_foreground(&fd) {
        let mut jobs = jobs();
        if !jobs.stops.contains(&signal) {
            return false;
        }
        // Once for all who wait: a second one could come when the first has been dealt with.
        if !jobs.sent && killpg(getpgrp(), signal).is_err() {
            return false;
        }
        jobs.sent = true;
        while jobs.sent {
            jobs = TAKEN.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
        if !jobs.stopped {
            return false;
        }
    }
    true
}

/// Has this program wait before it writes to a terminal that wants that of programs in the background (`stty tostop`).
pub fn before_writing(fd: impl AsFd) {
    if !in_foreground(&fd) && tcgetattr(&fd).is_ok_and(|modes| modes.local_flags.contains(LocalFlags::TOSTOP))
    {
        // Where nothing stops it, the kernel lets it write.
        wait_for_foreground(fd, Signal::SIGTTOU);
    }
}
