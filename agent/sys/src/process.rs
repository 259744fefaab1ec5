//! This process and its children: signals, waiting, sessions, name and arguments.

use crate::errno::result;
use crate::fd::owned;
use std::ffi::CStr;
use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;

/// Returns a descriptor that becomes readable when the process ends (Linux 5.3).
///
/// # Errors
/// Returns an error if there is no such process or the kernel has no pidfds.
pub(crate) fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes plain numbers.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) })
}

/// Sends a signal to the process of a pidfd (Linux 5.1), even if its number was reused.
///
/// # Errors
/// Returns an error if the process has ended or must not be signalled.
pub(crate) fn pidfd_signal(pidfd: &OwnedFd, signal: i32, flags: libc::c_uint) -> io::Result<()> {
    let about = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: plain numbers; the null pointer leaves the details of the signal to the kernel.
    result(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            about,
            flags,
        )
    })
    .map(drop)
}

/// Duplicates descriptor `number` of the process of a pidfd (Linux 5.6).
///
/// # Errors
/// Returns an error if it is not open, or this process may not trace the other one.
pub(crate) fn pidfd_share(pidfd: &OwnedFd, number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: plain numbers.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0) })
}

/// Sends a signal to a process, or to a process group if `pid` is negative. Returns true if that
/// was permitted, also if the process has ended.
pub fn kill(pid: i32, signal: i32) -> bool {
    // SAFETY: plain numbers.
    let done = unsafe { libc::kill(pid, signal) };
    done == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::EPERM)
}

/// Forks this process. Handlers of `pthread_atfork` do not run where the C library is musl, whose
/// `fork` also stops the creation of threads meanwhile.
///
/// # Safety
/// Unless the calling thread is the only one, the child must make only async-signal-safe calls.
pub(crate) unsafe fn fork() -> libc::pid_t {
    #[cfg(not(target_env = "musl"))]
    use libc::fork as system_fork;
    #[cfg(target_env = "musl")]
    unsafe extern "C" {
        /// The async-signal-safe variant of POSIX 2024.
        #[link_name = "_Fork"]
        fn system_fork() -> libc::pid_t;
    }
    // SAFETY: the caller's promise.
    unsafe { system_fork() }
}

/// Collects one child if it has ended.
pub fn reap(pid: u32) {
    // SAFETY: a null status pointer is allowed.
    unsafe { libc::waitpid(pid as libc::pid_t, std::ptr::null_mut(), libc::WNOHANG) };
}

/// Collects all children that have ended. Returns true if any child is left.
pub(crate) fn reap_all() -> bool {
    loop {
        // SAFETY: a null status pointer is allowed.
        match unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG | libc::__WALL) } {
            0 => return true,
            1.. => {}
            _ => return io::Error::last_os_error().raw_os_error() != Some(libc::ECHILD),
        }
    }
}

/// Returns true if a process is in another session than this one.
pub fn in_other_session(pid: u32) -> bool {
    // SAFETY: plain numbers.
    unsafe { libc::getsid(pid as libc::pid_t) != libc::getsid(0) }
}

/// Starts a session without a controlling terminal, or with `terminal` as such. Called between fork
/// and exec.
///
/// # Errors
/// Returns an error if the system refuses.
pub(crate) fn new_session(terminal: Option<RawFd>) -> io::Result<()> {
    // SAFETY: plain calls on this process.
    unsafe {
        result(libc::setsid().into())?;
        if let Some(fd) = terminal {
            result(libc::ioctl(fd, libc::TIOCSCTTY, 0).into())?;
        }
    }
    Ok(())
}

/// Makes the kernel kill this process when the thread that started it ends. The setting is lost if
/// an executed program changes its user.
///
/// # Errors
/// Returns an error if the system refuses.
pub(crate) fn die_with_parent(parent: u32) -> io::Result<()> {
    // SAFETY: plain numbers.
    unsafe {
        result(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL).into())?;
        // The parent may have ended before the setting took effect.
        if libc::getppid() != parent as libc::pid_t {
            libc::_exit(127);
        }
    }
    Ok(())
}

/// Reparents orphaned descendants to this process, so that none escapes.
pub fn adopt_orphans() {
    // SAFETY: plain numbers. Kernels and emulators without the option only lose the orphans.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
}

/// Hides the memory of this process from all users but root, and prevents core files of it. Does
/// not apply to children.
pub fn hide_memory() {
    // SAFETY: plain numbers.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) };
}

/// Names this thread and, if it is the first, the process, as `ps` and `top` show it: at most 15
/// bytes.
pub fn set_name(name: &CStr) {
    // SAFETY: a valid C string; the kernel copies at most 15 bytes.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// Returns the arguments of this process, beginning with its name.
pub fn arguments() -> Vec<Vec<u8>> {
    std::env::args_os()
        .map(std::os::unix::ffi::OsStringExt::into_vec)
        .collect()
}

/// Overwrites the arguments of this process, except for its title, so that `ps` does not show them.
pub fn hide_arguments(arguments: &[Vec<u8>]) {
    unsafe extern "C" {
        static mut program_invocation_name: *mut libc::c_char;
    }
    // SAFETY: the C library keeps the start of the argument strings, which the kernel lays out one
    // behind the other. Each string is compared with a copy before it is overwritten, and the
    // comparison stops at the first NUL, so nothing outside the strings is read or written.
    unsafe {
        let mut at = program_invocation_name.cast::<u8>();
        if at.is_null() {
            return;
        }
        for (index, argument) in arguments.iter().enumerate() {
            let string = CStr::from_ptr(at.cast());
            if string.to_bytes() != argument {
                return;
            }
            if index > 0 {
                std::ptr::write_bytes(at, 0, argument.len());
            }
            at = at.add(argument.len() + 1);
        }
    }
}

/// Ends this process at once, without flushing buffers or running exit handlers.
pub fn exit(code: i32) -> ! {
    // SAFETY: takes a number and does not return.
    unsafe { libc::_exit(code) }
}

/// Replaces the C library's function, which uses `printf` and thereby takes a twentieth of an
/// agent. std names only the calling thread.
#[cfg(target_env = "musl")]
#[unsafe(no_mangle)]
extern "C" fn pthread_setname_np(
    _thread: libc::pthread_t,
    name: *const libc::c_char,
) -> libc::c_int {
    // SAFETY: std passes a C string; the kernel copies at most 15 bytes.
    unsafe { libc::prctl(libc::PR_SET_NAME, name) }
}
