//! Functions that take long and report whether they were cancelled or timed out.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use offshoot::{CallError, Context, Error, Reader, Receiver, Sender, Writer, remote};

use crate::attributes::{await_file, note};

fn own(error: CallError<Error>) -> Error {
    match error {
        CallError::Failed(error) | CallError::Function { error, .. } => error,
    }
}

fn flat<E: std::fmt::Display>(error: CallError<E>) -> Error {
    match error {
        CallError::Failed(error) => error,
        CallError::Function { error, .. } => Error::Function(error.to_string()),
    }
}

/// Calls itself in the first of the other contexts; the last runs a program that does not end.
/// Writes to `dir`: `begun-N` at the start, `left-N` the remaining time, `pid` the process id of
/// the program, `ended-N` the outcome.
#[remote]
pub fn descend(
    cx: &Context,
    dir: PathBuf,
    depth: u32,
    mut rest: Vec<Context>,
) -> Result<(), Error> {
    note(&dir.join(format!("begun-{depth}")), cx.name());
    if let Some(left) = cx.time_left() {
        note(
            &dir.join(format!("left-{depth}")),
            &left.as_millis().to_string(),
        );
    }
    let outcome = if rest.is_empty() {
        run_for_ever(cx, &dir.join("pid"))
    } else {
        let next = rest.remove(0);
        next.call(descend {
            dir: dir.clone(),
            depth: depth + 1,
            rest,
        })
        .map_err(own)
    };
    let seen = format!("{} / {}", ending(&outcome), ending(&cx.check()));
    let whole = dir.join(format!("ended-{depth}.part"));
    note(&whole, &seen);
    let _ = std::fs::rename(&whole, dir.join(format!("ended-{depth}")));
    outcome
}

fn ending(outcome: &Result<(), Error>) -> String {
    match outcome {
        Ok(()) => "ok".into(),
        Err(Error::Cancelled { .. }) => "cancelled".into(),
        Err(Error::TimedOut { .. }) => "timed out".into(),
        Err(error) => error.to_string(),
    }
}

/// Runs a program that writes its process id to a file and does not end.
fn run_for_ever(cx: &Context, pid: &Path) -> Result<(), Error> {
    let script = format!(
        "echo $$ > {0}.part && mv {0}.part {0} && exec sleep 1000",
        pid.display()
    );
    cx.command("sh").arg("-c").arg(script).output().map(|_| ())
}

/// Creates a file, then waits for another.
#[remote]
pub fn begin_and_wait(cx: &Context, dir: PathBuf, name: String) -> Result<String, Error> {
    note(&dir.join(format!("begun-{name}")), cx.name());
    let outcome = await_file(cx, &dir.join("gate"));
    note(&dir.join(format!("ended-{name}")), &ending(&outcome));
    outcome.map(|()| name)
}

/// Calls `begin_and_wait` in another context with a timeout of its own.
#[remote]
pub fn nested_within(cx: &Context, other: Context, dir: PathBuf, ms: u64) -> Result<String, Error> {
    let name = "nested".to_owned();
    let _ = cx;
    other
        .within(Duration::from_millis(ms))
        .call(begin_and_wait { dir, name })
        .map_err(own)
}

/// Returns the remaining time of its call.
#[remote]
pub fn time_left(cx: &Context) -> Option<Duration> {
    cx.time_left()
}

/// Returns the remaining time of its call and of a nested call to `other`.
#[remote]
pub fn time_left_there(
    cx: &Context,
    other: Context,
) -> Result<(Option<Duration>, Option<Duration>), Error> {
    let there = other.call(time_left {}).map_err(flat)?;
    Ok((cx.time_left(), there))
}

/// Ignores cancellation and runs until there is a file.
#[remote]
pub fn insist(dir: PathBuf, name: String) -> String {
    note(&dir.join(format!("begun-{name}")), "");
    while !dir.join("gate").exists() {
        std::thread::park_timeout(Duration::from_millis(2));
    }
    note(&dir.join(format!("ended-{name}")), "");
    name
}

/// Appends its number to `dir/order` and returns it, or fails.
#[remote]
pub fn step(dir: PathBuf, number: u32, fails: bool) -> Result<u32, String> {
    note(&dir.join("order"), &number.to_string());
    if fails {
        Err(format!("step {number} fails"))
    } else {
        Ok(number)
    }
}

/// Adds its number to the file `dir/sum`, without locking.
#[remote]
pub fn accumulate(dir: PathBuf, number: u64) -> std::io::Result<u64> {
    let path = dir.join("sum");
    let sum = std::fs::read_to_string(&path)?
        .trim()
        .parse::<u64>()
        .unwrap_or(0)
        + number;
    std::fs::write(path, sum.to_string())?;
    Ok(sum)
}

/// Sends numbers until the receiver is gone, and writes the error to a file.
#[remote]
pub fn send_for_ever(to: Sender<u64>, dir: PathBuf) -> Result<(), Error> {
    let outcome = (0..).try_for_each(|number| to.send(&number));
    note(&dir.join("sender-ended"), &ending(&outcome));
    outcome
}

/// Receives until the channel closes; returns the number of messages and the error texts.
#[remote]
pub fn drain(from: Receiver<u64>) -> (u64, Vec<String>) {
    let (mut count, mut errors) = (0, Vec::new());
    for received in &from {
        match received {
            Ok(_) => count += 1,
            Err(error) => errors.push(error.to_string()),
        }
    }
    (count, errors)
}

/// Copies a stream and returns its length.
#[remote]
pub fn copy(mut from: Reader, mut to: Writer) -> std::io::Result<u64> {
    let length = std::io::copy(&mut from, &mut to)?;
    to.finish()?;
    Ok(length)
}

/// Writes four bytes, then waits for `dir/gate` while holding the writer.
#[remote]
pub fn write_and_wait(cx: &Context, dir: PathBuf, mut to: Writer) -> Result<(), Error> {
    to.write_all(b"some")?;
    await_file(cx, &dir.join("gate"))?;
    Ok(to.finish()?)
}
