//! Containers of LXC in a scratch folder.

use std::fs;

use crate::cgroups;
use crate::process::must_run;
use crate::scratch::ScratchDir;

/// The folder of some containers. Dropped, they are gone.
#[derive(Debug)]
pub struct Lxc {
    scratch: ScratchDir,
    names: Vec<String>,
}

impl Lxc {
    /// Prepares a folder without containers.
    ///
    /// # Panics
    /// Panics if it cannot be made.
    pub fn new() -> Self {
        crate::require_sandbox();
        let scratch = ScratchDir::new("lxc");
        scratch.file(
            "config",
            "lxc.net.0.type = empty\nlxc.apparmor.profile = unconfined\n",
            0o644,
        );
        Self {
            scratch,
            names: Vec::new(),
        }
    }

    /// Returns the folder as text.
    ///
    /// # Panics
    /// Never: the path is made here.
    pub fn folder(&self) -> &str {
        self.scratch.path().to_str().expect("our own path")
    }

    /// Creates a container of busybox.
    ///
    /// # Panics
    /// Panics if a tool fails.
    pub fn create(&mut self, name: &str) {
        let config = self.scratch.path().join("config").display().to_string();
        let words = [
            "-P",
            self.folder(),
            "-n",
            name,
            "-t",
            "busybox",
            "-f",
            &config,
        ];
        must_run("lxc-create", &words, b"");
        self.names.push(name.to_owned());
    }

    /// Runs another tool of LXC for a container and returns its output.
    ///
    /// # Panics
    /// Panics if the tool fails.
    pub fn run(&self, tool: &str, name: &str, arguments: &[&str]) -> String {
        let words = [&["-P", self.folder(), "-n", name], arguments].concat();
        must_run(tool, &words, b"")
    }
}

impl Default for Lxc {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Lxc {
    fn drop(&mut self) {
        for name in &self.names {
            let mut stop = std::process::Command::new("lxc-stop");
            stop.args(["-P", self.folder(), "-n", name, "-k"]);
            let _ = stop.output();
        }
        for folder in ["/run/lxc", "/root/.cache/lxc", "/home/plain/.cache"] {
            let _ = fs::remove_dir_all(folder);
        }
        let _ = fs::remove_dir("/root/.cache");
        cgroups::remove("lxc");
    }
}
