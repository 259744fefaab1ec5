//! Runs cargo for one agent, with the flags that make it small and reproducible.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use offshoot_bootstrap::{Platform, native};

use crate::{project::Project, run::output_of, smaller};

/// The profile of all agents, without the flags that a profile of stable cargo cannot contain.
const PROFILE: [&str; 6] = [
    "profile.agent.inherits=\"release\"",
    "profile.agent.opt-level=\"z\"",
    "profile.agent.lto=\"fat\"",
    "profile.agent.codegen-units=1",
    "profile.agent.panic=\"abort\"",
    "profile.agent.strip=true",
];

/// The environment variable with a folder of C libraries, one folder for each target, for targets
/// that rustup cannot add.
const MUSL_VARIABLE: &str = "OFFSHOOT_MUSL";

/// The files of a C library that a static program consists of.
const MUSL: [&str; 4] = ["libc.a", "crt1.o", "crti.o", "crtn.o"];

/// The effect of a panic in an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Panic {
    /// A panic aborts the agent without a message; tables and texts for messages are not in the
    /// image.
    Abort,
    /// A panic unwinds to the call, which fails with the message and the place of the panic.
    Unwind,
}

/// Builds the agent of one project.
pub struct Builder {
    project: Project,
    panic: Panic,
    rustc: PathBuf,
    sysroot: PathBuf,
    musl: Option<PathBuf>,
    quiet: bool,
}

impl Builder {
    /// Returns a builder for the agent of `project`. If `quiet`, cargo shows no progress.
    ///
    /// # Errors
    /// Returns an error if rustc cannot be started.
    pub fn new(project: Project, panic: Panic, quiet: bool) -> Result<Self, String> {
        let rustc = PathBuf::from(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        let sysroot = output_of(
            Command::new(&rustc)
                .args(["--print", "sysroot"])
                .current_dir(&project.root),
        )?;
        let sysroot = PathBuf::from(sysroot.trim());
        // The compiler of the project, whichever the toolchain of another folder would be.
        let named = sysroot.join("bin/rustc");
        Ok(Self {
            project,
            panic,
            rustc: if named.exists() { named } else { rustc },
            sysroot,
            musl: env::var_os(MUSL_VARIABLE).map(PathBuf::from),
            quiet,
        })
    }

    /// Makes sure that the toolchain has the target of `platform`, if need be by rustup.
    ///
    /// # Errors
    /// Returns an error if it has not, and rustup cannot add it.
    pub fn add_target(&self, platform: Platform) -> Result<(), String> {
        let target = platform.rust_target();
        self.need(
            target,
            &format!("lib/rustlib/{target}/lib"),
            &["target", "add", target],
        )
    }

    /// Returns true if a C library is given for a platform whose target rustup cannot add.
    pub fn has_musl(&self, platform: Platform) -> bool {
        self.musl
            .as_ref()
            .is_some_and(|folder| folder.join(platform.rust_target()).join(MUSL[0]).exists())
    }

    /// Sets the folder of C libraries, one folder for each target, for targets that rustup cannot
    /// add.
    pub fn set_musl(&mut self, folder: PathBuf) {
        self.musl = Some(folder);
    }

    /// Returns the project whose agent is built.
    pub fn project(&self) -> &Project {
        &self.project
    }

    /// Returns the effect of a panic in the agent.
    pub fn panic(&self) -> Panic {
        self.panic
    }

    /// Returns the path of the compiler.
    pub fn rustc(&self) -> &Path {
        &self.rustc
    }

    /// Builds the agent for `platform` in `target/<folder>` and returns the path of its binary.
    ///
    /// # Errors
    /// Returns an error if the toolchain lacks the target, or cargo fails.
    pub fn build(&self, platform: Platform, folder: &str) -> Result<PathBuf, String> {
        let target = platform.rust_target();
        let musl = self.musl(platform)?;
        let std_source = "lib/rustlib/src/rust/library/Cargo.lock";
        let rebuild_std = match self.need("rust-src", std_source, &["component", "add", "rust-src"])
        {
            Ok(()) => true,
            Err(error) if musl.is_some() => return Err(error),
            Err(error) => {
                eprintln!(
                    "build-agent: {error}; with the precompiled std the image is two to three times as large"
                );
                false
            }
        };

        let Project {
            root,
            package,
            target: built,
            ..
        } = &self.project;
        // The two kinds have different flags; in one folder, each build would invalidate the other.
        let folder = match self.panic {
            Panic::Abort => built.join(folder),
            Panic::Unwind => built.join(format!("{folder}-unwind")),
        };
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .current_dir(root)
            .args(["rustc", "--profile", "agent", "--target", target]);
        cargo
            .args(["--package", package, "--bin", package])
            .arg("--target-dir")
            .arg(&folder);
        for setting in PROFILE {
            cargo.args(["--config", setting]);
        }
        if self.panic == Panic::Unwind {
            cargo.args(["--config", "profile.agent.panic=\"unwind\""]);
        }
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
        // An agent sends what its parent has sent it.
        cargo.env("OFFSHOOT_IMAGES", "");
        if rebuild_std {
            cargo.env("RUSTC_BOOTSTRAP", "1");
            cargo.args(match self.panic {
                Panic::Abort => [
                    "-Zbuild-std=std,panic_abort",
                    "-Zbuild-std-features=optimize_for_size",
                ],
                Panic::Unwind => [
                    "-Zbuild-std=std,panic_unwind",
                    "-Zbuild-std-features=optimize_for_size,panic-unwind",
                ],
            });
        }
        cargo.env(
            "CARGO_ENCODED_RUSTFLAGS",
            self.flags(platform, rebuild_std, musl.as_deref())?
                .join("\x1f"),
        );
        // The functions of a program may have to be fast; those of the stock agent wait.
        if self.panic == Panic::Abort {
            cargo
                .arg("--")
                .args(smaller::arguments(&self.rustc, platform));
        }
        let status = cargo.status().map_err(|error| format!("cargo: {error}"))?;
        if !status.success() {
            return Err(format!(
                "cargo could not build {package} for {target}; its own messages are above"
            ));
        }
        Ok(folder.join(target).join("agent").join(package))
    }

    fn flags(
        &self,
        platform: Platform,
        rebuild_std: bool,
        musl: Option<&Path>,
    ) -> Result<Vec<String>, String> {
        let linker = native::linker(&self.rustc).map_err(|error| error.to_string())?;
        let mut flags: Vec<String> = [
            "-Crelocation-model=static",
            "-Ctarget-feature=+crt-static",
            "-Clinker-flavor=ld.lld",
            "-Clink-arg=--build-id=none",
            "-Clink-arg=--icf=all",
            // Similar functions lie next to each other, which helps the compressor.
            "-Clink-arg=--bp-compression-sort=both",
        ]
        .map(String::from)
        .into();
        flags.push(format!("-Clinker={}", linker.display()));
        if platform == Platform::Riscv64 {
            // Addresses that are the same wherever they are used, not distances.
            flags.push("-Ccode-model=small".into());
            flags.push("-Ctarget-feature=+relax".into());
        }
        if let Some(musl) = musl {
            flags.push("-Clink-self-contained=no".into());
            flags.extend(
                MUSL[1..]
                    .iter()
                    .map(|object| format!("-Clink-arg={}", musl.join(object).display())),
            );
            flags.push(format!("-Lnative={}", musl.display()));
        }
        if self.panic == Panic::Abort {
            flags.extend(
                ["-Cforce-unwind-tables=no", "-Clink-arg=--no-eh-frame-hdr"].map(String::from),
            );
            if rebuild_std {
                flags.extend(
                    [
                        "-Zunstable-options",
                        "-Cpanic=immediate-abort",
                        "-Zlocation-detail=none",
                        "-Zfmt-debug=none",
                        // What one crate has made of a generic, or could be copied into another, is
                        // not made again in that.
                        "-Zshare-generics=yes",
                        "-Zcross-crate-inline-threshold=20",
                    ]
                    .map(String::from),
                );
            }
        }
        flags.extend(self.names());
        Ok(flags)
    }

    /// Replacements for folders of this machine in the binary, so that it is the same wherever it
    /// is built.
    fn names(&self) -> Vec<String> {
        let cargo_home = env::var_os("CARGO_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(env::home_dir()?.join(".cargo")));
        let mut names: Vec<(PathBuf, &str)> = vec![(self.sysroot.clone(), "/rust")];
        names.extend(cargo_home.map(|home| (home, "/cargo")));
        names.extend(self.project.names.iter().cloned());
        // The last match wins, and one may lie within another.
        names.sort_by_key(|(folder, _)| folder.as_os_str().len());
        names
            .iter()
            .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()))
            .collect()
    }

    /// Makes sure that there is a C library for `platform`: that of its target, which rustup adds,
    /// or else one in the folder of `OFFSHOOT_MUSL`; a copy of that is returned.
    fn musl(&self, platform: Platform) -> Result<Option<PathBuf>, String> {
        let target = platform.rust_target();
        let Err(error) = self.add_target(platform) else {
            return Ok(None);
        };
        let given = self.musl.as_ref().map(|folder| folder.join(target));
        let has_all = |folder: &PathBuf| MUSL.iter().all(|file| folder.join(file).exists());
        let Some(given) = given.filter(has_all) else {
            return Err(format!(
                "{error}; or set {MUSL_VARIABLE} to a folder in which the folder {target} has {} of musl",
                MUSL.join(", ")
            ));
        };
        if self.panic == Panic::Unwind {
            return Err(format!(
                "{error}; the musl in {} is enough only for agents that are built with --panic abort",
                given.display()
            ));
        }
        // std names a library for unwinding, of which an agent that aborts uses nothing.
        let folder = self.project.target.join("agent-build/musl").join(target);
        let copied = fs::create_dir_all(&folder).and_then(|()| {
            for file in MUSL {
                fs::copy(given.join(file), folder.join(file))?;
            }
            fs::write(folder.join("libunwind.a"), "!<arch>\n")
        });
        copied.map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Some(folder))
    }

    /// Makes sure that `file` is in the toolchain, if need be by rustup.
    fn need(&self, what: &str, file: &str, rustup: &[&str]) -> Result<(), String> {
        if self.sysroot.join(file).exists() {
            return Ok(());
        }
        eprintln!("build-agent: rustup {}", rustup.join(" "));
        output_of(
            Command::new("rustup")
                .args(rustup)
                .current_dir(&self.project.root),
        )
        .map_err(|error| format!("{what} is not installed and cannot be added ({error})"))?;
        if self.sysroot.join(file).exists() {
            return Ok(());
        }
        Err(format!(
            "{what} is not part of the toolchain at {}",
            self.sysroot.display()
        ))
    }
}
