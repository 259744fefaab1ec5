//! A daemon of LXD with its data in a scratch folder, and its instances.

use std::fs;
use std::process::{Child, Command, Stdio};

use crate::cgroups;
use crate::process;
use crate::rootfs::Rootfs;
use crate::run::LIMIT;
use crate::scratch::ScratchDir;

/// The image that the instances have.
const IMAGE: &str = "busybox";

/// The daemon's settings: a folder for the instances, and no network.
const SETTINGS: &str = "storage_pools:\n- name: default\n  driver: dir\nprofiles:\n- name: default\n  devices:\n    \
                        root: {path: /, pool: default, type: disk}\n";

/// A running daemon. Dropped, it is gone with its instances.
#[derive(Debug)]
pub struct Lxd {
    daemon: Child,
    scratch: ScratchDir,
    names: Vec<String>,
}

impl Lxd {
    /// Starts a daemon and points the clients of this process to it.
    ///
    /// # Panics
    /// Panics if it does not start; the message holds its log.
    pub fn start() -> Self {
        crate::require_sandbox();
        let scratch = ScratchDir::new("lxd");
        let place = |name: &str| scratch.path().join(name);
        // SAFETY: the suites run one test at a time, and nothing else reads the environment now.
        unsafe {
            std::env::set_var("LXD_DIR", place("data"));
            std::env::set_var("LXD_CONF", place("client"));
        }
        fs::create_dir(place("data")).expect("the folder is new");
        let mut command = Command::new("lxd");
        command
            .args(["--group", "root", "--logfile"])
            .arg(place("log"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        process::die_with_parent(&mut command);
        let daemon = command.spawn().expect("lxd is installed");
        let lxd = Self {
            daemon,
            scratch,
            names: Vec::new(),
        };
        lxd.run("lxd", &["waitready", "--timeout", "20"], b"");
        lxd.run("lxd", &["init", "--preseed"], SETTINGS.as_bytes());
        lxd.import();
        lxd
    }

    fn import(&self) {
        let root = Rootfs::busybox();
        let init = root.path().join("sbin/init");
        std::os::unix::fs::symlink("../bin/busybox", init).expect("the root is new");
        let table = root.path().join("etc/inittab");
        crate::scratch::write_file(&table, "::respawn:/bin/sleep 100000\n", 0o644);
        let about = self.scratch.file(
            "metadata.yaml",
            "architecture: x86_64\ncreation_date: 1600000000\n",
            0o644,
        );
        let image = self.scratch.path().join("image.tar");
        let image = image.to_str().expect("our own path");
        let about = about
            .parent()
            .expect("it is in the folder")
            .display()
            .to_string();
        // The targets of links stay as they are.
        let rename = r"flags=r;s,^\.,rootfs,";
        process::must_run("tar", &["-cf", image, "-C", &about, "metadata.yaml"], b"");
        let words = ["-rf", image, "--transform", rename, "-C", root.text(), "."];
        process::must_run("tar", &words, b"");
        self.run("lxc", &["image", "import", image, "--alias", IMAGE], b"");
    }

    /// Creates an instance, and starts it if wanted.
    ///
    /// # Panics
    /// Panics if the client fails.
    pub fn instance(&mut self, name: &str, start: bool) {
        let verb = if start { "launch" } else { "init" };
        self.run("lxc", &[verb, IMAGE, name], b"");
        self.names.push(name.to_owned());
    }

    /// Runs `lxc` or `lxd` with these arguments and returns its output.
    ///
    /// # Panics
    /// Panics if it fails.
    pub fn run(&self, program: &str, arguments: &[&str], stdin: &[u8]) -> String {
        process::must_run(program, arguments, stdin)
    }
}

impl Drop for Lxd {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = Command::new("lxc").args(["delete", "-f", name]).output();
        }
        let _ = Command::new("lxd")
            .args(["shutdown", "--timeout", "10"])
            .output();
        if process::wait_for(&mut self.daemon, LIMIT).is_none() {
            let _ = self.daemon.kill();
            let _ = self.daemon.wait();
        }
        for folder in [
            "/run/lxc",
            "/root/.config/lxc",
            "/root/.cache/lxc",
            "/home/plain/.config",
        ] {
            let _ = fs::remove_dir_all(folder);
        }
        for folder in ["/root/.config", "/root/.cache"] {
            let _ = fs::remove_dir(folder);
        }
        cgroups::remove("lxc");
        if std::thread::panicking() {
            let log = fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default();
            eprintln!("--- log of lxd ---\n{log}");
        }
    }
}
