//! Runs cargo for one agent, with the flags that stable cargo cannot say in a profile.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use offshoot_bootstrap::{Platform, native};

use super::output_of;

/// How an agent is built on this machine.
pub struct Builder {
    root: PathBuf,
    package: String,
    rustc: PathBuf,
    sysroot: PathBuf,
    quiet: bool,
}

impl Builder {
    /// A builder for `package` of the workspace at `root`.
    pub fn new(root: &Path, package: &str, quiet: bool) -> Result<Builder, String> {
        let rustc = PathBuf::from(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        let sysroot = output_of(Command::new(&rustc).args(["--print", "sysroot"]).current_dir(root))?;
        Ok(Builder {
            root: root.into(),
            package: package.into(),
            rustc,
            sysroot: PathBuf::from(sysroot.trim()),
            quiet,
        })
    }

    /// The package whose binary of the same name is the agent.
    pub fn package(&self) -> &str {
        &self.package
    }

    /// The compiler.
    pub fn rustc(&self) -> &Path {
        &self.rustc
    }

    /// Builds the agent for `platform` in `target/<folder>` and returns where its binary is. `as_path` is what the
    /// checkout is called inside the binary.
    pub fn build(&self, platform: Platform, folder: &str, as_path: &str) -> Result<PathBuf, String> {
        let target = platform.rust_target();
        self.need(target, &format!("lib/rustlib/{target}/lib"), &["target", "add", target])?;
        let std_source = "lib/rustlib/src/rust/library/Cargo.lock";
        let rebuild_std = match self.need("rust-src", std_source, &["component", "add", "rust-src"]) {
            Ok(()) => true,
            Err(error) => {
                eprintln!(
                    "build-agent: {error}; using the precompiled std, which makes the image two to three times as large"
                );
                false
            }
        };

        let folder = self.root.join("target").join(folder);
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&self.root).args(["build", "--profile", "agent", "--bins", "--target", target]);
        cargo.args(["--package", &self.package]).arg("--target-dir").arg(&folder);
        if self.quiet {
            cargo.arg("--quiet");
        }
        for inherited in [
            "RUSTFLAGS",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "CARGO_BUILD_TARGET",
            "CARGO_TARGET_DIR",
        ] {
            cargo.env_remove(inherited);
        }
        if rebuild_std {
            cargo.env("RUSTC_BOOTSTRAP", "1");
            cargo.args(["-Zbuild-std=std,panic_abort", "-Zbuild-std-features=optimize_for_size"]);
        }
        cargo.env("CARGO_ENCODED_RUSTFLAGS", self.flags(as_path, rebuild_std)?.join("\x1f"));
        let status = cargo.status().map_err(|error| format!("cargo: {error}"))?;
        if !status.success() {
            return Err(format!(
                "cargo could not build {} for {target}; its own messages are above",
                self.package
            ));
        }
        let binary = folder.join(target).join("agent").join(&self.package);
        if binary.is_file() {
            Ok(binary)
        } else {
            Err(format!("{} has no binary of its own name", self.package))
        }
    }

    fn flags(&self, as_path: &str, rebuild_std: bool) -> Result<Vec<String>, String> {
        let linker = native::linker(&self.rustc).map_err(|error| error.to_string())?;
        let mut flags: Vec<String> = [
            "-Crelocation-model=static",
            "-Cforce-unwind-tables=no",
            "-Clinker-flavor=ld.lld",
            "-Clink-arg=--build-id=none",
            "-Clink-arg=--no-eh-frame-hdr",
            "-Clink-arg=--icf=all",
            // What is alike lies together, where the compressor finds it.
            "-Clink-arg=--bp-compression-sort=both",
        ]
        .map(String::from)
        .into();
        flags.push(format!("-Clinker={}", linker.display()));
        if rebuild_std {
            flags.extend(
                [
                    "-Zunstable-options",
                    "-Cpanic=immediate-abort",
                    "-Zlocation-detail=none",
                    "-Zfmt-debug=none",
                    "-Zshare-generics=no",
                ]
                .map(String::from),
            );
        }
        // The last match wins, so what may lie within the checkout comes after it.
        let cargo_home =
            env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
        flags.push(remap(&self.root, as_path));
        if let Some(home) = cargo_home {
            flags.push(remap(&home, "/cargo"));
        }
        flags.push(remap(&self.sysroot, "/rust"));
        Ok(flags)
    }

    /// Makes sure that `file` is in the toolchain, if need be by rustup.
    fn need(&self, what: &str, file: &str, rustup: &[&str]) -> Result<(), String> {
        if self.sysroot.join(file).exists() {
            return Ok(());
        }
        eprintln!("build-agent: rustup {}", rustup.join(" "));
        output_of(Command::new("rustup").args(rustup).current_dir(&self.root))
            .map_err(|error| format!("{what} is not installed and cannot be added ({error})"))?;
        if self.sysroot.join(file).exists() {
            return Ok(());
        }
        Err(format!("{what} is not part of the toolchain at {}", self.sysroot.display()))
    }
}

fn remap(from: &Path, to: &str) -> String {
    format!("--remap-path-prefix={}={to}", from.display())
}

/// A copy of the workspace, in a directory of its own that is removed when dropped.
pub struct Copy(PathBuf);

impl Copy {
    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.0.join("another/checkout")
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Copies the sources of the workspace to a path of another length, without `target` and hidden files.
pub fn copy_of(root: &Path) -> Result<Copy, String> {
    let copy = Copy(env::temp_dir().join(format!("offshoot-verify-{}", std::process::id())));
    copy_folder(root, &copy.path(), true)
        .map_err(|error| format!("the workspace cannot be copied to {}: {error}", copy.0.display()))?;
    Ok(copy)
}

fn copy_folder(from: &Path, to: &Path, top: bool) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if top && (name == "target" || name == ".git") {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &to.join(name), false)?;
        } else {
            fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}
