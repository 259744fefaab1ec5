//! Starting programs: fork, wire, exec, with nothing left to chance between fork and exec.
//!
//! Not std's `Command`: its bookkeeping for environments is a tenth of an agent, and it cannot execute a descriptor.

use crate::SignalsBlocked;
use crate::default_signals;
use crate::die_with_parent;
use crate::duplicate_above;
use crate::duplicate_to;
use crate::execute::NotStarted;
use crate::execute::environ;
use crate::execute::execute;
use crate::guard::DetachMark;
use crate::guard::set_mark;
use crate::limits as limit;
use crate::new_session;
use crate::owned;
use crate::pidfd_open;
use crate::pidfd_signal;
use crate::pipe;
use crate::read;
use crate::result;
use crate::wait_status::WaitStatus;
use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;

/// What is executed.
#[derive(Copy, Clone)]
pub enum Image<'a> {
    /// The first word, looked up on the path of the new environment.
    Named,
    /// An open program; it and its compressed image are handed on as the descriptors 4 and 3.
    Open {
        /// Becomes descriptor 3.
        image: &'a OwnedFd,
        /// Is executed and becomes descriptor 4.
        agent: &'a OwnedFd,
    },
}

/// The descriptors a directly started agent finds its image and itself at.
pub const IMAGE_FD: RawFd = 3;

/// See [`IMAGE_FD`].
pub const AGENT_FD: RawFd = 4;

/// How a new process is marked, and with it whatever it starts.
#[derive(Copy, Clone, PartialEq, Eq)]
pub enum Marked {
    /// Not at all.
    No,
    /// As let go.
    LetGo,
    /// As what others are told by that it has started them.
    Origin,
}

/// A program to be started, in a session of its own.
pub struct Start<'a> {
    /// What is executed.
    pub image: Image<'a>,
    /// Its words.
    pub argv: Vec<CString>,
    /// Its environment; this process's own unless set.
    pub env: Option<Vec<CString>>,
    /// Its directory; this process's own unless set.
    pub directory: Option<CString>,
    /// Its stdin, stdout and stderr.
    pub stdio: [OwnedFd; 3],
    /// Its controlling terminal.
    pub terminal: Option<&'a OwnedFd>,
    /// Whether the kernel kills it when the thread that started it ends.
    pub dies_with_parent: bool,
    /// How it is marked from its first instruction on.
    pub marked: Marked,
}

/// A started program. Its number is its own until this is dropped, which collects it: so long no other process has it.
pub struct Process {
    pid: u32,
    /// How the kernel knows it, whoever collects it; none before Linux 5.3.
    handle: Option<OwnedFd>,
    ended: Option<WaitStatus>,
}

/// Signals a process group by a pidfd of its leader, also after that was collected; from Linux 6.9 on.
const GROUP: libc::c_uint = 4;

impl Process {
    /// Its number; also that of its process group.
    pub fn id(&self) -> u32 {
        self.pid
    }

    /// A descriptor that becomes readable when it ends, where the kernel gives one.
    pub fn handle(&self) -> Option<&OwnedFd> {
        self.handle.as_ref()
    }

    /// How it ended, if it has. It is not collected by that.
    pub fn try_wait(&mut self) -> Option<WaitStatus> {
        if self.ended.is_none() {
            self.ended = self.look(libc::WNOWAIT);
        }
        self.ended
    }

    /// Looks whether it has ended. Where somebody else has collected it nobody knows how.
    fn look(&self, also: libc::c_int) -> Option<WaitStatus> {
        let options = libc::WEXITED | libc::WNOHANG | also;
        // SAFETY: `info` is a place for the result, and holds what the call is about to write where it succeeds.
        unsafe {
            let mut info = std::mem::zeroed::<libc::siginfo_t>();
            let mut ask = |kind, id| libc::waitid(kind, id, &mut info, options) == 0;
            let by_handle = |fd: &OwnedFd| (libc::P_PIDFD, fd.as_raw_fd() as libc::id_t);
            let number = (libc::P_PID, self.pid as libc::id_t);
            let (kind, id) = self.handle.as_ref().map_or(number, by_handle);
            let known = ask(kind, id)
                // Linux 5.3 has pidfds, and waits by number.
                || io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) && ask(number.0, number.1);
            if known && info.si_pid() == 0 {
                return None;
            }
            let code = (known && info.si_code == libc::CLD_EXITED).then(|| info.si_status());
            let signal = (known && code.is_none()).then(|| info.si_status());
            Some(WaitStatus { code, signal })
        }
    }

    /// Sends a signal to it alone. Whether that was allowed; one that has ended is no error.
    pub fn signal(&self, signal: i32) -> bool {
        self.send(signal, 0)
    }

    /// Sends a signal to its process group, also after it has ended itself.
    pub fn signal_group(&self, signal: i32) -> bool {
        self.send(signal, GROUP)
    }

    fn send(&self, signal: i32, flags: libc::c_uint) -> bool {
        let sent = self.handle.as_ref().map(|fd| pidfd_signal(fd, signal, flags));
        match sent.map(|sent| sent.map_err(|error| error.raw_os_error())) {
            Some(Ok(())) => true,
            Some(Err(Some(number @ (libc::EPERM | libc::ESRCH)))) => number != libc::EPERM,
            // By its number, which is that of a group as well, as long as the kernel keeps it for this process.
            _ if self.look(libc::WNOWAIT) == Some(WaitStatus { code: None, signal: None }) => true,
            _ => crate::kill(if flags == GROUP { -(self.pid as i32) } else { self.pid as i32 }, signal),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.look(0);
    }
}

/// The environment of a program: this process's own unless `clear`, but for what is set. None where nothing is different.
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
    entries.extend(set.iter().map(|(key, value)| [key.as_slice(), b"=", value].concat()));
    Some(entries)
}

/// Starts a program.
///
/// # Errors
/// Also for what failed in the new process before the program ran.
pub fn start(start: &Start<'_>) -> Result<Process, NotStarted> {
    let pointers = |words: &[CString]| -> Vec<*const libc::c_char> {
        words.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let argv = pointers(&start.argv);
    let env = start.env.as_deref().map(pointers);
    // What the new process needs, moved out of the way of the numbers it is to have.
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
    // SAFETY: the child only makes system calls until it executes the program or exits; it neither allocates nor locks.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let why = child(start, parent, &high, &argv, env.as_deref());
        let why = why.as_bytes();
        // SAFETY: the child of a fork; nothing of the parent's may run on its way out.
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
            // SAFETY: `status` is a place for the result; the child is about to exit.
            unsafe { libc::waitpid(pid as libc::pid_t, &mut status, 0) };
            why.length = count as u8;
            Err(why)
        }
        _ => Ok(Process { pid, handle, ended: None }),
    }
}

/// The new process up to its program. Returns why it did not get there.
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
        // SAFETY: plain calls. An older kernel has no close_range and keeps what others have left open.
        unsafe {
            libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
        }
        for (fd, number) in high.iter().zip([0, 1, 2, IMAGE_FD, AGENT_FD]) {
            duplicate_to(fd.as_raw_fd(), number)?;
        }
        limit::restore()?;
        match start.marked {
            Marked::No => {}
            Marked::LetGo => set_mark(0, Some(DetachMark::PROGRAM))?,
            // Where this is not allowed, what daemonised itself ends with the context.
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
        // Last: a signal that came meanwhile ends it here, and no handler of the parent's ever runs.
        default_signals();
        Ok(())
    };
    if let Err(error) = prepare() {
        return NotStarted::new(tried, &error);
    }
    // SAFETY: both vectors end in a null pointer and their strings live on in the parent's copy of memory; no other
    // thread exists in this process that could change `environ`.
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
                if io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS) {
                    // Emulators know no execveat.
                    libc::execve(c"/proc/self/fd/4".as_ptr(), argv.as_ptr(), environ);
                }
                io::Error::last_os_error().into()
            }
        }
    }
}

/// A pseudo terminal without echo: the controlling end, and the program's end.
///
/// # Errors
/// As the operating system gives them: no terminals are mounted, or all are in use.
pub fn open_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    let unlocked: libc::c_int = 0;
    // SAFETY: C strings and places of the right type for each call; TIOCGPTPEER takes the flags as its argument.
    unsafe {
        let master = owned(libc::open(c"/dev/ptmx".as_ptr(), flags).into())?;
        result(libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &unlocked).into())?;
        let slave = owned(libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags).into())?;
        let mut attributes = std::mem::zeroed::<libc::termios>();
        if libc::tcgetattr(slave.as_raw_fd(), &mut attributes) == 0 {
            attributes.c_lflag &= !libc::ECHO;
            libc::tcsetattr(slave.as_raw_fd(), libc::TCSANOW, &attributes);
        }
        Ok((master, slave))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::content;
    use crate::{SignalsBlocked, kill, procfs as files};
    use std::io::{PipeReader, Read};
    use std::process::{Child, Command};
    use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

    fn started(words: &[&str]) -> Process {
        let null = || files::open("/dev/null", libc::O_RDWR).unwrap();
        let argv = words.iter().map(|word| CString::new(*word).unwrap()).collect();
        start(&Start {
            image: Image::Named,
            argv,
            env: None,
            directory: None,
            stdio: [null(), null(), null()],
            terminal: None,
            dies_with_parent: true,
            marked: Marked::No,
        })
        .unwrap()
    }

    /// Starts a program that prints; what it prints.
    fn printing(words: &[&str]) -> (Process, PipeReader) {
        let (output, child_out) = std::io::pipe().unwrap();
        let null = std::fs::File::options().read(true).write(true).open("/dev/null").unwrap();
        let process = start(&Start {
            image: Image::Named,
            argv: words.iter().map(|word| CString::new(*word).unwrap()).collect(),
            env: None,
            directory: None,
            stdio: [null.try_clone().unwrap().into(), child_out.into(), null.into()],
            terminal: None,
            dies_with_parent: false,
            marked: Marked::No,
        });
        (process.unwrap_or_else(|why| panic!("{}", why.error())), output)
    }

    fn ended(process: &mut Process) -> WaitStatus {
        loop {
            match process.try_wait() {
                Some(status) => break status,
                None => std::thread::yield_now(),
            }
        }
    }

    #[test]
    fn a_program_starts_with_default_signals_whatever_its_parent_has_set() {
        extern "C" fn catch(_signal: libc::c_int) {}
        let ignored = [libc::SIGHUP, libc::SIGALRM, libc::SIGQUIT, libc::SIGUSR1, libc::SIGRTMAX()];
        for signal in ignored {
            // SAFETY: nothing in this test program waits for these.
            unsafe { libc::signal(signal, libc::SIG_IGN) };
        }
        // SAFETY: a handler that does nothing.
        unsafe { libc::signal(libc::SIGWINCH, catch as *const () as libc::sighandler_t) };
        let blocked = SignalsBlocked::all();
        let (mut process, mut output) = printing(&["cat", "/proc/self/status"]);
        let mut status = String::new();
        output.read_to_string(&mut status).unwrap();
        for set in ["SigBlk", "SigIgn", "SigCgt"] {
            assert!(status.contains(&format!("{set}:\t0000000000000000\n")), "{status}");
        }
        assert_eq!(ended(&mut process).code, Some(0));
        drop(blocked);
        let own = String::from_utf8(content("/proc/thread-self/status").unwrap()).unwrap();
        assert!(own.contains("SigBlk:\t0000000000000000\n"), "this process has its own back: {own}");
    }

    #[test]
    fn no_signal_handler_of_the_parent_runs_between_fork_and_exec() {
        static ELSEWHERE: AtomicI32 = AtomicI32::new(-1);
        static OWN: AtomicI32 = AtomicI32::new(0);
        extern "C" fn catch(_signal: libc::c_int) {
            // SAFETY: allowed in a handler.
            unsafe {
                if libc::getpid() != OWN.load(Ordering::Relaxed) {
                    libc::write(ELSEWHERE.load(Ordering::Relaxed), c"!".as_ptr().cast(), 1);
                }
            }
        }
        let (mut seen, elsewhere) = std::io::pipe().unwrap();
        OWN.store(std::process::id() as i32, Ordering::Relaxed);
        ELSEWHERE.store(elsewhere.as_raw_fd(), Ordering::Relaxed);
        // SAFETY: the handler only makes calls that are allowed in one. By default this signal does nothing, so that
        // nobody else of this process group is harmed by it.
        unsafe { libc::signal(libc::SIGURG, catch as *const () as libc::sighandler_t) };
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    // The group of this process, in which the new one is until it has a session of its own.
                    crate::kill(0, libc::SIGURG);
                }
            });
            for _ in 0..50 {
                let (mut process, _output) = printing(&["true"]);
                assert_eq!(ended(&mut process).code, Some(0));
            }
            done.store(true, Ordering::Relaxed);
        });
        crate::default_signal(libc::SIGURG);
        drop(elsewhere);
        let mut told = Vec::new();
        seen.read_to_end(&mut told).unwrap();
        assert_eq!(told, b"", "a handler ran in a process that was about to become a program");
    }

    fn stranger() -> Child {
        Command::new("sleep").arg("1000").spawn().unwrap()
    }

    #[test]
    fn an_exited_program_is_reaped_only_when_dropped() {
        let mut ends = [(7, "exit 7"), (0, "kill -9 $$")].map(|(code, script)| {
            let mut process = started(&["sh", "-c", script]);
            let status = ended(&mut process);
            assert_eq!(status.code.unwrap_or(0), code, "{script}");
            process
        });
        assert_eq!(ends[1].try_wait(), Some(WaitStatus { code: None, signal: Some(libc::SIGKILL) }));
        for process in ends {
            let stat = || files::text(&format!("/proc/{}/stat", process.id()));
            assert!(stat().contains(") Z "), "{}", stat());
            assert!(process.signal(libc::SIGTERM) && process.signal_group(libc::SIGTERM));
            let pid = process.id();
            drop(process);
            assert_eq!(files::text(&format!("/proc/{pid}/stat")), "", "it is collected");
        }
    }

    #[test]
    fn the_process_group_of_an_exited_program_can_be_signalled() {
        let mut process = started(&["sh", "-c", "sleep 1000 & exit 3"]);
        assert_eq!(ended(&mut process).code, Some(3));
        let group = -(process.id() as i32);
        assert!(process.signal_group(libc::SIGKILL));
        // SAFETY: plain numbers.
        let alive = || unsafe { libc::kill(group, 0) } == 0 && !only_ended(process.id());
        while alive() {
            std::thread::yield_now();
        }
    }

    /// Whether all processes of a group have ended.
    fn only_ended(group: u32) -> bool {
        let of_group = |stat: &String| stat.split(' ').nth(4) == Some(&group.to_string());
        let all = files::numbers("/proc").into_iter().map(|pid| files::text(&format!("/proc/{pid}/stat")));
        all.filter(of_group).all(|stat| stat.contains(") Z "))
    }

    #[test]
    fn a_pid_reused_by_another_process_is_not_signalled() {
        // Ended and collected by somebody else; its number was given to a stranger since.
        let mut stranger = stranger();
        let mut gone = started(&["true"]);
        ended(&mut gone);
        // SAFETY: a null status pointer is allowed.
        unsafe { libc::waitpid(gone.id() as i32, std::ptr::null_mut(), 0) };
        let handle = gone.handle.take();
        assert!(handle.is_some(), "this kernel has handles");
        let known = Process { pid: stranger.id(), handle, ended: None };
        // Without a handle the number has to be that of a child; this one's parent has ended.
        let orphan = Command::new("sh").args(["-c", "sleep 1000 >&- 2>&- & echo $!"]).output().unwrap();
        let orphan: u32 = String::from_utf8(orphan.stdout).unwrap().trim().parse().unwrap();
        let unknown = Process { pid: orphan, handle: None, ended: None };
        for mut process in [known, unknown] {
            assert!(process.signal(libc::SIGKILL) && process.signal_group(libc::SIGKILL));
            assert_eq!(process.try_wait(), Some(WaitStatus { code: None, signal: None }));
        }
        assert!(files::text(&format!("/proc/{orphan}/stat")).contains("(sleep) "), "the orphan lives");
        assert_eq!(stranger.try_wait().unwrap(), None, "the stranger lives");
        kill(orphan as i32, libc::SIGKILL);
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}
