//! The processes below this one, as /proc shows them, and their end.

use crate as sys;
use crate::guard as life;
use crate::guard::DetachMark;
use crate::procfs as files;
use std::io;
use std::time::Duration;
use std::time::Instant;

/// How many looks in a row have to find no process below this one.
const EMPTY_LOOKS: u8 = 3;

/// How long is tried: what changed its user cannot be killed by one who has not.
const PATIENCE: Duration = Duration::from_millis(400);

/// One process as it was seen.
#[derive(Copy, Clone)]
pub struct Seen {
    pub pid: u32,
    pub parent: u32,
    pub session: u32,
    pub ended: bool,
    /// When it was started, in ticks since boot: another process with its number was not.
    started: u64,
}

impl Seen {
    /// Sends it a signal, unless its number is another process's by now, or its parent is another.
    pub fn signal(&self, signal: i32) {
        let handle = sys::pidfd_open(self.pid);
        let same = |now: Seen| (now.parent, now.started) == (self.parent, self.started);
        if !look_at(self.pid).is_some_and(same) {
            return;
        }
        // What the handle is for is what was looked at; without handles there is the moment between.
        match handle {
            Ok(handle) => drop(sys::pidfd_signal(&handle, signal, 0)),
            Err(_) => drop(sys::kill(self.pid as i32, signal)),
        }
    }
}

/// Ends every process below this one, however it detached itself, but for those that were let go. Orphans have become
/// our children: where there is no child, there is nothing below, and /proc is not even looked at, which a thousand
/// agents that end at once would all do. Where those that were let go remain, several looks in a row have to find
/// nobody else, for a process whose parent ends while /proc is read can be missed by one.
pub fn end_descendants() {
    let me = std::process::id();
    let begun = Instant::now();
    let mut empty_looks = 0;
    while empty_looks < EMPTY_LOOKS && sys::reap_all() {
        let all = processes();
        let below = descendants(&all, me);
        below.iter().for_each(|seen| seen.signal(libc::SIGKILL));
        empty_looks = if below.is_empty() { empty_looks + 1 } else { 0 };
        if begun.elapsed() > PATIENCE {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Lets a process go, with all that is below it or in its session: no sweep of others sees any of them from now on. What
/// was let go before keeps its own mark.
///
/// # Errors
/// Where the process itself cannot be marked.
pub fn detach(pid: u32, mark: DetachMark) -> io::Result<()> {
    life::set_mark(pid, Some(mark))?;
    // What it starts from now on has the mark from the start. What it had started is looked for until none is new.
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
            // One that is gone, or another user's: that one is out of reach of a sweep as well.
            if life::mark_of(pid).is_none() {
                let _ = life::set_mark(pid, Some(mark));
            }
            known.push(pid);
        }
    }
}

/// What a program of this process has started and what was not let go, by its session, by what it is marked with, or from
/// parent to child; itself not among it.
pub fn started_by(program: u32) -> Vec<Seen> {
    let mut found: Vec<Seen> = Vec::new();
    let all = processes();
    for seen in descendants(&all, std::process::id()) {
        let below = found.iter().any(|other| other.pid == seen.parent);
        if seen.pid != program && (below || seen.session == program || life::has_origin(seen.pid, program)) {
            found.push(*seen);
        }
    }
    found
}

/// Whether this process has no child but those that are `known`, as far as the kernel tells.
pub fn has_no_child_but(known: impl Fn(u32) -> bool) -> bool {
    let me = std::process::id();
    let children = files::content(&format!("/proc/self/task/{me}/children"));
    children.is_ok_and(|children| {
        let mut children = children.split(|byte| *byte == b' ').filter(|child| !child.is_empty());
        children.all(|child| std::str::from_utf8(child).is_ok_and(|child| child.parse().is_ok_and(&known)))
    })
}

/// All processes; none where /proc is not mounted.
pub fn processes() -> Vec<Seen> {
    files::numbers("/proc").into_iter().filter_map(look_at).collect()
}

/// One process, if there is one of that number.
fn look_at(pid: u32) -> Option<Seen> {
    let stat = files::content(&format!("/proc/{pid}/stat")).ok()?;
    // pid (name) state parent group session ...: the name may hold anything, so the fields are counted from its end.
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = stat[end + 1..].split(|byte| *byte == b' ').filter(|field| !field.is_empty());
    let state = fields.next()?;
    let mut number = |skipped| std::str::from_utf8(fields.nth(skipped)?).ok()?.parse::<u64>().ok();
    let (parent, session, started) = (number(0)? as u32, number(1)? as u32, number(15)?);
    Some(Seen { pid, parent, session, ended: state == b"Z", started })
}

/// All living processes below `root` but for those that were let go, and what is below those.
fn descendants(all: &[Seen], root: u32) -> Vec<&Seen> {
    let own = life::mark_of(0);
    let mut found: Vec<&Seen> = Vec::new();
    let mut parent = Some(root);
    let mut at = 0;
    while let Some(number) = parent {
        let is_new = |seen: &&Seen| {
            seen.parent == number && !seen.ended && !found.iter().any(|other| other.pid == seen.pid)
        };
        let below = all.iter().filter(is_new);
        let bound = below.filter(|seen| life::mark_of(seen.pid).is_none_or(|mark| Some(mark) == own));
        let bound: Vec<&Seen> = bound.collect();
        found.extend(bound);
        parent = found.get(at).map(|seen| seen.pid);
        at += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    #[test]
    fn a_reused_pid_is_not_signalled() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let seen = look_at(child.id()).unwrap();
        let Seen { pid, parent, session, started, .. } = seen;
        assert_eq!(parent, std::process::id());
        for (parent, started) in [(parent, started + 1), (parent + 1, started)] {
            Seen { pid, parent, session, ended: false, started }.signal(libc::SIGKILL);
            assert_eq!(child.try_wait().unwrap(), None);
        }
        seen.signal(libc::SIGTERM);
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
        seen.signal(libc::SIGTERM);
    }

    #[test]
    fn descendants_of_a_process_are_found_at_every_depth() {
        let script = "sh -c 'sleep 1000 & sleep 1000 & echo; wait' & wait";
        let mut child =
            Command::new("sh").args(["-c", script]).stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut line = [0];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        let all = processes();
        let below = descendants(&all, child.id());
        assert_eq!(below.len(), 3);
        below.iter().rev().for_each(|seen| seen.signal(libc::SIGKILL));
        child.wait().unwrap();
    }
}
