//! Writing without the signals of a write that fails: SIGPIPE for a closed pipe, SIGXFSZ beyond the
//! limit of file sizes.
//!
//! Rust's start-up code ignores SIGPIPE, and the loader SIGXFSZ, so agents do as well. A controller
//! may have restored SIGPIPE, as command-line tools do, or may not have been started by Rust.
//! Neither the end of a host nor a limit, which applies to memory files, must end the controller.

use std::io;
use std::mem::zeroed;
use std::os::fd::RawFd;
use std::sync::OnceLock;

type Write = fn(RawFd, &[u8]) -> isize;

/// Function that writes for this process, if not the plain system call. Stock agents only have the
/// latter.
static WRITE: OnceLock<Write> = OnceLock::new();

/// Suppresses SIGPIPE and SIGXFSZ in all writes of this crate, in every thread.
pub fn suppress() {
    WRITE.get_or_init(|| without_signal);
}

/// Writes once, with the result and errno of the system call.
pub fn write(fd: RawFd, bytes: &[u8]) -> isize {
    match WRITE.get() {
        Some(write) => write(fd, bytes),
        None => plainly(fd, bytes),
    }
}

fn plainly(fd: RawFd, bytes: &[u8]) -> isize {
    // SAFETY: the bytes are borrowed for their length.
    unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) }
}

/// Writes with both signals blocked in this thread, and consumes the one that the write has raised,
/// but none that was pending before. The kernel sends it to the writing thread only.
fn without_signal(fd: RawFd, bytes: &[u8]) -> isize {
    let raised_by = |error: Option<i32>| match error {
        Some(libc::EPIPE) => Some(libc::SIGPIPE),
        Some(libc::EFBIG) => Some(libc::SIGXFSZ),
        _ => None,
    };
    // SAFETY: the sets are initialised by the calls that fill them, and errno belongs to this
    // thread.
    unsafe {
        let (mut both, mut before, mut pending) = (zeroed(), zeroed(), zeroed());
        libc::sigemptyset(&mut both);
        libc::sigaddset(&mut both, libc::SIGPIPE);
        libc::sigaddset(&mut both, libc::SIGXFSZ);
        libc::sigemptyset(&mut pending);
        libc::pthread_sigmask(libc::SIG_BLOCK, &both, &mut before);
        let blocked = |signal| libc::sigismember(&before, signal) == 1;
        if blocked(libc::SIGPIPE) || blocked(libc::SIGXFSZ) {
            libc::sigpending(&mut pending);
        }
        let count = plainly(fd, bytes);
        let error = io::Error::last_os_error().raw_os_error();
        if count < 0
            && let Some(signal) = raised_by(error)
            && libc::sigismember(&pending, signal) == 0
        {
            let (mut only, at_once) = (zeroed(), zeroed());
            libc::sigemptyset(&mut only);
            libc::sigaddset(&mut only, signal);
            libc::sigtimedwait(&only, std::ptr::null_mut(), &at_once);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        *libc::__errno_location() = error.unwrap_or(0);
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::os::unix::net::UnixStream;

    /// Returns the writing ends of a pipe and of a socket without a reader: both types of a link.
    fn broken() -> [OwnedFd; 2] {
        let (_, pipe) = crate::fd::pipe().unwrap();
        let (socket, _) = UnixStream::pair().unwrap();
        [pipe, socket.into()]
    }

    #[test]
    fn a_write_to_a_broken_pipe_raises_no_sigpipe_and_consumes_no_other() {
        // The signal goes to the thread that writes. Other tests may lose readers meanwhile.
        thread_local! {
            static SEEN: Cell<u32> = const { Cell::new(0) };
        }
        extern "C" fn count(_signal: libc::c_int) {
            SEEN.set(SEEN.get() + 1);
        }
        // SAFETY: a handler that counts.
        unsafe { libc::signal(libc::SIGPIPE, count as *const () as libc::sighandler_t) };
        for fd in broken() {
            assert_eq!(plainly(fd.as_raw_fd(), b"x"), -1);
        }
        assert_eq!(SEEN.replace(0), 2, "it is counted at all");
        for fd in broken() {
            assert_eq!(without_signal(fd.as_raw_fd(), b"x"), -1);
            assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::EPIPE));
        }
        assert_eq!(SEEN.get(), 0);
        let (read, pipe) = crate::fd::pipe().unwrap();
        assert_eq!(without_signal(pipe.as_raw_fd(), b"all of it"), 9);
        drop(read);
        // A thread that blocks the signal, without and with a pending one of its own.
        for raised in [false, true] {
            // SAFETY: the sets are initialised by the calls that fill them.
            unsafe {
                let (mut only, mut pending): (libc::sigset_t, libc::sigset_t) =
                    (zeroed(), zeroed());
                libc::sigemptyset(&mut only);
                libc::sigaddset(&mut only, libc::SIGPIPE);
                libc::pthread_sigmask(libc::SIG_BLOCK, &only, std::ptr::null_mut());
                if raised {
                    libc::pthread_kill(libc::pthread_self(), libc::SIGPIPE);
                }
                assert_eq!(without_signal(pipe.as_raw_fd(), b"x"), -1);
                libc::sigpending(&mut pending);
                assert_eq!(libc::sigismember(&pending, libc::SIGPIPE) == 1, raised);
                libc::pthread_sigmask(libc::SIG_UNBLOCK, &only, std::ptr::null_mut());
            }
            assert_eq!(SEEN.replace(0), u32::from(raised));
        }
        // SAFETY: as it was when the tests began.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    }

    #[test]
    fn a_write_beyond_the_file_size_limit_is_an_error_and_no_signal() {
        // In a process of its own, which the limit and the signal are for.
        // SAFETY: the child makes system calls only, and exits.
        let child = unsafe { crate::process::fork() };
        if child == 0 {
            // SAFETY: plain numbers and a C string.
            unsafe {
                let none = libc::rlimit {
                    rlim_cur: 0,
                    rlim_max: 0,
                };
                libc::setrlimit(libc::RLIMIT_FSIZE, &none);
                let memory = libc::memfd_create(c"limited".as_ptr(), 0);
                let count = without_signal(memory, b"x");
                let error = *libc::__errno_location();
                libc::_exit(i32::from(count != -1 || error != libc::EFBIG));
            }
        }
        let mut status = 0;
        // SAFETY: `status` is a variable for the result.
        unsafe { libc::waitpid(child, &mut status, 0) };
        assert_eq!(status, 0);
    }
}
