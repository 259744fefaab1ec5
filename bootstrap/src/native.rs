//! Compilation of the two native stages, with only `rustc` and its linker.
//!
//! The stages are not cargo packages, because their few compiler flags decide their size. This
//! module must never leave anything outside the directory it is given.

use std::{
    error::Error,
    fmt, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    elf::{Class, Elf},
    image::check_stage,
    platform::Platform,
};

/// The native stages of one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stages {
    /// Stage 1, which is sent inside the shell command.
    pub loader: Vec<u8>,
    /// Stage 2, the first part of every image.
    pub unpacker: Vec<u8>,
}

/// Compiles the stages of `platform` with `rustc` (a name or path), which must have the platform's
/// target installed. Intermediate files are written to `scratch`, which must exist.
///
/// # Errors
/// Returns an error if a tool is missing or fails, with its message.
pub fn compile(platform: Platform, rustc: &Path, scratch: &Path) -> Result<Stages, NativeError> {
    Ok(Stages {
        loader: stage("loader", platform, rustc, scratch)?,
        unpacker: stage("unpacker", platform, rustc, scratch)?,
    })
}

/// Returns the directory of the stages' sources.
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("native")
}

fn stage(
    name: &str,
    platform: Platform,
    rustc: &Path,
    scratch: &Path,
) -> Result<Vec<u8>, NativeError> {
    let object = scratch.join(format!("{name}-{platform}.o"));
    let program = scratch.join(format!("{name}-{platform}"));
    let mut compiler = Command::new(rustc);
    compiler.current_dir(sources()).args([
        "--edition",
        "2024",
        "--crate-type",
        "lib",
        "--emit",
        "obj",
    ]);
    compiler.args([
        "--crate-name",
        name,
        "--target",
        // A target that is missing is named in the message of rustc.
        core_target(platform, rustc)?.unwrap_or(platform.rust_target()),
    ]);
    // At "z", divisions by constants become calls of functions where processors cannot divide.
    let (level, features) = match platform {
        Platform::Armv7 => ("s", "target-feature=+thumb-mode"),
        _ => ("z", ""),
    };
    for flag in [
        "panic=abort",
        "codegen-units=1",
        "relocation-model=static",
        "force-unwind-tables=no",
        "debuginfo=0",
        &format!("opt-level={level}"),
        features,
    ]
    .into_iter()
    .filter(|flag| !flag.is_empty())
    {
        compiler.args(["-C", flag]);
    }
    run(compiler.arg("-o").arg(&object).arg(format!("{name}.rs")))?;

    let mut linker = Command::new(linker(rustc)?);
    linker.current_dir(sources()).args([
        "-flavor",
        "gnu",
        "--nmagic",
        "--gc-sections",
        "--build-id=none",
    ]);
    run(linker
        .args(["-T", "link.ld", "-o"])
        .arg(&program)
        .arg(&object))?;
    let bytes = fs::read(&program).map_err(|error| NativeError::Start(program.clone(), error))?;
    cut(platform, &bytes).ok_or(NativeError::Form(program))
}

/// Returns the installed target of a platform that has core, which is all that a stage needs: that
/// of the agents, or else that with the C library of GNU, which some mirrors of rustup have alone.
fn core_target(platform: Platform, rustc: &Path) -> Result<Option<&'static str>, NativeError> {
    let sysroot = run(Command::new(rustc).args(["--print", "sysroot"]))?;
    let has_core = |target: &&str| {
        let folder = Path::new(sysroot.trim()).join("lib/rustlib").join(target);
        folder.join("lib").exists()
    };
    Ok([platform.rust_target(), platform.gnu_target()]
        .into_iter()
        .find(has_core))
}

/// Returns true if the toolchain of `rustc` has what the stages of a platform need.
pub fn can_compile(platform: Platform, rustc: &Path) -> bool {
    core_target(platform, rustc).is_ok_and(|target| target.is_some())
}

/// Returns the path of `rust-lld` in the toolchain of `rustc`.
///
/// # Errors
/// Returns an error if `rustc` cannot be run.
pub fn linker(rustc: &Path) -> Result<PathBuf, NativeError> {
    let sysroot = run(Command::new(rustc).args(["--print", "sysroot"]))?;
    let host = run(Command::new(rustc).args(["--print", "host-tuple"]))?;
    Ok(Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(host.trim())
        .join("bin/rust-lld"))
}

fn run(command: &mut Command) -> Result<String, NativeError> {
    let output = command
        .env_remove("RUSTFLAGS")
        .output()
        .map_err(|error| NativeError::Start(command.get_program().into(), error))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(NativeError::Failed(command.get_program().into(), words));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns the one segment that the program header describes, without section headers.
fn cut(platform: Platform, program: &[u8]) -> Option<Vec<u8>> {
    let stage = Elf::read(program)?.loaded()?;
    let whole = stage.len() >= Class::of_platform(platform).stage_headers();
    check_stage(&stage, platform, stage.len()).filter(|()| whole)?;
    Some(stage)
}

/// The reason why the native stages could not be compiled.
#[derive(Debug)]
#[non_exhaustive]
pub enum NativeError {
    /// The tool could not be started, or its output could not be read.
    Start(PathBuf, io::Error),
    /// The tool failed; its message.
    Failed(PathBuf, String),
    /// The output of the linker does not have the form of a stage.
    Form(PathBuf),
}

impl fmt::Display for NativeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Failed(path, words) => {
                write!(f, "{} failed: {}", path.display(), words.trim())
            }
            Self::Form(path) => {
                write!(
                    f,
                    "{} does not consist of one segment from its start",
                    path.display()
                )
            }
        }
    }
}

impl Error for NativeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Start(_, error) => Some(error),
            _ => None,
        }
    }
}
