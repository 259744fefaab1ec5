//! Handle to the program `dying-controller`: a controller in a process of its own, with a tree full
//! of processes that are hard to end.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::sys::signal::Signal;

use crate::process::{
    Seen, all, descendants, die_with_parent, eventually, look_at, signal, wait_for,
};
use crate::run::LIMIT;
use crate::sshd::Sshd;
use crate::tree::ended;

/// One context: the controller itself, or an agent.
#[derive(Clone, Debug)]
pub struct Place {
    /// Process of the controller or agent.
    pub process: u32,
    /// Process of its guard; the programs of the controller have one, too.
    pub guard: u32,
    /// Programs started in it.
    pub programs: Vec<u32>,
}

/// A controller that is about to end.
#[derive(Debug)]
pub struct DyingController {
    child: Child,
    _stdout: BufReader<ChildStdout>,
    started: BTreeSet<u32>,
    /// Detached programs, one in each context, with END `detach`.
    pub detached: Vec<u32>,
    /// The controller, and the three contexts of the chain below it.
    pub places: Vec<Place>,
    _server: Option<Sshd>,
}

impl DyingController {
    /// Starts a controller and waits until everything is running; `program` is the path of the
    /// binary `dying-controller`, `depth` and `end` are its arguments.
    ///
    /// # Panics
    /// Panics if it fails.
    pub fn start(program: &str, depth: &str, end: &str) -> Self {
        let server = (depth == "ssh").then(|| Sshd::start("web1"));
        let before: BTreeSet<u32> = all().into_keys().collect();
        let mut command = Command::new(program);
        command
            .args([depth, end])
            .args(server.as_ref().map(Sshd::config));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = die_with_parent(&mut command)
            .spawn()
            .expect("cargo builds it for this suite");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        stdout
            .read_line(&mut line)
            .expect("it prints the processes that it has started");
        let (words, detached) = line
            .split_once(" ready")
            .unwrap_or_else(|| panic!("it failed: {line:?}"));
        let number = |word: &str| word.parse::<u32>().expect("a number");
        let places = words.split(' ').map(|word| {
            let (process, programs) = word.split_once(':').expect("process and programs");
            let process = number(process);
            let guard = look_at(process).map_or(0, |seen| seen.parent);
            Place {
                process,
                guard,
                programs: programs.split(',').map(number).collect(),
            }
        });
        let detached: Vec<u32> = detached.split_ascii_whitespace().map(number).collect();
        let mut dying = Self {
            detached,
            places: places.collect(),
            child,
            _stdout: stdout,
            started: before,
            _server: server,
        };
        // Intermediate shells exit soon, and detached shells may not have started their child yet:
        // wait for both.
        let settled = eventually(LIMIT, || {
            let everyone = all();
            let mut new = everyone
                .values()
                .filter(|seen| !dying.started.contains(&seen.pid));
            new.all(|seen| !seen.arguments.contains("setsid"))
                && dying
                    .detached
                    .iter()
                    .all(|pid| everyone.values().any(|seen| seen.parent == *pid))
        });
        assert!(settled, "its programs are not up");
        let spared: Vec<u32> = dying
            .detached
            .iter()
            .flat_map(|pid| descendants(*pid))
            .map(|seen| seen.pid)
            .collect();
        assert_eq!(
            dying
                .places
                .iter()
                .map(|place| place.programs.len())
                .collect::<Vec<_>>(),
            [6; 4],
            "{line}"
        );
        // The guard of the controller's programs is its child.
        let controller = dying.child.id();
        let children = all().into_values().filter(|seen| seen.parent == controller);
        let guard = children
            .into_iter()
            .find(|seen| seen.arguments == "offshoot: controller");
        dying.places[0].guard = guard.map_or(0, |seen| seen.pid);
        let before = std::mem::take(&mut dying.started);
        // A controller told to end at once may be gone by now; one told to wait may not.
        dying.started = all()
            .into_keys()
            .filter(|pid| !before.contains(pid))
            .collect();
        dying
            .started
            .retain(|pid| !dying.detached.contains(pid) && !spared.contains(pid));
        dying
    }

    /// Asserts that no process has ended by itself.
    ///
    /// # Panics
    /// Panics if something has.
    #[track_caller]
    pub fn expect_all_up(&self) {
        assert!(
            self.started.len() > 40,
            "programs, their children and agents: {:?}",
            self.started
        );
        assert!(
            self.started.iter().all(|pid| !ended(*pid)),
            "something ended by itself"
        );
        assert!(self.places.iter().all(|place| place.guard != 0));
    }

    /// Returns the process id of the controller.
    pub fn controller(&self) -> u32 {
        self.child.id()
    }

    /// Returns the started processes that are not descendants of the controller, because they run
    /// behind ssh.
    pub fn behind_ssh(&self) -> BTreeSet<u32> {
        let near: BTreeSet<u32> = descendants(self.controller())
            .into_iter()
            .map(|seen| seen.pid)
            .collect();
        self.started
            .iter()
            .copied()
            .filter(|pid| !near.contains(pid) && *pid != self.controller())
            .collect()
    }

    /// Returns the processes that must end with the contexts from `first` on: guards, agents, their
    /// descendants, and programs started in them, even if reparented.
    pub fn from_on(&self, first: usize) -> BTreeSet<u32> {
        let places = &self.places[first..];
        let guards = places.iter().flat_map(|place| {
            let below = descendants(place.guard).into_iter().map(|seen| seen.pid);
            below
                .chain([place.guard])
                .chain(place.programs.iter().copied())
        });
        guards.collect()
    }

    /// Asserts that all of these processes end. How soon is measured by `cargo xtask bench end`.
    ///
    /// # Panics
    /// Panics if one does not.
    #[track_caller]
    pub fn expect_gone(&self, processes: &BTreeSet<u32>, how: &str) {
        let gone = eventually(LIMIT, || processes.iter().all(|pid| ended(*pid)));
        let everyone = all();
        let left: Vec<&Seen> = processes
            .iter()
            .filter_map(|pid| everyone.get(pid))
            .filter(|seen| !seen.zombie)
            .collect();
        assert!(gone, "{how}: left: {left:#?}");
    }

    /// Asserts that the controller ends, and everything with it.
    ///
    /// # Panics
    /// Panics if something does not.
    #[track_caller]
    pub fn expect_nothing_left(mut self, how: &str) {
        wait_for(&mut self.child, LIMIT)
            .unwrap_or_else(|| panic!("{how}: the controller does not end"));
        self.expect_gone(&self.started, how);
    }

    /// Kills the controller and asserts that everything ends.
    ///
    /// # Panics
    /// Panics if something does not.
    #[track_caller]
    pub fn kill(self, how: &str) {
        signal(self.controller(), Signal::SIGKILL);
        self.expect_nothing_left(how);
    }
}
