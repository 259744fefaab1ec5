//! The processes below this one, as /proc shows them, and their end.

use crate::sys::life::{self, Mark};
use crate::sys::{self, files};
use std::io;
use std::time::{Duration, Instant};

/// How many looks in a row have to find no process below this one.
const EMPTY_LOOKS: u8 = 3;
/// How long is tried: what changed its user cannot be killed by one who has not.
const PATIENCE: Duration = Duration::from_millis(400);

/// One process.
pub(crate) struct Seen {
    pub pid: u32,
    pub parent: u32,
    pub session: u32,
    pub ended: bool,
}

/// Ends every process below this one, however it detached itself, but for those that were let go. Orphans have become
/// our children: where there is no child, there is nothing below, and /proc is not even looked at, which a thousand
/// agents that end at once would all do. Where those that were let go remain, several looks in a row have to find
/// nobody else, for a process whose parent ends while /proc is read can be missed by one.
pub(crate) fn end_descendants() {
    let me = std::process::id();
    let begun = Instant::now();
    let mut empty_looks = 0;
    while empty_looks < EMPTY_LOOKS && sys::reap_all() {
        let below = descendants(&processes(), me);
        for pid in &below {
            sys::kill(*pid as i32, libc::SIGKILL);
        }
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
pub(crate) fn let_go(pid: u32, mark: Mark) -> io::Result<()> {
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

/// All processes; none where /proc is not mounted.
pub(crate) fn processes() -> Vec<Seen> {
    let mut seen = Vec::new();
    for pid in files::numbers("/proc") {
        let Ok(stat) = files::content(&format!("/proc/{pid}/stat")) else { continue };
        // pid (name) state parent group session ...: the name may hold anything, so the fields are counted from its end.
        let Some(end) = stat.iter().rposition(|byte| *byte == b')') else { continue };
        let mut fields = stat[end + 1..].split(|byte| *byte == b' ').filter(|field| !field.is_empty());
        let state = fields.next();
        let mut number = || fields.next().and_then(|field| std::str::from_utf8(field).ok()?.parse().ok());
        if let (Some(state), Some(parent), Some(_), Some(session)) = (state, number(), number(), number()) {
            seen.push(Seen { pid, parent, session, ended: state == b"Z" });
        }
    }
    seen
}

/// All living processes below `root` but for those that were let go, and what is below those.
fn descendants(all: &[Seen], root: u32) -> Vec<u32> {
    let own = life::mark_of(0);
    let mut found = vec![root];
    let mut at = 0;
    while at < found.len() {
        let parent = found[at];
        let below = all
            .iter()
            .filter(|seen| seen.parent == parent && !seen.ended && !found.contains(&seen.pid))
            .map(|seen| seen.pid)
            .filter(|pid| life::mark_of(*pid).is_none_or(|mark| Some(mark) == own));
        let below: Vec<u32> = below.collect();
        found.extend(below);
        at += 1;
    }
    found.remove(0);
    found
}
