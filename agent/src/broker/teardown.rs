//! The end of a node: children are told, programs are ended, and within a bound nothing is left.

use super::{Broker, PATIENCE, Place, Timer};
use crate::error::Error;
use crate::shared::{Endpoint, Wake};
use crate::sys;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many looks in a row have to find no process below this one.
const EMPTY_LOOKS: u8 = 3;
/// How long ended orphans may wait for being collected.
const REAP_DELAY: Duration = Duration::from_millis(500);
/// How long the root waits for its children before it uses force.
const ROOT_PATIENCE: Duration = Duration::from_millis(2000);

impl Broker {
    /// Begins the end: everything below is told, nothing new is taken.
    pub(super) fn stop(&mut self) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let mut core = shared.lock();
        core.stopped = true;
        let links = self.children.keys();
        for link in links {
            self.dismiss(&mut core, link);
        }
        shared.release(core);
        for program in self.programs.values() {
            program.end();
        }
        let patience = if matches!(self.place, Place::Root) { ROOT_PATIENCE } else { PATIENCE };
        self.after(patience, Timer::Farewell);
    }

    /// Whether the end has come.
    pub(super) fn check_farewell(&mut self) {
        if self.stopping && self.children.is_empty() && self.programs.is_empty() {
            self.done = true;
        }
    }

    /// The time for leaving in peace is over.
    pub(super) fn force(&mut self) {
        for program in self.programs.values() {
            program.signal(libc::SIGKILL);
        }
        let links = self.children.keys();
        for link in links {
            self.kill_child(link);
        }
        if matches!(self.place, Place::Agent(_)) {
            self.done = true;
        } else if std::mem::replace(&mut self.forced, true) {
            // What cannot be killed is left to its closed streams.
            self.done = true;
        } else {
            // What was killed is still collected.
            self.after(ROOT_PATIENCE / 2, Timer::Farewell);
        }
    }

    /// After the loop: whoever still waits is told, and in an agent every process below is ended.
    pub(super) fn last_words(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut core = shared.lock();
        core.stopped = true;
        let endpoints: Vec<_> = core.endpoints.drain().collect();
        for (_, endpoint) in endpoints {
            match endpoint {
                Endpoint::Reply(slot, _) => core.wakes.push(Wake::Slot(slot, Err(Error::ShutDown))),
                Endpoint::Stream(stream) => {
                    stream.fail(Error::ShutDown.to_string());
                    core.wakes.push(Wake::Stream(stream));
                }
                _ => {}
            }
        }
        if matches!(self.place, Place::Root) {
            core.io.clear();
        }
        shared.release(core);
        if matches!(self.place, Place::Agent(_)) {
            end_descendants();
        }
    }

    /// A child has ended: not each of them is worth a look at all processes.
    pub(super) fn reap_soon(&mut self) {
        if !std::mem::replace(&mut self.reaping, true) {
            self.after(REAP_DELAY, Timer::Reap);
        }
    }

    /// Collects processes that became children of this agent when their parents ended. A user function's own children
    /// are in the agent's session and are left to it; the hops' and programs' are collected by who started them.
    pub(super) fn reap_orphans(&mut self) {
        self.reaping = false;
        let me = std::process::id();
        for process in processes().into_iter().filter(|process| process.parent == me && process.ended) {
            let pid = process.pid;
            let ours = self.children.values().any(|child| child.is_process(pid))
                || self.programs.values().any(|program| program.is_process(pid));
            if !ours && sys::in_other_session(pid) {
                sys::reap(pid);
            }
        }
    }

    /// What this process itself prints goes to the root as log records, a line each.
    pub(super) fn own_output(&mut self, stream: u8, bytes: &[u8]) {
        if self.shared.log_level.load(std::sync::atomic::Ordering::Relaxed)
            < crate::log::number_of(tracing::Level::INFO)
        {
            return;
        }
        let index = usize::from(stream == 2);
        let lines = self.own_lines[index].feed(bytes);
        let name = if stream == 2 { "stderr" } else { "stdout" };
        for line in lines {
            let record = crate::log::encode(tracing::Level::INFO, name, &String::from_utf8_lossy(&line));
            self.shared.with(|core| core.node.log(record));
        }
    }
}

/// Ends every process below this one, however it detached itself. Orphans have become our children, so none is out of
/// sight for longer than one look: a process whose parent ends while /proc is read can be missed by that look, but not
/// by the next, so only several empty ones in a row count.
fn end_descendants() {
    let me = std::process::id();
    let begun = Instant::now();
    let mut empty_looks = 0;
    while empty_looks < EMPTY_LOOKS {
        while sys::reap_any().is_some() {}
        let below = descendants(me);
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

/// One process as /proc shows it.
struct Seen {
    pid: u32,
    parent: u32,
    ended: bool,
}

/// All processes; none where /proc is not mounted.
fn processes() -> Vec<Seen> {
    let mut seen = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(stat) = std::fs::read(entry.path().join("stat")) else { continue };
        // pid (name) state parent ...: the name may hold anything, so the fields are counted from its end.
        let Some(end) = stat.iter().rposition(|byte| *byte == b')') else { continue };
        let mut fields = stat[end + 1..].split(|byte| *byte == b' ').filter(|field| !field.is_empty());
        let state = fields.next();
        let parent = fields.next().and_then(|field| std::str::from_utf8(field).ok()?.parse().ok());
        if let (Some(state), Some(parent)) = (state, parent) {
            seen.push(Seen { pid, parent, ended: state == b"Z" });
        }
    }
    seen
}

/// All living processes below `root`.
fn descendants(root: u32) -> Vec<u32> {
    let all = processes();
    let mut found = vec![root];
    let mut at = 0;
    while at < found.len() {
        let parent = found[at];
        let below =
            all.iter().filter(|seen| seen.parent == parent && !seen.ended && !found.contains(&seen.pid));
        let below: Vec<u32> = below.map(|seen| seen.pid).collect();
        found.extend(below);
        at += 1;
    }
    found.remove(0);
    found
}
