//! A Docker daemon with its data in a scratch folder, and its containers.

use std::fs;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;

use crate::cgroups;
use crate::process::{self, must_run};
use crate::rootfs::Rootfs;
use crate::run::LIMIT;
use crate::scratch::ScratchDir;

/// The image with a shell; see [`Rootfs::busybox`].
pub const IMAGE: &str = "offshoot/busybox:1";

/// The image without one; see [`Rootfs::without_shell`].
pub const NO_SHELL: &str = "offshoot/noshell:1";

/// The daemon's socket, where clients expect it.
const SOCKET: &str = "/run/docker.sock";

/// The control group above those of the containers.
const GROUP: &str = "offshoot-docker";

/// A running daemon with the images [`IMAGE`] and [`NO_SHELL`]. Dropped, it is gone with its
/// containers.
#[derive(Debug)]
pub struct Docker {
    daemon: Child,
    scratch: ScratchDir,
}

impl Docker {
    /// Starts a daemon.
    ///
    /// # Panics
    /// Panics if it does not start; the message holds its log.
    pub fn start() -> Self {
        crate::require_sandbox();
        let scratch = ScratchDir::new("docker");
        let place = |name: &str| scratch.path().join(name).display().to_string();
        // The daemon would otherwise change the rules of the network for its bridge.
        let config = format!(
            r#"{{"data-root":"{}","exec-root":"{}","pidfile":"{}","hosts":["unix://{SOCKET}"],"bridge":"none",
            "iptables":false,"ip6tables":false,"storage-driver":"overlay2","cgroup-parent":"/{GROUP}"}}"#,
            place("data"),
            place("exec"),
            place("pid"),
        );
        let config = scratch.file("daemon.json", config, 0o644);
        let log = fs::File::create(scratch.path().join("log")).expect("the folder is ours");
        let mut command = Command::new("/usr/sbin/dockerd");
        command
            .arg("--config-file")
            .arg(config)
            .env("HOME", scratch.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("descriptors are to be had"))
            .stderr(log);
        process::die_with_parent(&mut command);
        let daemon = command.spawn().expect("docker.io is installed");
        let mut docker = Self { daemon, scratch };
        let up = process::eventually(LIMIT, || {
            docker
                .client(&["version"])
                .output()
                .is_ok_and(|out| out.status.success())
                || docker.daemon.try_wait().is_ok_and(|ended| ended.is_some())
        });
        let alive = matches!(docker.daemon.try_wait(), Ok(None));
        assert!(up && alive, "dockerd did not start:\n{}", docker.log());
        for (root, image) in [
            (Rootfs::busybox(), IMAGE),
            (Rootfs::without_shell(), NO_SHELL),
        ] {
            let archive = root.archive(docker.scratch.path());
            docker.run(&["import", archive.to_str().expect("our own path"), image]);
        }
        docker
    }

    /// Starts a container that sleeps.
    ///
    /// # Panics
    /// Panics if the client fails.
    pub fn container(&self, name: &str, image: &str) {
        self.run(&[
            "run",
            "-d",
            "--name",
            name,
            image,
            "/bin/busybox",
            "sleep",
            "100000",
        ]);
    }

    /// Runs the client with these arguments and returns its output.
    ///
    /// # Panics
    /// Panics if the client fails.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self
            .client(arguments)
            .output()
            .expect("docker.io is installed");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "docker {arguments:?}: {said}\n{}",
            self.log()
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Returns the names of all containers, also of those that do not run.
    pub fn containers(&self) -> Vec<String> {
        let names = self.run(&["ps", "-a", "--format", "{{.Names}}"]);
        names.lines().map(str::to_owned).collect()
    }

    fn client(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command
            .args(["-H", &format!("unix://{SOCKET}")])
            .args(arguments)
            .env("HOME", self.scratch.path())
            .stdin(Stdio::null());
        command
    }

    fn log(&self) -> String {
        fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let ids = self.client(&["ps", "-aq"]).output();
        let ids = ids.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let mut words = vec!["rm", "-f"];
        let ids = ids.unwrap_or_default();
        words.extend(ids.lines());
        let _ = self.client(&words).output();
        process::signal(self.daemon.id(), Signal::SIGTERM);
        if process::wait_for(&mut self.daemon, LIMIT).is_none() {
            let _ = self.daemon.kill();
            let _ = self.daemon.wait();
        }
        let _ = fs::remove_file(SOCKET);
        for folder in ["/run/containerd", "/run/docker"] {
            let _ = fs::remove_dir_all(folder);
        }
        cgroups::remove(GROUP);
        if std::thread::panicking() {
            let log = self.log();
            let mut last: Vec<&str> = log.lines().rev().take(10).collect();
            last.reverse();
            eprintln!("--- log of dockerd ---\n{}", last.join("\n"));
        }
    }
}

/// Returns the words of a process list in a container.
///
/// # Panics
/// Panics if the client fails.
pub fn processes(container: &str) -> String {
    must_run("docker", &["top", container, "-eo", "pid,args"], b"")
}
