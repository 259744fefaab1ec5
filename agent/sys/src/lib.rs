//! The system calls that std lacks, each in a safe wrapper: with the native stages of the bootstrap the only code that is
//! `unsafe`, and the only crate that names libc, nix, memfd and signal-hook.
#![allow(missing_docs)]

pub mod descendants;
pub mod entry;
pub mod execute;
pub mod guard;
pub mod heap;
pub mod limits;
pub mod memory;
pub mod pipes;
pub mod procfs;
pub mod signal;
pub mod socket;
pub mod spawn;
pub mod wait_status;

/// Numbers of errors.
pub mod errno {
    pub use libc::{E2BIG, EACCES, EINVAL, EMFILE, ENOENT, ENOEXEC, ENOTDIR, EOPNOTSUPP};
    pub use nix::errno::Errno;
}

/// Flags of an open file.
pub mod open {
    pub use libc::{O_DIRECTORY, O_NOFOLLOW, O_PATH, O_RDONLY, O_RDWR};
}

/// Waiting for many descriptors, for long.
pub mod epoll {
    pub use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
}

/// A descriptor by which one thread wakes another.
pub mod eventfd {
    pub use nix::sys::eventfd::{EfdFlags, EventFd};
}

/// Waiting for a few descriptors, once.
pub mod poll {
    pub use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
}

/// The user of this process, and the machine.
pub mod user {
    /// Returns the number of the effective user.
    #[must_use]
    pub fn effective() -> u32 {
        nix::unistd::geteuid().as_raw()
    }

    /// Returns the kernel's name, the name of the host, the kernel's release and the machine; all empty where the kernel says
    /// nothing, which none does.
    #[must_use]
    pub fn uname() -> [String; 4] {
        let text = |name: &std::ffi::OsStr| name.to_string_lossy().into_owned();
        nix::sys::utsname::uname()
            .map(|names| [names.sysname(), names.nodename(), names.release(), names.machine()].map(text))
            .unwrap_or_default()
    }

    /// Returns the number of the effective group.
    #[must_use]
    pub fn effective_group() -> u32 {
        nix::unistd::getegid().as_raw()
    }
}

use std::ffi::CStr;
use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;

fn result(value: libc::c_long) -> io::Result<libc::c_long> {
    if value < 0 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

fn owned(value: libc::c_long) -> io::Result<OwnedFd> {
    let fd = result(value)?;
    // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// A descriptor that becomes readable when the process ends (Linux 5.3).
pub fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes plain numbers.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) })
}

/// Sends a signal to the process of a pidfd (Linux 5.1), whose number may be another's by now.
pub fn pidfd_signal(pidfd: &OwnedFd, signal: i32, flags: libc::c_uint) -> io::Result<()> {
    let about = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: plain numbers, and no particulars of the signal.
    result(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, about, flags) })
        .map(drop)
}

/// Makes `from` known as `to` in this process, without the close-on-exec flag.
pub fn duplicate_to(from: RawFd, to: RawFd) -> io::Result<()> {
    // SAFETY: plain numbers; the caller has just forked, so no other owner of `to` exists.
    result(unsafe { libc::dup2(from, to) }.into()).map(drop)
}

/// A duplicate of `fd` with a number of at least `least`, closed on exec.
pub fn duplicate_above(fd: BorrowedFd<'_>, least: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: a valid descriptor and plain numbers.
    owned(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, least) }.into())
}

/// Takes over a descriptor that this process was started with, and closes it on exec from now on.
pub fn inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: plain numbers; fails where the descriptor is not open.
    result(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) }.into())?;
    // SAFETY: it is open, and by the boot contract nobody else in this process knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A pipe, both ends closed on exec: (read, write).
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: `ends` has room for the two numbers.
    result(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }.into())?;
    // SAFETY: the kernel has just made both for us.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// Makes reads and writes return at once where they would wait.
pub fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: a valid descriptor and plain numbers.
    unsafe {
        let flags = result(libc::fcntl(fd, libc::F_GETFL).into())?;
        result(libc::fcntl(fd, libc::F_SETFL, flags as libc::c_int | libc::O_NONBLOCK).into())?;
    }
    Ok(())
}

/// Gives a pipe more room, where it is one and the system allows it.
pub fn widen_pipe(fd: impl AsFd, size: usize) {
    // SAFETY: a valid descriptor and a plain number.
    unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_SETPIPE_SZ, size as libc::c_int) };
}

/// Reads once; none where nothing is there yet. A vanished peer and a hung-up terminal count as the end.
pub fn read(fd: impl AsFd, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        // SAFETY: the buffer is ours for its length.
        let count = unsafe { libc::read(fd.as_fd().as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
        if count >= 0 {
            return Ok(Some(count as usize));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::EAGAIN) => return Ok(None),
            Some(libc::EIO | libc::ECONNRESET | libc::EPIPE) => return Ok(Some(0)),
            _ => return Err(error),
        }
    }
}

/// Writes once; none where there is no room yet.
pub fn write(fd: impl AsFd, bytes: &[u8]) -> io::Result<Option<usize>> {
    loop {
        let count = pipes::write(fd.as_fd().as_raw_fd(), bytes);
        if count >= 0 {
            return Ok(Some(count as usize));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::EAGAIN) => return Ok(None),
            _ => return Err(error),
        }
    }
}

/// A fresh session without a terminal; with `terminal`, that one becomes its controlling terminal. For the moment
/// between fork and exec.
pub fn new_session(terminal: Option<RawFd>) -> io::Result<()> {
    // SAFETY: plain calls on this process.
    unsafe {
        result(libc::setsid().into())?;
        if let Some(fd) = terminal {
            result(libc::ioctl(fd, libc::TIOCSCTTY, 0).into())?;
        }
    }
    Ok(())
}

/// All signals kept from this thread until this is dropped, so that no handler runs in a process that is forked
/// meanwhile.
pub struct SignalsBlocked(libc::sigset_t);

impl SignalsBlocked {
    /// Blocks them.
    pub fn all() -> SignalsBlocked {
        // SAFETY: both sets are initialised by the calls that fill them.
        unsafe {
            let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
            libc::sigfillset(&mut all);
            libc::sigprocmask(libc::SIG_BLOCK, &all, &mut before);
            SignalsBlocked(before)
        }
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: the set is the one that was in force before.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
    }
}

/// Gives this process the signals of a login: every one at its default, whatever its parent ignored, and none blocked.
/// In this order, so that no handler of the parent's runs any more.
pub fn default_signals() {
    for signal in 1..=64 {
        default_signal(signal);
    }
    unblock_signals();
}

/// Has a signal do what it does by default. Not by the C library, which refuses its own signals: another one may have
/// started this process with these ignored.
pub fn default_signal(signal: i32) {
    // The kernel's form: handler, flags, restorer, mask.
    let default = [libc::SIG_DFL; 4];
    let nowhere = std::ptr::null_mut::<usize>();
    // SAFETY: a whole action that is only read, and the size of its mask.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), nowhere, 8) };
}

/// Blocks no signal in this thread, whatever its parent blocked.
pub fn unblock_signals() {
    // SAFETY: the set is initialised before it is used.
    unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}

/// Has the kernel kill this process when the thread that started it ends. Lost when an executed program changes user.
pub fn die_with_parent(parent: u32) -> io::Result<()> {
    // SAFETY: plain numbers.
    unsafe {
        result(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL).into())?;
        // The parent may have ended before the kernel was told.
        if libc::getppid() != parent as libc::pid_t {
            libc::_exit(127);
        }
    }
    Ok(())
}

/// Has orphaned processes below become children of this one, so that none can slip away.
pub fn adopt_orphans() {
    // SAFETY: plain numbers. A kernel or emulator without it only loses the orphans.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
}

/// Has nobody but root look into the memory of this process, and the system write no core file of it. What it starts is
/// as open as ever.
pub fn hide_memory() {
    // SAFETY: plain numbers.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) };
}

/// Names this thread, and with it the process, for `ps` and `top`.
pub fn set_name(name: &CStr) {
    // SAFETY: a valid C string; the kernel copies at most 15 bytes.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// Sends a signal to a process, or to a process group where `pid` is negative. Whether that was allowed; one that is gone
/// is no error.
pub fn kill(pid: i32, signal: i32) -> bool {
    // SAFETY: plain numbers.
    let done = unsafe { libc::kill(pid, signal) };
    done == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::EPERM)
}

/// Collects the children that have ended. Whether there are any left.
pub fn reap_all() -> bool {
    loop {
        // SAFETY: a null status pointer is allowed.
        match unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG | libc::__WALL) } {
            0 => return true,
            1.. => {}
            _ => return io::Error::last_os_error().raw_os_error() != Some(libc::ECHILD),
        }
    }
}

/// Whether a process is in another session than this one.
pub fn in_other_session(pid: u32) -> bool {
    // SAFETY: plain numbers.
    unsafe { libc::getsid(pid as libc::pid_t) != libc::getsid(0) }
}

/// Collects one child that has ended.
pub fn reap(pid: u32) {
    // SAFETY: a null status pointer is allowed.
    unsafe { libc::waitpid(pid as libc::pid_t, std::ptr::null_mut(), libc::WNOHANG) };
}

/// Fills with random bytes from the kernel.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // SAFETY: the buffer is ours for its length; so few bytes come whole.
    let count = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), N, 0) };
    assert_eq!(count, N as isize, "getrandom: {}", io::Error::last_os_error());
    bytes
}

/// A text as a C string.
///
/// # Errors
/// `EINVAL` for one with a NUL byte, which would be cut there.
pub fn c_string(text: &[u8]) -> io::Result<CString> {
    CString::new(text).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// Takes over one of stdin and stdout under a number above them, closed on exec.
pub fn take_stdio(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: a plain number; the borrow ends with the statement.
    duplicate_above(unsafe { BorrowedFd::borrow_raw(fd) }, 3)
}

/// Ends this process at once: nothing is written any more, and no function for the end is run.
pub fn exit(code: i32) -> ! {
    // SAFETY: it takes a number and does not return.
    unsafe { libc::_exit(code) }
}

/// Writes everything, waiting where there is no room.
pub fn write_all(fd: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match write(fd, bytes)? {
            Some(count) => bytes = &bytes[count..],
            None => {
                let mut wait = [nix::poll::PollFd::new(fd.as_fd(), nix::poll::PollFlags::POLLOUT)];
                nix::poll::poll(&mut wait, nix::poll::PollTimeout::NONE)?;
            }
        }
    }
    Ok(())
}

/// The arguments of this process, its name first, as std knows them.
pub fn arguments() -> Vec<Vec<u8>> {
    std::env::args_os().map(std::os::unix::ffi::OsStringExt::into_vec).collect()
}

/// Overwrites the arguments of this process, other than the title, so that they no longer show in `ps`.
pub fn hide_arguments(arguments: &[Vec<u8>]) {
    unsafe extern "C" {
        static mut program_invocation_name: *mut libc::c_char;
    }
    // SAFETY: the C library keeps the start of the argument strings, which the kernel lays out one behind the other.
    // Each is compared with a copy before its bytes are touched, and the comparison stops at the first
    // NUL, so nothing outside of the strings is read or written.
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

/// The C library's own goes through `printf`, which is a twentieth of an agent; std only ever names the calling thread.
#[cfg(target_env = "musl")]
#[unsafe(no_mangle)]
extern "C" fn pthread_setname_np(_thread: libc::pthread_t, name: *const libc::c_char) -> libc::c_int {
    // SAFETY: std gives a C string; the kernel copies at most 15 bytes of it.
    unsafe { libc::prctl(libc::PR_SET_NAME, name) }
}

/// Sum over the sources of this crate, as hexadecimal digits.
pub const SOURCES: &str = env!("OFFSHOOT_SOURCES");
