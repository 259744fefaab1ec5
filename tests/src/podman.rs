//! Podman and Buildah with their data in a scratch folder, and their containers.
//!
//! There is no daemon. The configuration is in files that the environment names, so the suite sets
//! them for its whole process.

use std::fs;
use std::process::{Command, Stdio};

use nix::mount::{MntFlags, umount2};

use crate::cgroups;
use crate::process;
use crate::rootfs::Rootfs;
use crate::run::LIMIT;
use crate::scratch::ScratchDir;

/// The image with a shell; see [`Rootfs::busybox`].
pub const IMAGE: &str = "localhost/offshoot-busybox:1";

/// The image without one; see [`Rootfs::without_shell`].
pub const NO_SHELL: &str = "localhost/offshoot-noshell:1";

/// Podman's configuration and containers. Dropped, it is all gone.
#[derive(Debug)]
pub struct Podman {
    scratch: ScratchDir,
}

impl Podman {
    /// Prepares Podman with the images [`IMAGE`] and [`NO_SHELL`].
    ///
    /// # Panics
    /// Panics if it fails.
    pub fn start() -> Self {
        crate::require_sandbox();
        let scratch = ScratchDir::new("podman");
        let place = |name: &str| scratch.path().join(name).display().to_string();
        // crun does not work with both versions of cgroups, and Podman's own limits are above those
        // that this process may set.
        let containers = format!(
            "[containers]\ndefault_ulimits=[\"nofile=10000:10000\",\"nproc=10000:10000\"]\n[engine]\n\
             cgroup_manager=\"cgroupfs\"\nevents_logger=\"none\"\nruntime=\"runc\"\ntmp_dir=\"{}\"\n",
            place("tmp")
        );
        let storage = format!(
            "[storage]\ndriver=\"overlay\"\ngraphroot=\"{}\"\nrunroot=\"{}\"\n",
            place("data"),
            place("run")
        );
        let podman = Self { scratch };
        podman.scratch.file("containers.conf", containers, 0o644);
        podman.scratch.file("storage.conf", storage, 0o644);
        // SAFETY: the suites run one test at a time, and nothing else reads the environment now.
        unsafe {
            for (name, value) in podman.environment() {
                std::env::set_var(name, value);
            }
        }
        for (root, image) in [
            (Rootfs::busybox(), IMAGE),
            (Rootfs::without_shell(), NO_SHELL),
        ] {
            let archive = root.archive(podman.scratch.path());
            podman.run(
                "podman",
                &["import", archive.to_str().expect("our own path"), image],
            );
        }
        podman
    }

    /// Starts a container that sleeps.
    ///
    /// # Panics
    /// Panics if Podman fails.
    pub fn container(&self, name: &str, image: &str) {
        self.run(
            "podman",
            &[
                "run",
                "-d",
                "--name",
                name,
                "--network=none",
                image,
                "/bin/busybox",
                "sleep",
                "100000",
            ],
        );
    }

    /// Makes a container of Buildah.
    ///
    /// # Panics
    /// Panics if Buildah fails.
    pub fn build_container(&self, name: &str, image: &str) {
        self.run(
            "buildah",
            &[
                "from",
                "--name",
                name,
                "--pull-never",
                "--ulimit=nofile=10000:10000",
                "--ulimit=nproc=10000:10000",
                image,
            ],
        );
    }

    /// Runs `podman` or `buildah` with these arguments and returns its output.
    ///
    /// # Panics
    /// Panics if it fails.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.client(program, arguments).output();
        let output = output.unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Returns the names of all containers, also of those that do not run.
    pub fn containers(&self) -> Vec<String> {
        let names = self.run("podman", &["ps", "-a", "--format", "{{.Names}}"]);
        names.lines().map(str::to_owned).collect()
    }

    fn environment(&self) -> [(&'static str, String); 4] {
        let place = |name: &str| self.scratch.path().join(name).display().to_string();
        [
            ("CONTAINERS_CONF", place("containers.conf")),
            ("CONTAINERS_STORAGE_CONF", place("storage.conf")),
            ("BUILDAH_RUNTIME", "runc".into()),
            ("XDG_DATA_HOME", place("home")),
        ]
    }

    fn client(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .envs(self.environment())
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self.client("buildah", &["rm", "--all"]).output();
        let _ = self
            .client("podman", &["rm", "-f", "-t", "0", "-a"])
            .output();
        // Each conmon starts podman once more, to clean up.
        process::eventually(LIMIT, || {
            let ours = |name: &str| matches!(name, "conmon" | "podman" | "buildah");
            process::all().values().all(|seen| !ours(&seen.name))
        });
        // The storage keeps mounts of itself.
        let storage = self.scratch.path().join("data/overlay");
        while umount2(&storage, MntFlags::MNT_DETACH).is_ok() {}
        let _ = fs::remove_file("/dev/shm/libpod_lock");
        for folder in ["/run/libpod", "/run/runc", "/run/crun", "/run/containers"] {
            let _ = fs::remove_dir_all(folder);
        }
        // What a killed buildah leaves.
        for entry in fs::read_dir("/var/tmp").into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with("buildah") {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        for prefix in ["libpod", "buildah"] {
            cgroups::remove(prefix);
        }
    }
}
