//! Child processes, waited for with a bound, and the processes of this pid namespace.
//!
//! Nothing here sleeps: a wait is a poll on a pidfd, so a test continues as soon as the process
//! ends.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Opens a descriptor that becomes readable when the process ends.
///
/// # Errors
/// Returns `ESRCH` if there is no such process.
pub fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just returned this descriptor and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Waits for `child` for at most `limit`; `None` if it is still running.
///
/// # Panics
/// Panics if the child cannot be waited for.
pub fn wait_for(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + limit;
    let ended = pidfd(child.id()).expect("a child that has not been waited for has a pidfd");
    loop {
        if let Some(status) = child.try_wait().expect("waiting for our own child") {
            return Some(status);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        let mut polled = [PollFd::new(ended.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut polled, poll_timeout(left));
    }
}

/// Rounds a duration up to the milliseconds that `poll` takes.
pub fn poll_timeout(left: Duration) -> PollTimeout {
    PollTimeout::try_from(left.as_millis().saturating_add(1).min(60_000) as u64)
        .unwrap_or(PollTimeout::MAX)
}

/// Makes the child die with the thread that started it.
pub fn die_with_parent(command: &mut Command) -> &mut Command {
    use std::os::unix::process::CommandExt as _;
    // SAFETY: the closure runs between fork and exec and makes one system call that allocates
    // nothing.
    unsafe {
        command.pre_exec(
            || match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            },
        )
    }
}

/// One process as `/proc/PID/stat` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Process id in this pid namespace.
    pub pid: u32,
    /// Process id of its parent.
    pub parent: u32,
    /// Short name in the kernel.
    pub name: String,
    /// True if it has ended and waits to be reaped.
    pub zombie: bool,
    /// Start time in clock ticks since boot; distinguishes a reused id.
    pub started: u64,
    /// Arguments joined with spaces; empty for a zombie.
    pub arguments: String,
}

/// Returns every process of this pid namespace, zombies included.
pub fn all() -> BTreeMap<u32, Seen> {
    let listing = fs::read_dir("/proc").expect("/proc is mounted in the sandbox");
    let pids = listing
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, look_at(pid)?))).collect()
}

/// Returns one process if it exists.
pub fn look_at(pid: u32) -> Option<Seen> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let name = &stat[stat.find('(')? + 1..stat.rfind(')')?];
    let rest: Vec<&str> = stat[stat.rfind(')')? + 1..]
        .split_ascii_whitespace()
        .collect();
    let raw = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let arguments = String::from_utf8_lossy(&raw)
        .trim_end_matches('\0')
        .replace('\0', " ");
    Some(Seen {
        pid,
        parent: rest.get(1)?.parse().ok()?,
        name: name.to_owned(),
        zombie: matches!(*rest.first()?, "Z" | "X"),
        started: rest.get(19)?.parse().ok()?,
        arguments,
    })
}

/// Returns all descendants of `root`, children before grandchildren.
pub fn descendants(root: u32) -> Vec<Seen> {
    let everyone = all();
    let mut found: Vec<Seen> = Vec::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for seen in everyone.values().filter(|seen| seen.parent == parent) {
            parents.push(seen.pid);
            found.push(seen.clone());
        }
    }
    found
}

/// Polls `done` every few milliseconds until it returns true; returns false if `limit` has passed
/// first.
///
/// For states without a kernel event, such as the end of another process's child.
pub fn eventually(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        let _ = poll(&mut [], 5u8);
    }
}

/// Runs a system program that must succeed, and returns its output.
///
/// # Panics
/// Panics if it cannot be started or fails; the message holds what it wrote to stderr.
pub fn must_run(program: &str, arguments: &[&str], stdin: &[u8]) -> String {
    use std::io::Write as _;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
    let mut pipe = child.stdin.take().expect("stdin is piped");
    // A program may close its stdin without reading it; its exit status decides.
    let _ = pipe.write_all(stdin);
    drop(pipe);
    let output = child.wait_with_output().expect("waiting for our own child");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {}: {}: {said}",
        arguments.join(" "),
        output.status
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Sends a signal; returns false if the process is gone.
pub fn signal(pid: u32, signal: nix::sys::signal::Signal) -> bool {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), signal).is_ok()
}
