//! Guards: the fork of an agent and its guard, what a guard waits for, and detach marks.

use crate::errno::result;
use crate::fd::owned;
use crate::fd::write;
use crate::process::fork;
use crate::procfs;
use crate::signal::SignalsBlocked;
use crate::wait_status::WaitStatus;
use std::io;
use std::mem::zeroed;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicI32;
use std::sync::atomic::Ordering;

/// Mark of a detached process: a soft limit on a resource that Linux has not counted since 2.6.
///
/// Children inherit the mark, it survives exec, and every process can read it. A detached context
/// has a mark of its own, which lets its guard tell its own processes from those that it has
/// detached.
#[derive(Copy, Clone, PartialEq, Eq)]
pub struct DetachMark(libc::rlim_t);

/// Values of marks; process numbers have at most 22 bits.
const MARKS: std::ops::Range<libc::rlim_t> = 0x0ff5_4000_0000..0x0ff5_4040_0000;

/// Base of origin marks: adding a program's process number marks everything that it started,
/// directly or indirectly. Inherited like other marks.
const ORIGINS: libc::rlim_t = 0x0ff5_8000_0000;

impl DetachMark {
    /// Mark of detached programs.
    pub const PROGRAM: Self = Self(MARKS.start);

    /// Returns the mark for everything that the program of this process will start.
    pub fn origin() -> Self {
        // SAFETY: takes no arguments and cannot fail.
        Self(ORIGINS + unsafe { libc::getpid() } as libc::rlim_t)
    }

    /// Returns the mark of the detached context with this guard.
    pub fn context(guard: u32) -> Self {
        Self(MARKS.start + libc::rlim_t::from(guard))
    }
}

/// Process number of this process's guard; 0 if it has none.
static GUARD: AtomicI32 = AtomicI32::new(0);

/// Both ends of an agent's socket for open descriptors, of which its guard holds one as well.
static SAFE: [AtomicI32; 2] = [AtomicI32::new(-1), AtomicI32::new(-1)];

/// True if the socket holds a message.
static FILLED: AtomicBool = AtomicBool::new(false);

/// Makes the guard keep these descriptors open until it ends, instead of those of an earlier call.
/// At most 253 are kept.
///
/// A descriptor in a message that was not received stays open as long as its socket does.
pub fn keep_open(fds: &[RawFd]) {
    /// Maximum number of descriptors in one message.
    const MOST: usize = 253;
    let [inlet, outlet] = [&SAFE[0], &SAFE[1]].map(|fd| fd.load(Ordering::Relaxed));
    let fds = fds.get(..MOST).unwrap_or(fds);
    let mut sent = false;
    if inlet >= 0 && !fds.is_empty() {
        let size = size_of_val(fds);
        let mut control = [0_usize; 8 + MOST / 2];
        let mut byte = 0_u8;
        let mut piece = libc::iovec {
            iov_base: (&raw mut byte).cast(),
            iov_len: 1,
        };
        // SAFETY: the message points to variables that outlive the call. The control buffer is
        // aligned and has room for a header and the descriptors.
        sent = unsafe {
            let mut message = zeroed::<libc::msghdr>();
            message.msg_iov = &mut piece;
            message.msg_iovlen = 1;
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(size as u32) as _;
            let header = libc::CMSG_FIRSTHDR(&message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(size as u32) as _;
            std::ptr::copy_nonoverlapping(fds.as_ptr().cast::<u8>(), libc::CMSG_DATA(header), size);
            libc::sendmsg(inlet, &message, libc::MSG_NOSIGNAL) == 1
        };
    }
    if FILLED.swap(sent, Ordering::Relaxed) {
        let mut byte = 0_u8;
        // SAFETY: the buffer has one byte. The kernel closes the descriptors of the message,
        // because no room is given for them.
        unsafe { libc::recv(outlet, (&raw mut byte).cast(), 1, 0) };
    }
}

/// The role of a process after [`split`].
pub enum Fork {
    /// The new process, which becomes the agent.
    Agent,
    /// The parent of the agent, which becomes its guard.
    Guard {
        /// Process number of the agent.
        agent: u32,
        /// Process number of the parent of the guard.
        parent: u32,
        /// Descriptor that delivers SIGCHLD, SIGTERM and SIGCONT.
        signals: OwnedFd,
        /// Socket that holds the descriptors given to [`keep_open`].
        safe: OwnedFd,
    },
}

/// Forks this process into an agent and its guard.
///
/// # Errors
/// Returns an error if the process has other threads or the system refuses the fork. There is still
/// one process then.
pub fn split() -> io::Result<Fork> {
    if procfs::numbers("/proc/self/task").len() > 1 {
        return Err(io::ErrorKind::ResourceBusy.into());
    }
    // SAFETY: this is the only thread.
    unsafe { fork_guard() }
}

/// Forks this process into an agent and its guard.
///
/// The kernel sends each of them SIGCONT when its parent ends. That signal also wakes a stopped
/// process, whose handler then checks whether the parent is still there.
///
/// # Errors
/// Returns an error if the system refuses the fork. There is still one process then.
///
/// # Safety
/// The calling thread is the only one of this process.
unsafe fn fork_guard() -> io::Result<Fork> {
    let blocked = SignalsBlocked::all();
    // SAFETY: the set is initialised by `sigemptyset`. The process has one thread, so the child may
    // run any code. The handler makes only async-signal-safe calls.
    unsafe {
        let parent = libc::getppid() as u32;
        let mut known = zeroed();
        libc::sigemptyset(&mut known);
        for signal in [libc::SIGCHLD, libc::SIGTERM, libc::SIGCONT] {
            libc::sigaddset(&mut known, signal);
        }
        let guard = libc::getpid();
        let flags = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        let mut ends = [-1; 2];
        libc::socketpair(libc::AF_UNIX, flags, 0, ends.as_mut_ptr());
        let parted =
            owned(libc::signalfd(-1, &known, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK).into())
                .and_then(|signals| Ok((signals, owned(ends[1].into())?, result(fork().into())?)));
        match parted {
            Ok((signals, safe, agent)) if agent > 0 => {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGCONT);
                // A guard receives signals through the descriptor only.
                std::mem::forget(blocked);
                Ok(Fork::Guard {
                    agent: agent as u32,
                    parent,
                    signals,
                    safe,
                })
            }
            Ok((_, safe, _)) => {
                // Stays open for the lifetime of the agent.
                std::mem::forget(safe);
                for (place, end) in SAFE.iter().zip(ends) {
                    place.store(end, Ordering::Relaxed);
                }
                GUARD.store(guard, Ordering::Relaxed);
                libc::signal(libc::SIGCONT, continued as *const () as libc::sighandler_t);
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGCONT);
                drop(blocked);
                continued(0);
                Ok(Fork::Agent)
            }
            Err(error) => Err(error),
        }
    }
}

/// Handler of SIGCONT in an agent: ends the agent if its guard has ended.
extern "C" fn continued(_signal: libc::c_int) {
    // SAFETY: plain numbers and async-signal-safe calls. errno belongs to this thread and is
    // restored for the interrupted code.
    unsafe {
        let errno = *libc::__errno_location();
        if !guarded() {
            libc::kill(libc::getpid(), libc::SIGTERM);
        }
        *libc::__errno_location() = errno;
    }
}

/// Returns true if this process has a living guard. Continues a stopped guard.
pub fn guarded() -> bool {
    let guard = GUARD.load(Ordering::Relaxed);
    // SAFETY: plain numbers and async-signal-safe calls.
    unsafe {
        let lives = guard != 0 && libc::getppid() == guard;
        if lives {
            libc::kill(guard, libc::SIGCONT);
        }
        lives
    }
}

/// Returns the process number of this process's parent.
pub fn parent() -> u32 {
    // SAFETY: takes no arguments and cannot fail.
    unsafe { libc::getppid() as u32 }
}

/// Closes all descriptors but these two, stdin and stderr.
pub fn close_all_but(one: &OwnedFd, other: &OwnedFd) {
    let (one, other) = (one.as_raw_fd(), other.as_raw_fd());
    let (first, second) = (one.min(other), one.max(other));
    let ranges = [
        (3, first - 1),
        (first + 1, second - 1),
        (second + 1, libc::c_int::MAX),
    ];
    // SAFETY: plain numbers. Called by a guard, which uses no other descriptors.
    unsafe {
        libc::close(1);
        for (from, to) in ranges {
            if from <= to && libc::syscall(libc::SYS_close_range, from, to, 0) < 0 {
                for fd in from..=to.min(1023) {
                    libc::close(fd);
                }
            }
        }
    }
}

/// Reason why [`wait`] has returned; both false if the time was up or a child has changed.
pub struct Woken {
    /// True if the guard has received SIGTERM.
    pub told: bool,
    /// True if the peer of the link on stdin has closed it.
    pub hung_up: bool,
}

/// Waits for a signal and, if `link`, for the end of the link on stdin, at most `patience`
/// milliseconds; -1 waits without limit.
pub fn wait(signals: &OwnedFd, link: bool, patience: i32) -> Woken {
    let hang_up = libc::POLLRDHUP;
    let mut polled = [
        libc::pollfd {
            fd: signals.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        },
        libc::pollfd {
            fd: if link { 0 } else { -1 },
            events: hang_up,
            revents: 0,
        },
    ];
    let mut told = false;
    // SAFETY: the pointers are to variables of the sizes that are passed.
    unsafe {
        libc::poll(polled.as_mut_ptr(), 2, patience);
        let mut info = zeroed::<libc::signalfd_siginfo>();
        let size = size_of_val(&info);
        while libc::read(signals.as_raw_fd(), (&raw mut info).cast(), size) == size as isize {
            told |= info.ssi_signo == libc::SIGTERM as u32;
        }
    }
    let over = hang_up | libc::POLLHUP | libc::POLLERR | libc::POLLNVAL;
    Woken {
        told,
        hung_up: polled[1].revents & over != 0,
    }
}

/// Change of state of a child.
#[derive(Copy, Clone, PartialEq, Eq)]
pub enum Change {
    /// The child has ended and was collected.
    Ended(WaitStatus),
    /// The child was stopped by a signal.
    Stopped,
    /// The child was continued.
    Continued,
}

/// Returns the next change of state of a child, if there is one.
pub fn next_change() -> Option<(u32, Change)> {
    let mut status = 0;
    let news = libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED;
    // SAFETY: `status` is a variable for the result.
    let pid = unsafe { libc::waitpid(-1, &mut status, news) };
    let change = if libc::WIFSTOPPED(status) {
        Change::Stopped
    } else if libc::WIFCONTINUED(status) {
        Change::Continued
    } else {
        let code = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
        Change::Ended(WaitStatus {
            code,
            signal: code.is_none().then(|| libc::WTERMSIG(status)),
        })
    };
    (pid > 0).then_some((pid as u32, change))
}

/// Writes to stderr, unless that would block.
pub fn tell(text: &str) {
    let mut polled = libc::pollfd {
        fd: 2,
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: the pointer is to one entry; a closed descriptor is reported in it.
    let ready = unsafe { libc::poll(&mut polled, 1, 0) };
    if ready == 1 && polled.revents == libc::POLLOUT {
        // SAFETY: no value closes stderr, and the borrow ends with the statement.
        let _ = write(
            unsafe { BorrowedFd::borrow_raw(2 as RawFd) },
            text.as_bytes(),
        );
    }
}

/// Sets or removes the mark of a process; `pid` 0 is this process.
///
/// # Errors
/// Returns an error if the system refuses: an agent without root cannot mark a process of another
/// user.
pub fn set_mark(pid: u32, mark: Option<DetachMark>) -> io::Result<()> {
    // SAFETY: the variables have the type that the calls expect.
    unsafe {
        let mut limit = zeroed::<libc::rlimit>();
        let pid = pid as libc::pid_t;
        result(libc::prlimit(pid, libc::RLIMIT_LOCKS, std::ptr::null(), &mut limit).into())?;
        if mark.is_some() || MARKS.contains(&limit.rlim_cur) {
            limit.rlim_cur = mark.map_or(limit.rlim_max, |mark| mark.0);
            result(libc::prlimit(pid, libc::RLIMIT_LOCKS, &limit, std::ptr::null_mut()).into())?;
        }
    }
    Ok(())
}

/// Returns the detach mark of a process, 0 being this one; `None` if it has none or cannot be read.
pub fn mark_of(pid: u32) -> Option<DetachMark> {
    limit_of(pid)
        .filter(|soft| MARKS.contains(soft))
        .map(DetachMark)
}

/// Returns true if a process was started by the program with this number, directly or indirectly.
pub(crate) fn has_origin(pid: u32, program: u32) -> bool {
    limit_of(pid) == Some(ORIGINS + libc::rlim_t::from(program))
}

fn limit_of(pid: u32) -> Option<libc::rlim_t> {
    let limits = match pid {
        0 => procfs::text("/proc/self/limits"),
        pid => procfs::text(&format!("/proc/{pid}/limits")),
    };
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max file locks"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}
