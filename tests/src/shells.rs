//! Directories for `PATH` with a chosen `sh` and chosen tools, and nothing else.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::process::must_run;
use crate::scratch::ScratchDir;

/// An implementation of `sh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sh {
    /// The default of Debian.
    Dash,
    /// The default of Fedora, Arch and older systems.
    Bash,
    /// The default of Alpine and embedded systems.
    BusyboxAsh,
}

impl Sh {
    /// All implementations.
    pub const ALL: [Self; 3] = [Self::Dash, Self::Bash, Self::BusyboxAsh];

    fn program(self) -> &'static str {
        match self {
            Self::Dash => "/bin/dash",
            Self::Bash => "/bin/bash",
            Self::BusyboxAsh => "/bin/busybox",
        }
    }
}

/// The program names of interpreters that can make a memfd.
pub const INTERPRETERS: [&str; 2] = ["perl", "python3"];

/// A directory of links, made for one test.
#[derive(Debug)]
pub struct Tools {
    directory: ScratchDir,
}

impl Tools {
    /// Links every program of `/usr/bin` and `/usr/sbin` except those in `without`; a name includes
    /// its versions (`perl` includes `perl5.36.0`).
    ///
    /// # Panics
    /// Panics if the directory cannot be filled.
    pub fn of_system(sh: Sh, without: &[&str]) -> Self {
        let tools = Self {
            directory: ScratchDir::new("tools"),
        };
        for source in ["/usr/bin", "/usr/sbin", "/bin"] {
            for entry in fs::read_dir(source)
                .expect("a system has programs")
                .flatten()
            {
                let name = entry.file_name().to_string_lossy().into_owned();
                let left_out = without
                    .iter()
                    .any(|word| name.strip_prefix(word).is_some_and(is_version));
                if name != "sh" && !left_out && !tools.directory.path().join(&name).exists() {
                    let _ = symlink(entry.path(), tools.directory.path().join(&name));
                }
            }
        }
        tools.link("sh", sh.program())
    }

    /// Links only the applets of busybox, except those in `without`.
    ///
    /// # Panics
    /// Panics if busybox is missing.
    pub fn of_busybox(sh: Sh, without: &[&str]) -> Self {
        let tools = Self {
            directory: ScratchDir::new("tools"),
        };
        for applet in must_run("/bin/busybox", &["--list"], b"").lines() {
            if applet != "sh" && !without.contains(&applet) {
                let _ = symlink("/bin/busybox", tools.directory.path().join(applet));
            }
        }
        tools.link("sh", sh.program())
    }

    /// Links only `sh` and these programs of the system.
    ///
    /// # Panics
    /// Panics if one of them is missing.
    pub fn only(sh: Sh, programs: &[&str]) -> Self {
        let mut tools = Self {
            directory: ScratchDir::new("tools"),
        }
        .link("sh", sh.program());
        for program in programs {
            let path = format!("/usr/bin/{program}");
            assert!(Path::new(&path).exists(), "{path} is missing");
            tools = tools.link(program, &path);
        }
        tools
    }

    /// Adds or replaces one link.
    ///
    /// # Panics
    /// Panics if it cannot be made.
    pub fn link(self, name: &str, target: &str) -> Self {
        let link = self.directory.path().join(name);
        let _ = fs::remove_file(&link);
        symlink(target, &link)
            .unwrap_or_else(|error| panic!("cannot link {}: {error}", link.display()));
        self
    }

    /// Returns the value for `PATH`.
    pub fn path(&self) -> &str {
        self.directory
            .path()
            .to_str()
            .expect("our own path is ASCII")
    }
}

fn is_version(rest: &str) -> bool {
    rest.chars()
        .all(|letter| letter.is_ascii_digit() || matches!(letter, '.' | '-' | 'w'))
}
