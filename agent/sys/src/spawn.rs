//! Starting programs: fork, descriptors, exec.
//!
//! Replaces std's `Command`, whose handling of environments takes a tenth of an agent, and which
//! cannot execute a descriptor.

use crate::errno::result;
use crate::execute::NotStarted;
use crate::execute::environ;
use crate::execute::execute;
use crate::fd::duplicate_above;
use crate::fd::duplicate_to;
use crate::fd::pipe;
use crate::fd::read;
use crate::guard::DetachMark;
use crate::guard::set_mark;
use crate::limits;
use crate::process::die_with_parent;
use crate::process::fork;
use crate::process::kill;
use crate::process::new_session;
use crate::process::pidfd_open;
use crate::process::pidfd_share;
use crate::process::pidfd_signal;
use crate::signal::SignalsBlocked;
use crate::signal::default_signals;
use crate::socket::send_held_back;
use crate::wait_status::WaitStatus;
use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;

/// The program to execute.
#[derive(Copy, Clone)]
pub enum Image<'a> {
    /// The first argument, searched in PATH of the new environment.
    Named,
    /// An open file. The program finds its compressed image as descriptor 3, and itself as 4.
    Open {
        /// The compressed image; becomes descriptor 3.
        image: &'a OwnedFd,
        /// The program; becomes descriptor 4.
        agent: &'a OwnedFd,
    },
}

/// Descriptor of the image in an agent that was executed directly.
pub const IMAGE_FD: RawFd = 3;

/// Descriptor of the agent itself; see [`IMAGE_FD`].
pub const AGENT_FD: RawFd = 4;

/// Mark of a new process, inherited by everything that it starts.
#[derive(Copy, Clone, PartialEq, Eq)]
pub enum Marked {
    /// No mark.
    No,
    /// The mark of detached programs.
    Detached,
    /// The origin mark with the program's own number, by which its descendants are found.
    Origin,
}

/// Parameters of a program to start. It gets a session of its own.
pub struct Start<'a> {
    /// Program to execute.
    pub image: Image<'a>,
    /// Arguments, beginning with the name.
    pub argv: Vec<CString>,
    /// Environment as `NAME=value`; if `None`, the environment of this process.
    pub env: Option<Vec<CString>>,
    /// Working directory; if `None`, the directory of this process.
    pub directory: Option<CString>,
    /// Standard input, output and error.
    pub stdio: [OwnedFd; 3],
    /// Controlling terminal.
    pub terminal: Option<&'a OwnedFd>,
    /// True if the kernel kills the program when the thread that started it ends.
    pub dies_with_parent: bool,
    /// Mark that the program has from its first instruction on.
    pub marked: Marked,
}

/// A started program. Its process number is not reused until this value is dropped, which collects
/// the process.
pub struct Process {
    pid: u32,
    /// Pidfd of the process; none before Linux 5.3.
    handle: Option<OwnedFd>,
    ended: Option<WaitStatus>,
}

/// Flag that signals the process group of a pidfd's leader, also after the leader was collected;
/// Linux 6.9.
const GROUP: libc::c_uint = 4;

/// The descriptors among which a program that has opened few has its connection.
const FIRST_OPENED: std::ops::Range<RawFd> = 3..12;

impl Process {
    /// Returns the process number, which is also the number of the process group.
    pub fn id(&self) -> u32 {
        self.pid
    }

    /// Returns a descriptor that becomes readable when the process ends; `None` if the kernel has
    /// no pidfds.
    pub fn handle(&self) -> Option<&OwnedFd> {
        self.handle.as_ref()
    }

    /// Returns the status of the process if it has ended, without collecting it.
    pub fn try_wait(&mut self) -> Option<WaitStatus> {
        if self.ended.is_none() {
            self.ended = self.look(libc::WNOWAIT);
        }
        self.ended
    }

    /// Returns the status of the process if it has ended. The status is empty if another process
    /// has collected it.
    fn look(&self, also: libc::c_int) -> Option<WaitStatus> {
        let options = libc::WEXITED | libc::WNOHANG | also;
        // SAFETY: `info` is a variable for the result, and initialised if the call succeeds.
        unsafe {
            let mut info = std::mem::zeroed::<libc::siginfo_t>();
            let mut ask = |kind, id| libc::waitid(kind, id, &mut info, options) == 0;
            let by_handle = |fd: &OwnedFd| (libc::P_PIDFD, fd.as_raw_fd() as libc::id_t);
            let number = (libc::P_PID, self.pid as libc::id_t);
            let (kind, id) = self.handle.as_ref().map_or(number, by_handle);
            let known = ask(kind, id)
                // Linux 5.3 has pidfds but cannot wait for them.
                || io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) && ask(number.0, number.1);
            if known && info.si_pid() == 0 {
                return None;
            }
            let code = (known && info.si_code == libc::CLD_EXITED).then(|| info.si_status());
            let signal = (known && code.is_none()).then(|| info.si_status());
            Some(WaitStatus { code, signal })
        }
    }

    /// Sends a signal to the process only. Returns true if that was permitted, also if it has
    /// ended.
    pub fn signal(&self, signal: i32) -> bool {
        self.send(signal, 0)
    }

    /// Sends a signal to the process group, also if the process itself has ended. Returns true if
    /// that was permitted.
    pub fn signal_group(&self, signal: i32) -> bool {
        self.send(signal, GROUP)
    }

    /// Makes the TCP connections of the process send whatever they hold back: small packets, from
    /// now on, and an acknowledgement that is due (Linux 5.6). Has no effect where the kernel does
    /// not share descriptors of the process, which is then only slower.
    pub fn send_at_once(&self) {
        let Some(handle) = &self.handle else {
            return;
        };
        for number in FIRST_OPENED {
            if let Ok(fd) = pidfd_share(handle, number) {
                send_held_back(&fd);
            }
        }
    }

    fn send(&self, signal: i32, flags: libc::c_uint) -> bool {
        let sent = self
            .handle
            .as_ref()
            .map(|fd| pidfd_signal(fd, signal, flags));
        match sent.map(|sent| sent.map_err(|error| error.raw_os_error())) {
            Some(Ok(())) => true,
            Some(Err(Some(number @ (libc::EPERM | libc::ESRCH)))) => number != libc::EPERM,
            // The number is safe to use only while the kernel reserves it for this process.
            _ if self.look(libc::WNOWAIT)
                == Some(WaitStatus {
                    code: None,
                    signal: None,
                }) =>
            {
                true
            }
            _ => kill(
                if flags == GROUP {
                    -(self.pid as i32)
                } else {
                    self.pid as i32
                },
                signal,
            ),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.look(0);
    }
}

/// Returns the environment of a program: `set`, and unless `clear` the rest of this process's own.
/// Returns `None` if it equals that of this process.
pub fn environment(set: &[(Vec<u8>, Vec<u8>)], clear: bool) -> Option<Vec<Vec<u8>>> {
    if set.is_empty() && !clear {
        return None;
    }
    let given = |key: &[u8]| set.iter().any(|(other, _)| other == key);
    let mut entries: Vec<Vec<u8>> = Vec::new();
    if !clear {
        for (key, value) in std::env::vars_os().filter(|(key, _)| !given(key.as_bytes())) {
            entries.push([key.as_bytes(), b"=", value.as_bytes()].concat());
        }
    }
    entries.extend(
        set.iter()
            .map(|(key, value)| [key.as_slice(), b"=", value].concat()),
    );
    Some(entries)
}

/// Starts a program.
///
/// # Errors
/// Returns a report if a system call fails, in this process or in the new one before the program
/// runs.
pub fn start(start: &Start<'_>) -> Result<Process, NotStarted> {
    let pointers = |words: &[CString]| -> Vec<*const libc::c_char> {
        let mut pointers: Vec<_> = words.iter().map(|word| word.as_ptr()).collect();
        pointers.push(std::ptr::null());
        pointers
    };
    let argv = pointers(&start.argv);
    let env = start.env.as_deref().map(pointers);
    // Moved above 10, because the new process assigns the numbers from 0 on.
    let mut high = Vec::new();
    for fd in &start.stdio {
        high.push(duplicate_above(fd.as_fd(), 10)?);
    }
    if let Image::Open { image, agent } = start.image {
        high.push(duplicate_above(image.as_fd(), 10)?);
        high.push(duplicate_above(agent.as_fd(), 10)?);
    }
    let parent = std::process::id();
    let (report, low) = pipe()?;
    let failed = duplicate_above(low.as_fd(), 10)?;
    drop(low);
    let blocked = SignalsBlocked::all();
    // SAFETY: the child makes only system calls until it executes the program or exits. It neither
    // allocates nor locks.
    let pid = unsafe { fork() };
    if pid == 0 {
        let why = child(start, parent, &high, &argv, env.as_deref());
        let why = why.as_bytes();
        // SAFETY: in a forked child, no exit handler of the parent may run.
        unsafe {
            libc::write(failed.as_raw_fd(), why.as_ptr().cast(), why.len());
            libc::_exit(127)
        }
    }
    drop(blocked);
    let pid = result(pid.into())? as u32;
    let handle = pidfd_open(pid).ok();
    drop(failed);
    drop(high);
    let mut why = NotStarted::from(io::Error::from_raw_os_error(0));
    match read(&report, &mut why.bytes)? {
        Some(count) if count >= NotStarted::START => {
            let mut status = 0;
            // SAFETY: `status` is a variable for the result; the child is about to exit.
            unsafe { libc::waitpid(pid as libc::pid_t, &mut status, 0) };
            why.length = count as u8;
            Err(why)
        }
        _ => Ok(Process {
            pid,
            handle,
            ended: None,
        }),
    }
}

/// Runs the new process up to its program. Returns only on failure.
fn child(
    start: &Start<'_>,
    parent: u32,
    high: &[OwnedFd],
    argv: &[*const libc::c_char],
    env: Option<&[*const libc::c_char]>,
) -> NotStarted {
    let mut tried = NotStarted::AGENT;
    let mut prepare = || -> io::Result<()> {
        new_session(start.terminal.map(AsRawFd::as_raw_fd))?;
        // SAFETY: plain numbers. Older kernels have no close_range; descriptors without
        // close-on-exec then stay open.
        unsafe {
            libc::syscall(
                libc::SYS_close_range,
                3,
                libc::c_uint::MAX,
                libc::CLOSE_RANGE_CLOEXEC,
            );
        }
        for (fd, number) in high.iter().zip([0, 1, 2, IMAGE_FD, AGENT_FD]) {
            // SAFETY: the process has just been forked, and nothing in it owns these numbers.
            unsafe { duplicate_to(fd.as_raw_fd(), number)? };
        }
        limits::restore()?;
        match start.marked {
            Marked::No => {}
            Marked::Detached => set_mark(0, Some(DetachMark::PROGRAM))?,
            // Marking may be forbidden; daemonised descendants then end with the context.
            Marked::Origin => drop(set_mark(0, Some(DetachMark::origin()))),
        }
        if start.dies_with_parent {
            die_with_parent(parent)?;
        }
        if let Some(directory) = &start.directory {
            tried = NotStarted::DIRECTORY;
            // SAFETY: a C string.
            result(unsafe { libc::chdir(directory.as_ptr()) }.into())?;
        }
        // Last, because a pending signal then ends this process without running a handler of the
        // parent.
        default_signals();
        Ok(())
    };
    if let Err(error) = prepare() {
        return NotStarted::new(tried, &error);
    }
    // SAFETY: both vectors end in a null pointer, and their strings live in the copied memory. No
    // other thread of this process could change `environ`.
    unsafe {
        if let Some(env) = env {
            environ = env.as_ptr();
        }
        match start.image {
            Image::Named => execute(argv),
            Image::Open { .. } => {
                libc::syscall(
                    libc::SYS_execveat,
                    AGENT_FD,
                    c"".as_ptr(),
                    argv.as_ptr(),
                    environ,
                    libc::AT_EMPTY_PATH,
                );
                let refused = io::Error::last_os_error().raw_os_error();
                if matches!(refused, Some(libc::ENOSYS | libc::EPERM)) {
                    // Emulators lack execveat, and a filter may refuse it.
                    libc::execve(c"/proc/self/fd/4".as_ptr(), argv.as_ptr(), environ);
                }
                io::Error::last_os_error().into()
            }
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "std starts a program to compare with"
)]
mod tests;
