//! The system calls about life and death: guards and the ties between processes, signals, and the mark of what is let go.

use crate::SignalsBlocked;
use crate::owned;
use crate::procfs as files;
use crate::result;
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

/// The mark of a process that is let go: a soft limit on a resource that no Linux since 2.6 counts. It is inherited by
/// whatever the process starts, stays when the program changes, and everybody can see it. A context that is let go
/// has one of its own, so that its guard knows its own processes from those that it let go itself.
#[derive(Copy, Clone, PartialEq, Eq)]
pub struct DetachMark(libc::rlim_t);

/// What can be a mark: process numbers have at most 22 bits.
const MARKS: std::ops::Range<libc::rlim_t> = 0x0ff5_4000_0000..0x0ff5_4040_0000;

/// What marks that a process was started by a program, itself or by others: these and the program's number. As with marks,
/// whatever is started inherits it.
const ORIGINS: libc::rlim_t = 0x0ff5_8000_0000;

impl DetachMark {
    /// The mark of programs.
    pub const PROGRAM: DetachMark = DetachMark(MARKS.start);

    /// What the program in this process, which is about to begin, leaves on all that it starts.
    pub fn origin() -> DetachMark {
        // SAFETY: takes nothing and cannot fail.
        DetachMark(ORIGINS + unsafe { libc::getpid() } as libc::rlim_t)
    }

    /// The mark of the context with this guard.
    pub fn context(guard: u32) -> DetachMark {
        DetachMark(MARKS.start + libc::rlim_t::from(guard))
    }
}

/// The guard of this process, where it has one.
static GUARD: AtomicI32 = AtomicI32::new(0);

/// In an agent, the two ends of the socket to which a guard holds the one end as well.
static SAFE: [AtomicI32; 2] = [AtomicI32::new(-1), AtomicI32::new(-1)];

/// Whether there is something in it.
static FILLED: AtomicBool = AtomicBool::new(false);

/// Has the guard keep these descriptors open beyond the end of this process, and none of those before: what is in a message that
/// nobody has received is open as long as the socket is.
pub fn keep_open(fds: &[RawFd]) {
    /// The most that one message takes.
    const MOST: usize = 253;
    let [inlet, outlet] = [&SAFE[0], &SAFE[1]].map(|fd| fd.load(Ordering::Relaxed));
    let fds = fds.get(..MOST).unwrap_or(fds);
    let mut sent = false;
    if inlet >= 0 && !fds.is_empty() {
        let size = size_of_val(fds);
        let mut control = [0_usize; 8 + MOST / 2];
        let mut byte = 0_u8;
        let mut piece = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        // SAFETY: the message points to places that outlive the call; the control buffer is aligned, and has room for a header
        // and as many descriptors as are sent.
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
        // SAFETY: a place of one byte. What came along with it is closed, for there is no room for it.
        unsafe { libc::recv(outlet, (&raw mut byte).cast(), 1, 0) };
    }
}

/// Which of two this process is after [`part`].
pub enum Fork {
    /// The one that goes on: the agent.
    Agent,
    /// Its parent, which stays as its guard.
    Guard {
        /// The agent.
        agent: u32,
        /// Who started this process.
        parent: u32,
        /// Gives the signals that concern a guard.
        signals: OwnedFd,
        /// Keeps open what the agent has put there, until the guard ends.
        safe: OwnedFd,
    },
}

/// Makes two processes of this one. None of its threads but this one may exist.
///
/// A tie to a parent is the signal SIGCONT: it wakes a stopped process, and who gets it looks whether the parent is there.
///
/// # Errors
/// As the operating system gives them; then there still is one process.
pub fn part() -> io::Result<Fork> {
    let blocked = SignalsBlocked::all();
    // SAFETY: the set is initialised by the call that empties it; with one thread the new process may go on with
    // anything. The handler only makes calls that are allowed in one.
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
        let parted = owned(libc::signalfd(-1, &known, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK).into())
            .and_then(|signals| Ok((signals, owned(ends[1].into())?, result(libc::fork().into())?)));
        match parted {
            Ok((signals, safe, agent)) if agent > 0 => {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGCONT);
                // A guard takes signals from the descriptor alone.
                std::mem::forget(blocked);
                Ok(Fork::Guard { agent: agent as u32, parent, signals, safe })
            }
            Ok((_, safe, _)) => {
                // Open for as long as this process lives.
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

/// Perhaps the guard has ended: then this agent is to end as well.
extern "C" fn continued(_signal: libc::c_int) {
    // SAFETY: plain numbers, and allowed in a handler; the place of errno is this thread's own. Whatever this has
    // interrupted may be about to look at it.
    unsafe {
        let errno = *libc::__errno_location();
        if !guarded() {
            libc::kill(libc::getpid(), libc::SIGTERM);
        }
        *libc::__errno_location() = errno;
    }
}

/// Whether this process has a guard that lives. One that is stopped is continued.
pub fn guarded() -> bool {
    let guard = GUARD.load(Ordering::Relaxed);
    // SAFETY: plain numbers, and allowed in a handler.
    unsafe {
        let lives = guard != 0 && libc::getppid() == guard;
        if lives {
            libc::kill(guard, libc::SIGCONT);
        }
        lives
    }
}

/// This process's parent.
pub fn parent() -> u32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::getppid() as u32 }
}

/// Closes everything but these two and what the process has as 0 and 2.
pub fn close_all_but(one: &OwnedFd, other: &OwnedFd) {
    let (one, other) = (one.as_raw_fd(), other.as_raw_fd());
    let (first, second) = (one.min(other), one.max(other));
    let ranges = [(3, first - 1), (first + 1, second - 1), (second + 1, libc::c_int::MAX)];
    // SAFETY: plain numbers. A guard calls this, which uses no descriptor but those it keeps.
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

/// What has woken a guard.
pub struct Woken {
    /// It was told to end.
    pub told: bool,
    /// Its stdin was hung up.
    pub hung_up: bool,
}

/// Waits for a signal, for the hang-up of stdin if `link`, and not longer than `patience` in milliseconds; -1 is for ever.
pub fn wait(signals: &OwnedFd, link: bool, patience: i32) -> Woken {
    let hang_up = libc::POLLRDHUP;
    let mut polled = [
        libc::pollfd { fd: signals.as_raw_fd(), events: libc::POLLIN, revents: 0 },
        libc::pollfd { fd: if link { 0 } else { -1 }, events: hang_up, revents: 0 },
    ];
    let mut told = false;
    // SAFETY: the pointers are to places of the sizes that are given.
    unsafe {
        libc::poll(polled.as_mut_ptr(), 2, patience);
        let mut info = zeroed::<libc::signalfd_siginfo>();
        let size = size_of_val(&info);
        while libc::read(signals.as_raw_fd(), (&raw mut info).cast(), size) == size as isize {
            told |= info.ssi_signo == libc::SIGTERM as u32;
        }
    }
    let over = hang_up | libc::POLLHUP | libc::POLLERR | libc::POLLNVAL;
    Woken { told, hung_up: polled[1].revents & over != 0 }
}

/// What has become of a child.
#[derive(Copy, Clone, PartialEq, Eq)]
pub enum Change {
    /// It has ended, and is collected.
    Ended(WaitStatus),
    /// It was stopped.
    Stopped,
    /// It goes on.
    Continued,
}

/// The next child of which there is news.
pub fn next_change() -> Option<(u32, Change)> {
    let mut status = 0;
    let news = libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED;
    // SAFETY: `status` is a place for the result.
    let pid = unsafe { libc::waitpid(-1, &mut status, news) };
    let change = if libc::WIFSTOPPED(status) {
        Change::Stopped
    } else if libc::WIFCONTINUED(status) {
        Change::Continued
    } else {
        let code = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
        Change::Ended(WaitStatus { code, signal: code.is_none().then(|| libc::WTERMSIG(status)) })
    };
    (pid > 0).then_some((pid as u32, change))
}

/// Writes to stderr if there is room for it at once.
pub fn tell(text: &str) {
    let mut polled = libc::pollfd { fd: 2, events: libc::POLLOUT, revents: 0 };
    // SAFETY: the pointer is to one entry; a closed descriptor is an error and no more.
    let ready = unsafe { libc::poll(&mut polled, 1, 0) };
    if ready == 1 && polled.revents == libc::POLLOUT {
        // SAFETY: the descriptor is a plain number that is borrowed for one call.
        let _ = crate::write(unsafe { BorrowedFd::borrow_raw(2 as RawFd) }, text.as_bytes());
    }
}

/// Sets the mark of a process, or takes it off; of this process where `pid` is 0.
///
/// # Errors
/// As the operating system gives them: a process that has changed user cannot be marked by one that has not.
pub fn set_mark(pid: u32, mark: Option<DetachMark>) -> io::Result<()> {
    // SAFETY: the places are of the type that is asked for.
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

/// The mark of a process, 0 being this one; none where it cannot be seen or was not let go.
pub fn mark_of(pid: u32) -> Option<DetachMark> {
    limit_of(pid).filter(|soft| MARKS.contains(soft)).map(DetachMark)
}

/// Whether a process was started by this program, itself or by others that it has started.
pub fn has_origin(pid: u32, program: u32) -> bool {
    limit_of(pid) == Some(ORIGINS + libc::rlim_t::from(program))
}

fn limit_of(pid: u32) -> Option<libc::rlim_t> {
    let limits = match pid {
        0 => files::text("/proc/self/limits"),
        pid => files::text(&format!("/proc/{pid}/limits")),
    };
    let line = limits.lines().find_map(|line| line.strip_prefix("Max file locks"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}
