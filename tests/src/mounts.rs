//! Hosts with other mounts and kernel settings, as words to put before a shell.
//!
//! Mounts and process ids belong to the shell (`unshare`), so the sandbox is unchanged and
//! everything is gone with the shell. The directories in which an agent can start are replaced by
//! directories of a scratch directory, which the test can list: see [`Scene::files`].

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::process::must_run;
use crate::scratch::ScratchDir;
use crate::shells::Tools;

/// The directories in which an agent may start, besides `TMPDIR`; the home and the working
/// directory are `/home/plain` and `/mnt`.
pub const PLACES: [&str; 7] = [
    "/dev",
    "/dev/shm",
    "/tmp",
    "/run",
    "/var/tmp",
    "/home/plain",
    "/mnt",
];

/// The devices of a scene's `/dev`: name, major and minor number.
const DEVICES: [(&str, &str, &str); 5] = [
    ("null", "1", "3"),
    ("zero", "1", "5"),
    ("random", "1", "8"),
    ("urandom", "1", "9"),
    ("tty", "5", "0"),
];

/// The directory for a scene's own files; none of [`PLACES`].
const BACKING: &str = "/var/lib/offshoot-scene";
const TOOLS: &str = "/var/lib/offshoot-tools";

/// A host under construction.
#[derive(Debug)]
pub struct Scene {
    backing: ScratchDir,
    tools: String,
    options: &'static str,
    unaffected: &'static [&'static str],
    more: String,
    environment: Vec<String>,
}

impl Scene {
    /// Creates a host with ordinary mounts, whose `PATH` is `tools`.
    ///
    /// # Panics
    /// Panics if its directories cannot be made.
    pub fn new(tools: &Tools) -> Self {
        let backing = ScratchDir::new("scene");
        for own in [BACKING, TOOLS] {
            fs::create_dir_all(own).expect("/var is writable in the sandbox");
        }
        for place in PLACES {
            let behind = backing.path().join(name_of(place));
            fs::create_dir(&behind).expect("the directory is new");
            fs::set_permissions(&behind, fs::Permissions::from_mode(0o1777)).expect("it is ours");
        }
        // The sandbox shares its /dev with the machine; a scene does not.
        let dev = backing.path().join("dev");
        fs::create_dir(dev.join("shm")).expect("the directory is new");
        for (name, major, minor) in DEVICES {
            let path = dev.join(name).display().to_string();
            must_run("mknod", &["-m", "666", &path, "c", major, minor], b"");
        }
        let environment = vec![format!("PATH={TOOLS}"), "HOME=/home/plain".into()];
        let tools = tools.path().to_owned();
        Self {
            backing,
            tools,
            options: "",
            unaffected: &[],
            more: String::new(),
            environment,
        }
    }

    /// Mounts every directory with these options: `noexec` or `ro`.
    pub fn everywhere(mut self, options: &'static str) -> Self {
        self.options = options;
        self
    }

    /// Leaves these directories as they are.
    pub fn but(mut self, unaffected: &'static [&'static str]) -> Self {
        self.unaffected = unaffected;
        self
    }

    /// Sets `vm.memfd_noexec`.
    pub fn memfd_noexec(self, value: u8) -> Self {
        self.also(&format!("echo {value} >/proc/sys/vm/memfd_noexec"))
    }

    /// Unmounts `/proc`.
    pub fn without_proc(self) -> Self {
        self.also("busybox umount -l /proc")
    }

    /// Also runs this shell text after the mounts.
    pub fn also(mut self, text: &str) -> Self {
        let _ = writeln!(self.more, "{text}");
        self
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push(format!("{name}={value}"));
        self
    }

    /// Returns the path, outside of the scene, of one of [`PLACES`].
    pub fn behind(&self, place: &str) -> PathBuf {
        self.backing.path().join(name_of(place))
    }

    /// Returns the words of its shell.
    pub fn words(&self) -> Vec<String> {
        let unshare = [
            "unshare",
            "-m",
            "-p",
            "-f",
            "--kill-child",
            "--mount-proc",
            "--propagation",
            "private",
        ];
        let mut words: Vec<String> = unshare.map(str::to_owned).into();
        words.extend(["/bin/sh", "-c", &self.arrangement(), "sh", "env", "-i"].map(str::to_owned));
        words.extend(self.environment.iter().cloned());
        words.push(format!("{TOOLS}/sh"));
        words
    }

    fn arrangement(&self) -> String {
        let mut text = "set -e\n".to_owned();
        // Moved first: both lie in a directory that is about to be replaced. busybox is used
        // because mount(8) leaves files in /run.
        let _ = writeln!(text, "bind() {{ busybox mount -o bind $1 $2; }}");
        let _ = writeln!(
            text,
            "bind {} {BACKING}\nbind {} {TOOLS}",
            self.backing.path().display(),
            self.tools
        );
        for place in PLACES {
            let _ = writeln!(text, "bind {BACKING}/{} {place}", name_of(place));
            if !self.options.is_empty() && !self.unaffected.contains(&place) {
                let _ = writeln!(
                    text,
                    "busybox mount -o remount,bind,{} none {place}",
                    self.options
                );
            }
        }
        let _ = write!(text, "{}cd /mnt\nexec \"$@\"", self.more);
        text
    }

    /// Returns the files in its directories, except for devices.
    ///
    /// # Panics
    /// Panics if a place cannot be listed.
    pub fn files(&self) -> BTreeSet<PathBuf> {
        let mut files = BTreeSet::new();
        for place in PLACES {
            let behind = self.backing.path().join(name_of(place));
            files.extend(
                fs::read_dir(behind)
                    .expect("made with the scene")
                    .flatten()
                    .map(|entry| entry.path()),
            );
        }
        let dev = self.backing.path().join("dev");
        for name in DEVICES.map(|(name, ..)| name).into_iter().chain(["shm"]) {
            files.remove(&dev.join(name));
        }
        files
    }
}

fn name_of(place: &str) -> String {
    place.trim_start_matches('/').replace('/', "-")
}
