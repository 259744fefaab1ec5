//! Functions that take long and report whether they were cancelled or timed out.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use offshoot::{CallError, Context, Error, Reader, Receiver, Sender, Writer, remote};

use crate::attributes::{await_file, note};

fn own(error: CallError<Error>) -> Error {
    match error {
        CallError::Failed(error) | CallError::Function(error) => error,
    }
}

fn flat<E: std::fmt::Display>(error: CallError<E>) -> Error {
    match error {
        CallError::Failed(error) => error,
        CallError::Function(error) => Error::Function(error.to_string()),
    }
}

/// Calls itself in the first of the other contexts, and in the last of them runs a program that
/// does not end. In `dir`: `begun-N` when it begins, `left-N` how much time its call has, `pid` the
/// program's number, `ended-N` what it saw.
#[remote]
pub fn descend(cx: &Context, dir: PathBuf, depth: u32, mut rest: Vec<Context>) -> Result<(), Error> {
    note(&dir.join(format!("begun-{depth}")), cx.name());
    if let Some(left) = cx.time_left() {
        note(&dir.join(format!("left-{depth}")), &left.as_millis().to_string());
    }
    let outcome = if rest.is_empty() {
        run_for_ever(cx, &dir.join("pid"))
    } else {
        let next = rest.remove(0);
        next.call(descend { dir: dir.clone(), depth: depth + 1, rest }).map_err(own)
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

/// A program that writes its number into a file and does not end.
fn run_for_ever(cx: &Context, pid: &Path) -> Result<(), Error> {
    let script = format!("echo $$ > {0}.part && mv {0}.part {0} && exec sleep 1000", pid.display());
    cx.command("sh").arg("-c").arg(script).output().map(|_| ())
}

/// Waits for a file, and says in another that it has begun.
#[remote]
pub fn begin_and_wait(cx: &Context, dir: PathBuf, name: String) -> Result<String, Error> {
    note(&dir.join(format!("begun-{name}")), cx.name());
    let outcome = await_file(cx, &dir.join("gate"));
    note(&dir.join(format!("ended-{name}")), &ending(&outcome));
    outcome.map(|()| name)
}

/// As `begin_and_wait`, in another context and inside a span of time of its own.
#[remote]
pub fn nested_within(cx: &Context, other: Context, dir: PathBuf, ms: u64) -> Result<String, Error> {
    let name = "nested".to_owned();
    let _ = cx;
    other.within(Duration::from_millis(ms)).call(begin_and_wait { dir, name }).map_err(own)
}

/// How much time its call has.
#[remote]
pub fn time_left(cx: &Context) -> Option<Duration> {
    cx.time_left()
}

/// How much time a call has that this one makes in `other`.
#[remote]
pub fn time_left_there(cx: &Context, other: Context) -> Result<(Option<Duration>, Option<Duration>), Error> {
    let there = other.call(time_left {}).map_err(flat)?;
    Ok((cx.time_left(), there))
}

/// Goes on whatever becomes of its call, until there is a file.
#[remote]
pub fn insist(dir: PathBuf, name: String) -> String {
    note(&dir.join(format!("begun-{name}")), "");
    while !dir.join("gate").exists() {
        std::thread::park_timeout(Duration::from_millis(2));
    }
    note(&dir.join(format!("ended-{name}")), "");
    name
}

/// Adds its number to `dir/order` and gives it back; fails with it where it is to.
#[remote]
pub fn step(dir: PathBuf, number: u32, fails: bool) -> Result<u32, String> {
    note(&dir.join("order"), &number.to_string());
    if fails { Err(format!("step {number} fails")) } else { Ok(number) }
}

/// Adds its number to what is in `dir/sum`, which nobody else may do meanwhile.
#[remote]
pub fn accumulate(dir: PathBuf, number: u64) -> std::io::Result<u64> {
    let path = dir.join("sum");
    let sum = std::fs::read_to_string(&path)?.trim().parse::<u64>().unwrap_or(0) + number;
    std::fs::write(path, sum.to_string())?;
    Ok(sum)
}

/// Sends numbers until there is no receiver, and says in a file why it ended.
#[remote]
pub fn send_for_ever(to: Sender<u64>, dir: PathBuf) -> Result<(), Error> {
    let outcome = (0..).try_for_each(|number| to.send(&number));
    note(&dir.join("sender-ended"), &ending(&outcome));
    outcome
}

/// Receives until nothing more comes, and gives how many there were and what the errors said.
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

/// Copies a stream and gives how many bytes it had, with the sum of them.
#[remote]
pub fn copy(mut from: Reader, mut to: Writer) -> std::io::Result<u64> {
    let length = std::io::copy(&mut from, &mut to)?;
    to.finish()?;
    Ok(length)
}

/// Writes four bytes, then waits for `dir/gate` with the writer in hand.
#[remote]
pub fn write_and_wait(cx: &Context, dir: PathBuf, mut to: Writer) -> Result<(), Error> {
    to.write_all(b"some")?;
    await_file(cx, &dir.join("gate"))?;
    Ok(to.finish()?)
}
