//! Signals: those of an agent, reported to its broker over a pipe, and signal masks.
//!
//! An agent takes its signals once, before anything else runs, and never gives them back. That
//! needs no crate.

use crate::fd::set_nonblocking;
pub use libc::{SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM, SIGUSR2};
use std::io;
use std::os::fd::IntoRawFd;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicI32;
use std::sync::atomic::Ordering;

/// Write ends of the pipe for SIGTERM and of the pipe for all other signals; -1 before [`report`].
static PIPES: [AtomicI32; 2] = [AtomicI32::new(-1), AtomicI32::new(-1)];

/// True if SIGUSR2 has requested a dump.
static DUMP: AtomicBool = AtomicBool::new(false);

/// Reports SIGTERM as a byte on `end`, SIGCHLD and SIGUSR2 on `child`. SIGHUP, SIGINT and SIGQUIT
/// have no effect from now on. Executed programs have all of these at their defaults.
///
/// # Errors
/// Returns an error if the system refuses.
pub fn report(end: OwnedFd, child: OwnedFd) -> io::Result<()> {
    for (pipe, fd) in PIPES.iter().zip([end, child]) {
        set_nonblocking(&fd)?;
        pipe.store(fd.into_raw_fd(), Ordering::Relaxed);
    }
    for signal in [
        SIGTERM, SIGUSR2, SIGCHLD,
        // A handler that does nothing: children would inherit "ignore".
        SIGHUP, SIGINT, SIGQUIT,
    ] {
        // SAFETY: the handler makes only async-signal-safe calls.
        unsafe { libc::signal(signal, arrived as *const () as libc::sighandler_t) };
    }
    Ok(())
}

/// Returns true if SIGUSR2 has arrived since the last call.
pub fn take_dump() -> bool {
    DUMP.swap(false, Ordering::Relaxed)
}

extern "C" fn arrived(signal: libc::c_int) {
    let pipe = match signal {
        SIGTERM => &PIPES[0],
        SIGUSR2 | SIGCHLD => &PIPES[1],
        _ => return,
    };
    // Set before the byte is written that wakes the reader.
    DUMP.fetch_or(signal == SIGUSR2, Ordering::Relaxed);
    // SAFETY: the byte is a local variable, and errno is restored for the interrupted code. A full
    // pipe wakes its reader as well.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        libc::write(pipe.load(Ordering::Relaxed), [0_u8].as_ptr().cast(), 1);
        *errno = before;
    }
}

/// A signal that is reported on a pipe. Dropping it ends the reports and closes the pipe.
pub struct Notification(signal_hook::SigId);

/// Writes a byte to `end` for each signal of this number that the process receives.
///
/// # Errors
/// Returns an error if the system refuses the handler.
pub fn notify(signal: i32, end: OwnedFd) -> io::Result<Notification> {
    signal_hook::low_level::pipe::register(signal, end).map(Notification)
}

impl Drop for Notification {
    fn drop(&mut self) {
        signal_hook::low_level::unregister(self.0);
    }
}

/// Blocks all signals in this thread until it is dropped, so that no handler runs in a process that
/// is forked meanwhile.
pub struct SignalsBlocked(libc::sigset_t);

impl SignalsBlocked {
    /// Blocks all signals.
    pub fn all() -> Self {
        // SAFETY: both sets are initialised by the calls that fill them.
        unsafe {
            let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
            libc::sigfillset(&mut all);
            libc::sigprocmask(libc::SIG_BLOCK, &all, &mut before);
            Self(before)
        }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: the set is the one that was in force before.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
    }
}

/// Resets all signals to their defaults and unblocks them, as a login does. In this order, so that
/// no handler of the parent runs.
pub(crate) fn default_signals() {
    for signal in 1..=64 {
        default_signal(signal);
    }
    unblock_signals();
}

/// Resets a signal to its default. Bypasses the C library, which refuses the signals that it uses
/// itself; another library may have ignored them in the parent.
pub fn default_signal(signal: i32) {
    // Layout of the kernel's structure: handler, flags, restorer, mask.
    let default = [libc::SIG_DFL; 4];
    let nowhere = std::ptr::null_mut::<usize>();
    // SAFETY: a complete action that is only read, and the size of its mask.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), nowhere, 8) };
}

/// Unblocks all signals in this thread.
pub fn unblock_signals() {
    // SAFETY: the set is initialised before it is used.
    unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}
