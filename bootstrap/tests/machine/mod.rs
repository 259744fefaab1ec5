//! Fixtures of the end-to-end tests: the real stages, packed around a small program, in real
//! shells.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use offshoot_bootstrap::{Image, Mode, Nonce, Platform, Stage0, native, pack};

/// Returns the nonce of this test. Each test has its own, because it briefly names a file where
/// there is no memfd.
pub(crate) fn nonce() -> Nonce {
    thread_local! {
        static NONCE: Nonce = {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let number = u64::from(std::process::id()) << 32 | u64::from(COUNT.fetch_add(1, Ordering::Relaxed));
            Nonce::new(number.to_be_bytes())
        };
    }
    NONCE.with(|nonce| *nonce)
}

/// Returns an image for this machine whose agent is `payload.rs`.
pub(crate) fn image() -> &'static Image {
    image_for(Platform::host().expect("these tests run where agents run"))
}

/// Returns an image for `platform` whose agent is `payload.rs`.
pub(crate) fn image_for(platform: Platform) -> &'static Image {
    static IMAGES: [OnceLock<Image>; Platform::ALL.len()] =
        [const { OnceLock::new() }; Platform::ALL.len()];
    IMAGES[platform as usize].get_or_init(|| {
        let folder = folder();
        let agent = folder.join("payload");
        let linker = native::linker(Path::new("rustc")).unwrap();
        let built = Command::new("rustc")
            .args([
                "--edition=2024",
                "-Copt-level=z",
                "-Cstrip=symbols",
                "-Cpanic=abort",
            ])
            .args(["-Crelocation-model=static", "-Clinker-flavor=ld.lld"])
            .arg(format!("-Clinker={}", linker.display()))
            .args(["--target", platform.rust_target(), "-o"])
            .arg(&agent)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machine/payload.rs"))
            .status();
        assert!(
            built.is_ok_and(|status| status.success()),
            "rustup target add {}",
            platform.rust_target()
        );
        let stages = native::compile(platform, Path::new("rustc"), &folder).unwrap();
        let agent = fs::read(agent).unwrap();
        Image::parse(pack(platform, &agent, &stages.loader, &stages.unpacker).unwrap()).unwrap()
    })
}

/// Returns the platforms whose stages can be compiled here: those of the stock images, and others
/// whose targets are installed.
pub(crate) fn compilable() -> Vec<Platform> {
    let (able, unable): (Vec<_>, Vec<_>) = Platform::ALL.into_iter().partition(|platform| {
        Platform::STOCK.contains(platform) || native::can_compile(*platform, Path::new("rustc"))
    });
    for platform in unable {
        eprintln!(
            "skipped: rustup target add {} (or {})",
            platform.rust_target(),
            platform.gnu_target()
        );
    }
    able
}

/// Creates an empty directory.
pub(crate) fn folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{count}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Creates a directory of links to the named programs, to be the whole PATH. `sh` can be another
/// program: `sh=/bin/mksh`.
pub(crate) fn path_of(programs: &[&str]) -> PathBuf {
    let folder = folder();
    for program in programs {
        let (name, target) = program.split_once('=').unwrap_or((program, program));
        let target = match target.strip_prefix('/') {
            Some(_) => PathBuf::from(target),
            None => Path::new("/usr/bin").join(target),
        };
        assert!(target.exists(), "{} is not installed", target.display());
        symlink(target, folder.join(name)).unwrap();
    }
    folder
}

/// Programs that stage 0 needs where one directory is writable and executable: no head, dd or gzip.
pub(crate) const MINIMUM: [&str; 4] = ["uname", "mkdir", "chmod", "rm"];

/// Returns the `sh` in `path`, which is also its whole PATH.
pub(crate) fn shell(path: &Path) -> Command {
    let mut shell = Command::new(path.join("sh"));
    shell
        .env_clear()
        .env("PATH", path)
        .env("HOME", "/nonexistent")
        .env("KEPT", "yes");
    shell
}

/// Returns the text for `sh -c`.
pub(crate) fn script(mode: Mode) -> String {
    Stage0::new(image(), &nonce(), mode, "offshoot: web1").script()
}

/// Returns the command for a login shell.
pub(crate) fn command(mode: Mode) -> String {
    Stage0::new(image(), &nonce(), mode, "offshoot: web1").command("sh -c")
}

/// Result of a bootstrap.
pub(crate) struct Result {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Result {
    /// Returns the first line that the program printed.
    pub(crate) fn first_line(&self) -> String {
        let line = self
            .stdout
            .split(|&byte| byte == b'\n')
            .next()
            .unwrap_or_default();
        String::from_utf8_lossy(line).into_owned()
    }

    /// Returns everything behind the first line.
    pub(crate) fn rest(&self) -> &[u8] {
        match self.stdout.iter().position(|&byte| byte == b'\n') {
            Some(end) => &self.stdout[end + 1..],
            None => &[],
        }
    }
}

/// Starts `command`, writes `input` in one piece, closes stdin and waits.
pub(crate) fn start(command: &mut Command, input: &[u8]) -> Result {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A stage that fails early leaves a broken pipe; only the exit code matters.
        let _ = stdin.write_all(&input);
    });
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Result {
        code: status.code(),
        stdout,
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// Returns the image, and 100,000 bytes behind it that no stage may touch.
pub(crate) fn image_and_rest() -> (Vec<u8>, Vec<u8>) {
    image_and_rest_of(image())
}

/// Returns `image`, and 100,000 bytes behind it.
pub(crate) fn image_and_rest_of(image: &Image) -> (Vec<u8>, Vec<u8>) {
    let rest: Vec<u8> = (0..100_000u32).map(|i| (i * 7 + i / 251) as u8).collect();
    ([image.bytes(), rest.as_slice()].concat(), rest)
}

/// Asserts that the agent runs with the right arguments and has received the bytes behind the
/// image.
pub(crate) fn assert_up(result: &Result, rest: &[u8], what: &str) {
    let line = result.first_line();
    assert!(
        line.starts_with("up [\"offshoot: web1\", \""),
        "{what}: {line:?} {:?} {}",
        result.code,
        result.stderr
    );
    assert!(
        result.rest() == rest,
        "{what}: {} bytes behind the image arrived, of {}",
        result.rest().len(),
        rest.len()
    );
    assert_eq!(result.code, Some(0), "{what}");
}

/// Reads `reader` until `end` has arrived, at most 4 KiB.
pub(crate) fn read_until(reader: &mut impl Read, end: &[u8]) -> Vec<u8> {
    let mut seen = Vec::new();
    let mut byte = [0];
    while !seen.ends_with(end)
        && seen.len() < 4096
        && reader.read(&mut byte).is_ok_and(|count| count == 1)
    {
        seen.push(byte[0]);
    }
    seen
}
