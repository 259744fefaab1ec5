//! Functions with the ends of channels and pipes as arguments and results.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;

use offshoot::{
    Blob, CallError, Context, Error, Reader, Receiver, RecvError, Sender, Writer, remote,
};
use serde::{Deserialize, Serialize};

use crate::attributes::{await_file, note};

fn flat<E: std::fmt::Display>(error: CallError<E>) -> Error {
    match error {
        CallError::Failed(error) => error,
        CallError::Function { error, .. } => Error::Function(error.to_string()),
    }
}

/// Sends the numbers below `count`.
#[remote(policy = anyone)]
pub fn count_to(count: u64, to: Sender<u64>) -> Result<(), Error> {
    (0..count).try_for_each(|number| to.send(&number))
}

/// Sends one number and returns the sender.
#[remote]
pub fn send_and_return(number: u64, to: Sender<u64>) -> Result<Sender<u64>, Error> {
    to.send(&number)?;
    Ok(to)
}

/// Takes a sender and fails.
#[remote]
pub fn fail_with_sender(to: Sender<u64>) -> Result<(), String> {
    let _ = to;
    Err("as it was told".into())
}

/// Sends one number, then waits for `dir/gate` while holding the sender.
#[remote]
pub fn hold(cx: &Context, dir: PathBuf, to: Sender<u64>) -> Result<(), Error> {
    to.send(&7)?;
    note(&dir.join("holds"), "");
    await_file(cx, &dir.join("gate"))
}

/// Reports a failure through the sender, then sends a number.
#[remote]
pub fn complain(to: Sender<u64>) -> Result<(), Error> {
    to.send(&1)?;
    to.fail("something is wrong")?;
    to.send(&2)
}

/// Reports a failure with this text through the sender.
#[remote]
pub fn complain_in_words(to: Sender<u64>, why: String) -> Result<(), Error> {
    to.fail(&why)
}

/// Sends from that many clones of one sender, each on a thread of its own.
#[remote]
pub fn send_from_clones(clones: u64, each: u64, to: Sender<u64>) -> Result<(), Error> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clones)
            .map(|clone| {
                let to = to.clone();
                scope.spawn(move || {
                    (0..each).try_for_each(|number| to.send(&(clone * each + number)))
                })
            })
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("it does not panic"))
    })
}

/// Passes the sender on to another context, which sends.
#[remote]
pub fn forward(cx: &Context, other: Context, count: u64, to: Sender<u64>) -> Result<(), Error> {
    let _ = cx;
    other.call(count_to { count, to }).map_err(flat)
}

/// Sends once from each of many senders, and drops it.
#[remote]
pub fn send_by_each(senders: Vec<Sender<u64>>) -> Result<(), Error> {
    senders
        .into_iter()
        .zip(0..)
        .try_for_each(|(to, number)| to.send(&number))
}

/// A job: a number to double and a sender for the result.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    /// The number to double.
    pub number: u64,
    /// The sender for the result.
    pub answer: Sender<u64>,
}

/// Processes jobs until the channel closes.
#[remote]
pub fn work(jobs: Receiver<Job>) -> Result<u64, Error> {
    let mut done = 0;
    for job in &jobs {
        let job = job?;
        job.answer.send(&(job.number * 2))?;
        done += 1;
    }
    Ok(done)
}

/// Holds a receiver without receiving until there is a file.
#[remote]
pub fn neglect(cx: &Context, dir: PathBuf, jobs: Receiver<u64>) -> Result<(), Error> {
    note(&dir.join("holds"), "");
    let outcome = await_file(cx, &dir.join("gate"));
    drop(jobs);
    outcome
}

/// Creates a channel and returns its receiver; a thread sends the numbers below `count`.
#[remote]
pub fn subscribe(cx: &Context, count: u64) -> Result<Receiver<u64>, Error> {
    let (to, from) = cx.channel()?;
    std::thread::spawn(move || (0..count).try_for_each(|number| to.send(&number)));
    Ok(from)
}

/// Creates a channel and returns its sender; a thread adds up the messages and writes the sum to a
/// file when the channel closes.
#[remote]
pub fn collect(cx: &Context, sum: PathBuf) -> Result<Sender<u64>, Error> {
    let (to, from) = cx.channel::<u64>()?;
    std::thread::spawn(move || {
        let mut total = 0;
        for received in &from {
            match received {
                Ok(number) => total += number,
                Err(error) => note(&sum, &error.to_string()),
            }
        }
        note(&sum, &total.to_string());
    });
    Ok(to)
}

/// Uses both ends of a channel that was created elsewhere.
#[remote]
pub fn meet(to: Sender<u64>, from: Receiver<u64>) -> Result<u64, Error> {
    let sending = std::thread::spawn(move || (0..1000).try_for_each(|number| to.send(&number)));
    let mut sum = 0;
    for received in &from {
        sum += received?;
    }
    sending.join().expect("it does not panic")?;
    Ok(sum)
}

/// Sends blobs of that many bytes.
#[remote(policy = anyone)]
pub fn send_blobs(count: usize, bytes: usize, to: Sender<Blob>) -> Result<(), Error> {
    (0..count).try_for_each(|number| to.send(&vec![number as u8; bytes].into()))
}

/// Sends a blob and returns the outcome as a text.
#[remote(policy = anyone)]
pub fn try_to_send(bytes: usize, to: Sender<Blob>) -> Result<String, Error> {
    let outcome = to.send(&vec![0; bytes].into());
    // An oversized message is detected by the receiver: the next send is refused.
    let outcome = outcome.and_then(|()| {
        while !to.is_closed() {
            to.send(&Blob::default())?;
            std::thread::park_timeout(std::time::Duration::from_millis(1));
        }
        to.send(&Blob::default())
    });
    Ok(outcome.map_or_else(|error| error.to_string(), |()| "sent".into()))
}

/// Creates a channel and lets another context send to it without authority.
#[remote]
pub fn send_to_other(cx: &Context, other: Context, bytes: usize) -> Result<Vec<String>, Error> {
    let (to, from) = cx.channel::<Blob>()?;
    let reply = other.start(try_to_send { bytes, to });
    let mut seen = Vec::new();
    for received in &from {
        match received {
            Ok(blob) if blob.is_empty() => {}
            Ok(blob) => seen.push(blob.to_string()),
            Err(error) => seen.push(error.to_string()),
        }
    }
    seen.push(reply.wait().map_err(flat)?);
    Ok(seen)
}

/// Creates a channel and lets a context that is no descendant send to it.
#[remote]
pub fn offer_to_other(cx: &Context, other: Context) -> Result<Vec<Result<u64, String>>, Error> {
    let (to, from) = cx.channel::<u64>()?;
    let reply = other.start(count_to { count: 3, to });
    let seen = (&from)
        .into_iter()
        .map(|received| received.map_err(|error| error.to_string()))
        .collect();
    reply.wait().map_err(flat)?;
    Ok(seen)
}

/// Copies a stream with every byte plus one.
#[remote]
pub fn increment_all(mut from: Reader, mut to: Writer) -> std::io::Result<u64> {
    let (mut buffer, mut total) = (vec![0; 64 << 10], 0);
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            to.finish()?;
            return Ok(total);
        }
        buffer[..count]
            .iter_mut()
            .for_each(|byte| *byte = byte.wrapping_add(1));
        to.write_all(&buffer[..count])?;
        total += count as u64;
    }
}

/// Reads a stream to its end; returns its length or the reason it broke off.
#[remote]
pub fn length_of(mut from: Reader) -> Result<u64, String> {
    std::io::copy(&mut from, &mut std::io::sink()).map_err(|error| error.to_string())
}

/// Writes that many bytes, then fails or finishes the stream.
#[remote]
pub fn write_and(mut to: Writer, bytes: usize, fail: Option<String>) -> std::io::Result<()> {
    to.write_all(&vec![1; bytes])?;
    match fail {
        Some(why) => {
            to.fail(&why);
            Ok(())
        }
        None => to.finish(),
    }
}

/// Writes that many bytes and drops the writer unfinished: by returning, failing or panicking.
#[remote]
pub fn write_and_forget(mut to: Writer, bytes: usize, how: u8) -> std::io::Result<()> {
    to.write_all(&vec![1; bytes])?;
    match how {
        0 => Ok(()),
        1 => Err(std::io::Error::other("half way")),
        _ => panic!("half way"),
    }
}

/// Sends two numbers and panics.
#[remote]
pub fn send_and_panic(to: Sender<u32>) -> Result<(), Error> {
    to.send(&1)?;
    to.send(&2)?;
    panic!("half way")
}

/// Writes until nobody reads, and writes the error to a file.
#[remote]
pub fn write_for_ever(mut to: Writer, dir: PathBuf) -> std::io::Result<()> {
    note(&dir.join("holds"), "");
    loop {
        if let Err(error) = to.write_all(&[0; 4096]) {
            note(&dir.join("writer-ended"), &format!("{:?}", error.kind()));
            return Err(error);
        }
    }
}

/// Returns true if a received item is the loss of a sender.
pub fn is_loss<T>(received: &Result<T, RecvError>) -> bool {
    matches!(received, Err(RecvError::Lost(_)))
}

/// Takes a sender together with a large blob.
#[remote]
pub fn with_ballast(ballast: Blob, to: Sender<u64>) {
    let _ = (ballast, to);
}

/// Like `collect`, with a result too large to be sent.
#[remote]
pub fn collect_with_ballast(cx: &Context, sum: PathBuf) -> Result<(Sender<u64>, Blob), Error> {
    Ok((collect(cx, sum)?, vec![0; 129 << 20].into()))
}

/// Like `collect`, but returns the sender only when there is a file `gate`, even if the call is
/// cancelled.
#[remote]
pub fn collect_late(cx: &Context, sum: PathBuf, gate: PathBuf) -> Result<Sender<u64>, Error> {
    let to = collect(cx, sum.clone())?;
    note(&sum.with_extension("begun"), "");
    while !gate.exists() {
        std::thread::park_timeout(std::time::Duration::from_millis(2));
    }
    Ok(to)
}
