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

use crate::platform::Platform;

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
        loader: stage("loader", "z", platform, rustc, scratch)?,
        unpacker: stage("unpacker", "z", platform, rustc, scratch)?,
    })
}

/// Returns the directory of the stages' sources.
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("native")
}

fn stage(
    name: &str,
    level: &str,
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
        platform.rust_target(),
        "-C",
        &format!("opt-level={level}"),
    ]);
    for flag in [
        "panic=abort",
        "codegen-units=1",
        "relocation-model=static",
        "force-unwind-tables=no",
        "debuginfo=0",
    ] {
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
    cut(bytes).ok_or(NativeError::Form(program))
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
fn cut(mut program: Vec<u8>) -> Option<Vec<u8>> {
    let header = program.first_chunk_mut::<120>()?;
    header[40..48].fill(0); // where the section headers are
    header[58..64].fill(0); // how long, how many, which one has the names
    let length = u64::from_le_bytes(header[96..104].try_into().ok()?) as usize;
    let aligned = header[80..88] == 0x40_0000u64.to_le_bytes() && header[72..80] == [0; 8];
    if !aligned || length > program.len() || length < 120 {
        return None;
    }
    program.truncate(length);
    Some(program)
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
