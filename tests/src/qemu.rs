//! Machines of other processors: programs under qemu, which is registered in a user namespace of
//! its own, so that nothing of this machine changes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::hop::Counter;
use crate::scratch::ScratchDir;
use crate::shells::{Sh, Tools};
use crate::skip;

/// A kind of processor whose programs run here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processor {
    /// The machine, as `uname -m` prints it.
    pub machine: &'static str,
    /// The name of Debian's architecture.
    pub debian: &'static str,
    /// The name of qemu's interpreter, with the class and the machine of programs in their header;
    /// none if this machine runs the programs by itself.
    qemu: Option<(&'static str, &'static str, &'static str)>,
}

/// 64-bit ARM.
pub const AARCH64: Processor = Processor {
    machine: "aarch64",
    debian: "arm64",
    qemu: Some(("aarch64", "2", "b7")),
};
/// 32-bit ARM.
pub const ARMV7: Processor = Processor {
    machine: "armv7l",
    debian: "armhf",
    qemu: Some(("arm", "1", "28")),
};
/// 64-bit RISC-V.
pub const RISCV64: Processor = Processor {
    machine: "riscv64",
    debian: "riscv64",
    qemu: Some(("riscv64", "2", "f3")),
};
/// 32-bit x86, whose programs run on x86_64.
pub const I686: Processor = Processor {
    machine: "i686",
    debian: "i386",
    qemu: None,
};

/// Registers the interpreter `$1` for programs with the class `$2` and the machine `$3` in their
/// header, then executes the following words.
const REGISTER: &str = r#"busybox mount -t binfmt_misc none /proc/sys/fs/binfmt_misc || exit 77
printf ":qemu:M::\\x7fELF\\x0$2\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\x$3\\x00:\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff:$1:POCF" >/proc/sys/fs/binfmt_misc/register || exit 77
shift 3
exec "$@""#;

impl Processor {
    /// Returns the words before a program that let it and its children run programs of this
    /// processor.
    pub fn words(&self) -> Vec<String> {
        let Some((name, class, number)) = self.qemu else {
            return ["setarch", self.machine].map(str::to_owned).into();
        };
        let mut words: Vec<String> = [
            "unshare",
            "-U",
            "-r",
            "-m",
            "-p",
            "-f",
            "--kill-child",
            "--mount-proc",
        ]
        .map(str::to_owned)
        .into();
        words.extend(["sh", "-c", REGISTER, "sh"].map(str::to_owned));
        words.push(interpreter(name).display().to_string());
        words.extend([class, number].map(str::to_owned));
        words
    }

    /// Returns true if this machine can run programs of this processor, and notes a skip otherwise.
    pub fn runs_here(&self) -> bool {
        let words = self.words();
        let there = match self.qemu {
            Some((name, ..)) => interpreter(name).exists(),
            None => cfg!(target_arch = "x86_64"),
        };
        let able = there
            && Command::new(&words[0])
                .args(&words[1..])
                .arg("true")
                .status()
                .is_ok_and(|status| status.success());
        if !able {
            let needs = match self.qemu {
                Some(_) => {
                    "this needs qemu-user-static and a kernel whose user namespaces have binfmt_misc (6.7)"
                }
                None => "only x86_64 runs its programs",
            };
            skip(&format!("a host of {}: {needs}", self.machine));
        }
        able
    }

    /// Returns the static busybox for this processor; notes a skip if it could not be fetched.
    ///
    /// # Panics
    /// Panics if the environment has no folder of these.
    pub fn busybox(&self) -> Option<PathBuf> {
        let folder = std::env::var_os("OFFSHOOT_BUSYBOXES").expect("`cargo xtask test` sets it");
        let busybox = Path::new(&folder).join(self.debian).join("bin/busybox");
        if !busybox.exists() {
            skip(&format!(
                "a whole host of {}: busybox-static:{} could not be fetched",
                self.machine, self.debian
            ));
            return None;
        }
        Some(busybox)
    }
}

/// Returns Debian's path of an interpreter, with the name that its `P` flag requires.
fn interpreter(name: &str) -> PathBuf {
    PathBuf::from(format!("/usr/libexec/qemu-binfmt/{name}-binfmt-P"))
}

/// A host that is this machine with another `uname`.
#[derive(Debug)]
pub struct Renamed {
    tools: Tools,
    /// Counts the starts of its shell.
    pub counter: Counter,
    _uname: ScratchDir,
}

impl Renamed {
    /// Creates a host whose machine is called `machine`.
    ///
    /// # Panics
    /// Panics if its files cannot be written.
    pub fn called(machine: &str) -> Self {
        let scratch = ScratchDir::new("uname");
        let uname = scratch.file("uname", format!("#!/bin/sh\necho {machine}\n"), 0o755);
        let tools = Tools::only(Sh::Dash, &["mkdir", "chmod", "rm"]);
        let tools = tools.link("uname", uname.to_str().expect("our own path"));
        Self {
            tools,
            counter: Counter::new(),
            _uname: scratch,
        }
    }

    /// Returns the words of its shell, after `before`.
    pub fn words(&self, before: &[String]) -> Vec<String> {
        let (path, shell) = (
            format!("PATH={}", self.tools.path()),
            format!("{}/sh", self.tools.path()),
        );
        let host = ["env", "-i", &path, "HOME=/nonexistent", &shell].map(str::to_owned);
        self.counter.before(before.iter().cloned().chain(host))
    }
}

/// A host all of whose programs are those of a busybox of another processor.
#[derive(Debug)]
pub struct Whole {
    root: ScratchDir,
    /// Counts the starts of its shell.
    pub counter: Counter,
}

impl Whole {
    /// Creates a host with this busybox.
    ///
    /// # Panics
    /// Panics if its files cannot be written.
    pub fn with(busybox: &Path) -> Self {
        let root = ScratchDir::new("processor");
        for directory in ["bin", "dev", "proc", "tmp"] {
            fs::create_dir(root.path().join(directory)).expect("it is new");
        }
        let busybox = fs::read(busybox).expect("it exists");
        root.file("bin/busybox", busybox, 0o755);
        for applet in ["sh", "uname", "mkdir", "chmod", "rm"] {
            symlink("busybox", root.path().join("bin").join(applet)).expect("it is new");
        }
        Self {
            root,
            counter: Counter::new(),
        }
    }

    /// Returns the words of its shell, after `before`.
    pub fn words(&self, before: &[String]) -> Vec<String> {
        let path = self.root.path().display();
        // With a /proc, because this qemu does not support execveat.
        let mounts = format!(
            "busybox mount -o rbind /dev {path}/dev\nbusybox mount -o rbind /proc {path}/proc"
        );
        let enter = format!("{mounts}\nexec env -i PATH=/bin /usr/sbin/chroot {path} \"$@\"");
        let shell = ["sh", "-c", &enter, "sh", "/bin/sh"].map(str::to_owned);
        self.counter.before(before.iter().cloned().chain(shell))
    }
}
