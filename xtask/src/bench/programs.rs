//! Runs the measuring programs and reads their numbers.
//!
//! The last line of each program is a JSON array of numbers: seconds for times, otherwise the unit
//! in its documentation. A plain ssh prints nothing, so its time is taken here, from fork to exit.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::workspace::workspace;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The folders of the programs.
pub(super) struct Programs {
    target: PathBuf,
}

impl Programs {
    /// Returns the programs below a target directory.
    pub(super) fn below(target: &Path) -> Self {
        Self {
            target: target.to_owned(),
        }
    }

    /// Returns the folder for the files of the bench.
    pub(super) fn folder(&self) -> PathBuf {
        self.target.join("bench")
    }

    /// Returns the path of a program of `offshoot-tests`.
    pub(super) fn built(&self, name: &str) -> PathBuf {
        self.target.join("release").join(name)
    }

    /// Returns a sub-command of offshoot's program; `None` if the program does not exist.
    pub(super) fn ours(&self, words: &[&str]) -> Option<Command> {
        let program = self.built("bench-ours");
        program
            .exists()
            .then(|| with_words(Command::new(program), words))
    }

    /// Returns the same sub-command of Mitogen's program.
    pub(super) fn mitogen(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.folder().join("venv/bin/python"));
        command.arg(workspace().join("tests/bench/mitogen_bench.py"));
        with_words(command, words)
    }
}

/// Returns the command with more arguments.
fn with_words(mut command: Command, words: &[&str]) -> Command {
    command.args(words);
    command
}

/// Returns `command` inside another network namespace.
pub(super) fn in_namespace(namespace: &str, command: &Command) -> Command {
    let mut entering = Command::new("nsenter");
    entering
        .arg(format!("--net={namespace}"))
        .arg(command.get_program())
        .args(command.get_args());
    entering
}

/// Returns a plain ssh with the configuration of the hosts.
pub(super) fn ssh(config: &str, words: &[&str]) -> Command {
    let mut command = Command::new("ssh");
    command.args(["-F", config, "-T", "-o", "BatchMode=yes"]);
    with_words(command, words)
}

/// Runs a measuring program and returns the array that it prints.
///
/// # Errors
/// Returns an error if the program fails or prints no array.
pub(super) fn numbers(mut command: Command) -> Result<Vec<f64>> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("{} failed ({})", spelled(&command), output.status).into());
    }
    let last = text.lines().last().unwrap_or_default();
    let array: Option<Vec<f64>> = serde_json::from_str::<serde_json::Value>(last)
        .ok()
        .and_then(|value| {
            value
                .as_array()?
                .iter()
                .map(serde_json::Value::as_f64)
                .collect()
        });
    array.ok_or_else(|| format!("{} printed no array: {last:?}", spelled(&command)).into())
}

/// Returns the seconds from start to exit of a command that reads `bytes` of noise.
///
/// # Errors
/// Returns an error if the command fails.
pub(super) fn seconds_of(mut command: Command, bytes: usize, scratch: &Path) -> Result<f64> {
    let feed = scratch.join("feed");
    fs::write(&feed, noise(bytes))?;
    command
        .stdin(fs::File::open(&feed)?)
        .stdout(Stdio::null())
        .stderr(Stdio::inherit());
    let begun = Instant::now();
    let status = command.status()?;
    let seconds = begun.elapsed().as_secs_f64();
    if status.success() {
        Ok(seconds)
    } else {
        Err(format!("{} failed ({status})", spelled(&command)).into())
    }
}

/// Returns bytes that do not compress, so that a compressing ssh gains nothing (xorshift).
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
