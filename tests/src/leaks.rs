//! Leak check: after a test there is no process, zombie, thread, descriptor, mount or file that was
//! not there before.
//!
//! The sandbox makes it exact: its pid namespace holds only the test and its children, and its
//! `/tmp`, `/run`, `/home` and so on belong to nobody else. Processes and files that are about to
//! disappear get [`LIMIT`] to do so; the check polls and passes as soon as nothing is left.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::run::LIMIT;
use crate::{process, users};

/// Directories that are searched for new files; mounts below them are not entered.
const WATCHED: [&str; 9] = [
    "/tmp",
    "/dev/shm",
    "/dev/mqueue",
    "/dev/pts",
    "/dev",
    "/run",
    "/var/tmp",
    "/home",
    "/root",
];

/// sudo's timestamp records, which are not a leak of the caller.
const SUDO_RECORDS: &str = "/run/sudo";

/// The state before a test; checked when it is dropped, unless the test has failed already.
#[derive(Debug)]
#[must_use = "dropped at once it proves nothing: bind it to a name such as `_leaks`"]
pub struct Leaks {
    before: BTreeSet<Thing>,
    checked: bool,
}

/// One thing that a test can leave behind; the derived order groups the report.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Process {
        pid: u32,
        started: u64,
        zombie: bool,
    },
    Thread {
        id: u32,
    },
    Descriptor {
        number: u32,
        target: PathBuf,
    },
    Mount {
        line: String,
    },
    File {
        path: PathBuf,
    },
}

impl Leaks {
    /// Prepares the users of the sandbox, which are no leak, and takes a snapshot.
    ///
    /// # Panics
    /// Panics outside the sandbox.
    pub fn begin() -> Self {
        crate::require_sandbox();
        users::prepare();
        Self {
            before: snapshot(),
            checked: false,
        }
    }

    /// Compares with the snapshot for at most [`LIMIT`].
    ///
    /// # Errors
    /// Returns the list of leaks, one per line.
    pub fn check(self) -> Result<(), String> {
        self.check_within(LIMIT)
    }

    /// Like [`Leaks::check`], with another time limit.
    ///
    /// # Errors
    /// Returns the list of leaks, one per line.
    pub fn check_within(mut self, grace: Duration) -> Result<(), String> {
        self.checked = true;
        self.compare(grace)
    }

    fn compare(&self, grace: Duration) -> Result<(), String> {
        let mut left: Vec<Thing> = Vec::new();
        let clean = process::eventually(grace, || {
            left = snapshot().difference(&self.before).cloned().collect();
            left.is_empty()
        });
        if clean { Ok(()) } else { Err(report(&left)) }
    }
}

impl Drop for Leaks {
    fn drop(&mut self) {
        if self.checked || std::thread::panicking() {
            return;
        }
        if let Err(list) = self.compare(LIMIT) {
            panic!("the test left something behind:\n{list}");
        }
    }
}

fn report(left: &[Thing]) -> String {
    let mut text = String::new();
    for thing in left {
        let _ = match thing {
            Thing::Process { pid, zombie, .. } => {
                let seen = process::look_at(*pid);
                let (name, arguments) = seen
                    .map(|seen| (seen.name, seen.arguments))
                    .unwrap_or_default();
                let kind = if *zombie { "zombie" } else { "process" };
                writeln!(text, "  {kind} {pid} ({name}) {arguments}")
            }
            Thing::Thread { id } => {
                let name =
                    fs::read_to_string(format!("/proc/self/task/{id}/comm")).unwrap_or_default();
                writeln!(text, "  thread {id} ({})", name.trim())
            }
            Thing::Descriptor { number, target } => {
                writeln!(text, "  descriptor {number} -> {}", target.display())
            }
            Thing::Mount { line } => writeln!(text, "  mount {line}"),
            Thing::File { path } => writeln!(text, "  file {}", path.display()),
        };
    }
    text
}

fn snapshot() -> BTreeSet<Thing> {
    let mut things = BTreeSet::new();
    for seen in process::all().into_values() {
        things.insert(Thing::Process {
            pid: seen.pid,
            started: seen.started,
            zombie: seen.zombie,
        });
    }
    for id in numbers_in("/proc/self/task") {
        things.insert(Thing::Thread { id });
    }
    for number in numbers_in("/proc/self/fd") {
        // The descriptor of the listing itself is closed by now and so has no target.
        if let Ok(target) = fs::read_link(format!("/proc/self/fd/{number}")) {
            things.insert(Thing::Descriptor { number, target });
        }
    }
    for line in fs::read_to_string("/proc/self/mountinfo")
        .unwrap_or_default()
        .lines()
    {
        things.insert(Thing::Mount {
            line: line.to_owned(),
        });
    }
    for root in WATCHED {
        collect_files(Path::new(root), &mut things);
    }
    things
}

fn numbers_in(directory: &str) -> Vec<u32> {
    let listing = fs::read_dir(directory).expect("/proc is mounted in the sandbox");
    listing
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn collect_files(root: &Path, things: &mut BTreeSet<Thing>) {
    let Ok(device) = fs::symlink_metadata(root).map(|about| about.dev()) else {
        return;
    };
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        let Ok(listing) = fs::read_dir(&directory) else {
            continue;
        };
        for entry in listing.flatten() {
            let path = entry.path();
            if path.starts_with(SUDO_RECORDS) {
                continue;
            }
            if entry
                .metadata()
                .is_ok_and(|about| about.is_dir() && about.dev() == device)
            {
                directories.push(path.clone());
            }
            things.insert(Thing::File { path });
        }
    }
}
