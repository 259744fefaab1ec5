//! The signals of an agent, each told to its broker over a pipe.
//!
//! Not by a crate: an agent takes its signals once, before it runs anything else, and never gives them back.

pub use libc::{SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM, SIGUSR2};
use std::io;
use std::os::fd::IntoRawFd;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicI32;
use std::sync::atomic::Ordering;

/// The pipe for the order to end, and the one for everything else.
static PIPES: [AtomicI32; 2] = [AtomicI32::new(-1), AtomicI32::new(-1)];

/// Whether a dump was asked for.
static DUMP: AtomicBool = AtomicBool::new(false);

/// Has SIGTERM reported as a byte on `end`, SIGCHLD and SIGUSR2 on `child`; SIGHUP, SIGINT and SIGQUIT do nothing from now on.
/// All of these are at their default again in what this process executes.
///
/// # Errors
/// As the operating system gives them.
pub fn report(end: OwnedFd, child: OwnedFd) -> io::Result<()> {
    for (pipe, fd) in PIPES.iter().zip([end, child]) {
        crate::set_nonblocking(&fd)?;
        pipe.store(fd.into_raw_fd(), Ordering::Relaxed);
    }
    for signal in [
        libc::SIGTERM,
        libc::SIGUSR2,
        libc::SIGCHLD,
        // A handler that does nothing, and not "ignore", which would be inherited.
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
    ] {
        // SAFETY: the handler only makes calls that are allowed in one.
        unsafe { libc::signal(signal, arrived as *const () as libc::sighandler_t) };
    }
    Ok(())
}

/// Whether SIGUSR2 has come since this was last asked.
pub fn take_dump() -> bool {
    DUMP.swap(false, Ordering::Relaxed)
}

extern "C" fn arrived(signal: libc::c_int) {
    let pipe = match signal {
        libc::SIGTERM => &PIPES[0],
        libc::SIGUSR2 | libc::SIGCHLD => &PIPES[1],
        _ => return,
    };
    // Before the byte, which says that there is something to look at.
    DUMP.fetch_or(signal == libc::SIGUSR2, Ordering::Relaxed);
    // SAFETY: the byte is ours; whoever was interrupted finds its error number as it was. A full pipe will wake as well.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        libc::write(pipe.load(Ordering::Relaxed), [0_u8].as_ptr().cast(), 1);
        *errno = before;
    }
}

/// A signal that is reported on a pipe. Dropped, it is reported no longer, and the pipe is closed.
pub struct Notification(signal_hook::SigId);

/// Writes a byte to `end` for each signal of that number to this process.
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
