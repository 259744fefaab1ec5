//! Roots of file systems for containers and namespaces: busybox with its links, or no shell at all.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use crate::process::must_run;
use crate::scratch::{ScratchDir, write_file};

/// The busybox that the roots consist of, which is static.
const BUSYBOX: &str = "/usr/bin/busybox";

/// The user that the roots have beside root, and its number.
pub const APP: (&str, u32) = ("app", 1000);

/// A root of a file system, removed when dropped.
#[derive(Debug)]
pub struct Rootfs {
    // Some tools put a lock file beside the root.
    _scratch: ScratchDir,
    path: PathBuf,
}

impl Rootfs {
    /// Creates a root with all programs of busybox, the users root and [`APP`], and the usual
    /// folders.
    ///
    /// # Panics
    /// Panics if it cannot be made.
    pub fn busybox() -> Self {
        let root = Self::without_shell();
        let bin = root.path().join("bin");
        for name in must_run(BUSYBOX, &["--list"], b"").lines() {
            if name != "busybox" {
                symlink("busybox", bin.join(name)).expect("busybox lists each program once");
            }
        }
        root
    }

    /// Creates a root like the smallest Debian: dash, some programs of GNU, perl, and the C library
    /// that they are linked with.
    ///
    /// # Panics
    /// Panics if it cannot be made.
    pub fn debian() -> Self {
        let root = Self::without_shell();
        fs::remove_file(root.path().join("bin/busybox")).expect("it has just been copied");
        let perl = must_run("perl", &["-e", "print $^X"], b"");
        let mut programs = vec!["/bin/dash".to_owned(), perl.trim().to_owned()];
        for name in [
            "mkdir", "chmod", "rm", "uname", "cat", "ls", "head", "sleep",
        ] {
            programs.push(format!("/usr/bin/{name}"));
        }
        for program in &programs {
            let name = Path::new(program).file_name().expect("it is a program");
            fs::copy(program, root.path().join("bin").join(name)).expect("Debian has it");
            // With the folders that the dynamic linker searches.
            for word in must_run("ldd", &[program], b"").split_ascii_whitespace() {
                let library = root.path().join(word.trim_start_matches('/'));
                if word.starts_with('/') && !library.exists() {
                    let folder = library.parent().expect("it is below the root");
                    fs::create_dir_all(folder).expect("the root is ours");
                    fs::copy(word, &library).expect("ldd has found it");
                }
            }
        }
        symlink("dash", root.path().join("bin/sh")).expect("the name is new");
        let about = root.path().join("etc/os-release");
        write_file(&about, "ID=debian\n", 0o644);
        root
    }

    /// Creates a root whose only program is busybox itself, under no other name.
    ///
    /// # Panics
    /// Panics if it cannot be made.
    pub fn without_shell() -> Self {
        let scratch = ScratchDir::new("root");
        let path = scratch.path().join("root");
        fs::create_dir(&path).expect("the scratch folder is new");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        let folders = [
            "bin", "dev", "etc", "proc", "root", "run", "sbin", "sys", "tmp", "usr", "var",
        ];
        for folder in folders {
            fs::create_dir(path.join(folder)).expect("the root is new");
        }
        fs::copy(BUSYBOX, path.join("bin/busybox")).expect("busybox-static is installed");
        let everybody = fs::Permissions::from_mode(0o1777);
        fs::set_permissions(path.join("tmp"), everybody).expect("it is ours");
        let (name, number) = APP;
        let etc = path.join("etc");
        let line = |name: &str, number, home: &str| {
            format!("{name}:x:{number}:{number}::{home}:/bin/sh\n")
        };
        let users = line("root", 0, "/root") + &line(name, number, "/tmp");
        write_file(&etc.join("passwd"), users, 0o644);
        let groups = format!("root:x:0:\n{name}:x:{number}:\n");
        write_file(&etc.join("group"), groups, 0o644);
        write_file(&etc.join("os-release"), "ID=busybox\n", 0o644);
        let null = path.join("dev/null").display().to_string();
        must_run("mknod", &["-m", "666", &null, "c", "1", "3"], b"");
        Self {
            _scratch: scratch,
            path,
        }
    }

    /// Returns its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns its folder as text.
    ///
    /// # Panics
    /// Never: the path is made here.
    pub fn text(&self) -> &str {
        self.path().to_str().expect("our own path")
    }

    /// Writes it as an archive into a folder.
    ///
    /// # Panics
    /// Panics if tar fails.
    pub fn archive(&self, folder: &Path) -> PathBuf {
        let file = folder.join("root.tar");
        let path = file.to_str().expect("our own path");
        must_run("tar", &["-C", self.text(), "-cf", path, "."], b"");
        file
    }
}
