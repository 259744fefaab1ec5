//! The measuring programs, and how their numbers are read.
//!
//! Each prints one JSON array of numbers as its last line: seconds for times, else what its
//! documentation says. A plain ssh prints nothing, so its time is taken here, from fork to exit.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::workspace::workspace;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Where the programs are.
pub struct Programs {
    target: PathBuf,
}

impl Programs {
    /// Those below a target directory.
    pub fn below(target: &Path) -> Self {
        Self { target: target.to_owned() }
    }

    /// The folder of what the bench writes.
    pub fn folder(&self) -> PathBuf {
        self.target.join("bench")
    }

    /// A program of `offshoot-tests`.
    pub fn built(&self, name: &str) -> PathBuf {
        self.target.join("release").join(name)
    }

    /// A sub-command of ours; `None` while there is no such program.
    pub fn ours(&self, words: &[&str]) -> Option<Command> {
        let program = self.built("bench-ours");
        program.exists().then(|| with_words(Command::new(program), words))
    }

    /// The same sub-command of Mitogen's side.
    pub fn mitogen(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.folder().join("venv/bin/python"));
        command.arg(workspace().join("tests/bench/mitogen_bench.py"));
        with_words(command, words)
    }
}

/// Adds arguments to a command.
fn with_words(mut command: Command, words: &[&str]) -> Command {
    command.args(words);
    command
}

/// `command` inside another network namespace.
pub fn in_namespace(namespace: &str, command: &Command) -> Command {
    let mut entering = Command::new("nsenter");
    entering.arg(format!("--net={namespace}")).arg(command.get_program()).args(command.get_args());
    entering
}

/// A plain ssh with the fixture's configuration.
pub fn ssh(config: &str, words: &[&str]) -> Command {
    let mut command = Command::new("ssh");
    command.args(["-F", config, "-T", "-o", "BatchMode=yes"]);
    with_words(command, words)
}

/// Runs a measuring program and reads the array that it prints.
pub fn numbers(mut command: Command) -> Result<Vec<f64>> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("{} failed ({})", spelled(&command), output.status).into());
    }
    let last = text.lines().last().unwrap_or_default();
    let array: Option<Vec<f64>> = serde_json::from_str::<serde_json::Value>(last)
        .ok()
        .and_then(|value| value.as_array()?.iter().map(serde_json::Value::as_f64).collect());
    array.ok_or_else(|| format!("{} printed no array: {last:?}", spelled(&command)).into())
}

/// Seconds from start to exit of a command that is fed `bytes` of noise.
pub fn seconds_of(mut command: Command, bytes: usize, scratch: &Path) -> Result<f64> {
    let feed = scratch.join("feed");
    fs::write(&feed, noise(bytes))?;
    command.stdin(fs::File::open(&feed)?).stdout(Stdio::null()).stderr(Stdio::inherit());
    let begun = Instant::now();
    let status = command.status()?;
    let seconds = begun.elapsed().as_secs_f64();
    if status.success() {
        Ok(seconds)
    } else {
        Err(format!("{} failed ({status})", spelled(&command)).into())
    }
}

/// Bytes that do not compress, so that a compressing ssh gains nothing (xorshift).
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

fn spelled(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect();
    words.join(" ")
}
