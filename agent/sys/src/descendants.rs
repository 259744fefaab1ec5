//! The descendants of this process, as /proc shows them: finding, ending and detaching them.

use crate::guard;
use crate::guard::DetachMark;
use crate::process::kill;
use crate::process::pidfd_open;
use crate::process::pidfd_signal;
use crate::process::reap_all;
use crate::procfs;
use std::io;
use std::time::Duration;
use std::time::Instant;

/// Number of consecutive scans that must find no descendant before the search stops.
const EMPTY_LOOKS: u8 = 3;

/// Time limit of [`end_descendants`], after at least [`LEAST_LOOKS`]. A process that has changed
/// its user cannot be killed by an agent without root, so waiting longer is futile.
const PATIENCE: Duration = Duration::from_millis(400);

/// Number of scans that are made however long they take, on a busy machine more than [`PATIENCE`].
const LEAST_LOOKS: u8 = 10;

/// One process at the moment of a scan.
#[derive(Copy, Clone)]
pub struct Seen {
    /// Process number.
    pub pid: u32,
    /// Process number of the parent.
    pub parent: u32,
    /// Session number, which is the process number of the session's leader.
    pub session: u32,
    /// True if the process is a zombie: it has ended and was not collected.
    pub ended: bool,
    /// Start time in clock ticks since boot; tells this process from a later one with its number.
    started: u64,
}

impl Seen {
    /// Sends a signal to the process, unless its number now belongs to another process or its
    /// parent has changed.
    pub fn signal(&self, signal: i32) {
        let handle = pidfd_open(self.pid);
        let same = |now: Self| (now.parent, now.started) == (self.parent, self.started);
        if !look_at(self.pid).is_some_and(same) {
            return;
        }
        // The pidfd refers to the process that was just compared. Without pidfds a short race
        // remains.
        match handle {
            Ok(handle) => drop(pidfd_signal(&handle, signal, 0)),
            Err(_) => drop(kill(self.pid as i32, signal)),
        }
    }
}

/// Kills every descendant that is not detached, including daemonised ones.
///
/// Orphans are reparented to this process, so without a child there is no descendant. /proc is not
/// read in that case, which matters when a thousand agents end at once. If detached processes
/// remain, several consecutive scans must find nothing else, because one scan can miss a process
/// whose parent ends meanwhile.
#[expect(
    clippy::disallowed_methods,
    reason = "a guard has no reactor, and the end of a foreign process is not an event"
)]
pub fn end_descendants() {
    let me = std::process::id();
    let begun = Instant::now();
    let (mut empty_looks, mut looks) = (0, 0_u8);
    while empty_looks < EMPTY_LOOKS && reap_all() {
        let all = processes();
        let below = descendants(&all, me);
        kill_all(&below);
        empty_looks = if below.is_empty() { empty_looks + 1 } else { 0 };
        looks = looks.saturating_add(1);
        if looks >= LEAST_LOOKS && begun.elapsed() > PATIENCE {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Kills the processes of a scan, which has parents before their children.
///
/// Children are killed first: a killed parent would leave children with another parent, which are
/// not signalled then, and so one level to each scan. Until its turn a parent is stopped, because a
/// shell whose child was killed would go on to its next command.
fn kill_all(below: &[&Seen]) {
    for signal in [libc::SIGSTOP, libc::SIGKILL] {
        for seen in below.iter().rev() {
            seen.signal(signal);
        }
    }
}

/// Detaches a process, its descendants and its session: scans by any guard skip them from now on.
/// Processes that already have a mark keep it.
///
/// # Errors
/// Returns an error if the process itself cannot be marked.
pub fn detach(pid: u32, mark: DetachMark) -> io::Result<()> {
    guard::set_mark(pid, Some(mark))?;
    // New children inherit the mark. Repeat until a scan finds no unmarked older descendant.
    let mut known = vec![pid];
    loop {
        let all = processes();
        let new: Vec<u32> = all
            .iter()
            .filter(|seen| seen.session == pid || known.contains(&seen.parent))
            .map(|seen| seen.pid)
            .filter(|pid| !known.contains(pid))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        for pid in new {
            // Errors are ignored: a process of another user cannot be killed by a scan either.
            if guard::mark_of(pid).is_none() {
                let _ = guard::set_mark(pid, Some(mark));
            }
            known.push(pid);
        }
    }
}

/// Returns the living descendants of a program that are not detached, without the program itself:
/// found by parent, by session and by origin mark.
pub fn started_by(program: u32) -> Vec<Seen> {
    let mut found: Vec<Seen> = Vec::new();
    let all = processes();
    for seen in descendants(&all, std::process::id()) {
        let below = found.iter().any(|other| other.pid == seen.parent);
        if seen.pid != program
            && (below || seen.session == program || guard::has_origin(seen.pid, program))
        {
            found.push(*seen);
        }
    }
    found
}

/// Returns true if the kernel reports no child of this process other than those in `known`.
pub fn has_no_child_but(known: impl Fn(u32) -> bool) -> bool {
    let me = std::process::id();
    let children = procfs::content(&format!("/proc/self/task/{me}/children"));
    children.is_ok_and(|children| {
        let mut children = children
            .split(|byte| *byte == b' ')
            .filter(|child| !child.is_empty());
        children.all(|child| {
            std::str::from_utf8(child).is_ok_and(|child| child.parse().is_ok_and(&known))
        })
    })
}

/// Returns all processes of the machine; empty if /proc is not mounted.
pub fn processes() -> Vec<Seen> {
    procfs::numbers("/proc")
        .into_iter()
        .filter_map(look_at)
        .collect()
}

/// Returns the process with this number, if there is one.
fn look_at(pid: u32) -> Option<Seen> {
    let stat = procfs::content(&format!("/proc/{pid}/stat")).ok()?;
    // Format: pid (name) state parent group session ... The name may contain any byte, so the
    // fields are counted from its last parenthesis.
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = stat[end + 1..]
        .split(|byte| *byte == b' ')
        .filter(|field| !field.is_empty());
    let state = fields.next()?;
    let mut number = |skipped| {
        std::str::from_utf8(fields.nth(skipped)?)
            .ok()?
            .parse::<u64>()
            .ok()
    };
    let (parent, session, started) = (number(0)? as u32, number(1)? as u32, number(15)?);
    Some(Seen {
        pid,
        parent,
        session,
        ended: state == b"Z",
        started,
    })
}

/// Returns the living descendants of `root`, without detached processes and their descendants.
fn descendants(all: &[Seen], root: u32) -> Vec<&Seen> {
    let own = guard::mark_of(0);
    let mut found: Vec<&Seen> = Vec::new();
    let mut parent = Some(root);
    let mut at = 0;
    while let Some(number) = parent {
        let is_new = |seen: &&Seen| {
            seen.parent == number && !seen.ended && !found.iter().any(|other| other.pid == seen.pid)
        };
        let below = all.iter().filter(is_new);
        let bound =
            below.filter(|seen| guard::mark_of(seen.pid).is_none_or(|mark| Some(mark) == own));
        let bound: Vec<&Seen> = bound.collect();
        found.extend(bound);
        parent = found.get(at).map(|seen| seen.pid);
        at += 1;
    }
    found
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "std starts a program to look at")]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    #[test]
    fn a_reused_pid_is_not_signalled() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let seen = look_at(child.id()).unwrap();
        let Seen {
            pid,
            parent,
            session,
            started,
            ..
        } = seen;
        assert_eq!(parent, std::process::id());
        for (parent, started) in [(parent, started + 1), (parent + 1, started)] {
            Seen {
                pid,
                parent,
                session,
                ended: false,
                started,
            }
            .signal(libc::SIGKILL);
            assert_eq!(child.try_wait().unwrap(), None);
        }
        seen.signal(libc::SIGTERM);
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
        seen.signal(libc::SIGTERM);
    }

    #[test]
    fn descendants_of_a_process_are_found_at_every_depth() {
        let script = "sh -c 'sleep 1000 & sleep 1000 & echo; wait' & wait";
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0];
        io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        let all = processes();
        let below = descendants(&all, child.id());
        assert_eq!(below.len(), 3);
        kill_all(&below);
        child.wait().unwrap();
    }

    #[test]
    fn one_scan_kills_every_level() {
        // Each shell waits for the one below it, and must not go on.
        let script = "test $1 = 0 && { echo; exec sleep 1000; }; sh -c \"$0\" \"$0\" $(($1 - 1)) & wait; echo on";
        let mut child = Command::new("sh")
            .args(["-c", script, script, "8"])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let all = processes();
        let mut below = descendants(&all, child.id());
        assert_eq!(below.len(), 8);
        below.extend(all.iter().find(|seen| seen.pid == child.id()));
        below.rotate_right(1);
        kill_all(&below);
        child.wait().unwrap();
        let lives = |seen: &&Seen| look_at(seen.pid).is_some_and(|now| !now.ended);
        let begun = Instant::now();
        while let Some(seen) = below.iter().find(|seen| lives(seen)) {
            assert!(
                begun.elapsed() < Duration::from_secs(25),
                "{} was left out",
                seen.pid
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        let mut rest = String::new();
        io::Read::read_to_string(child.stdout.as_mut().unwrap(), &mut rest).unwrap();
        assert_eq!(rest, "");
    }
}
