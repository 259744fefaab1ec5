//! `counting-ssh [OPTIONS] HOST COMMAND...`: stands in for `ssh` and counts the bytes sent through
//! it.
//!
//! The command runs locally in `sh -c`, as sshd would run it; the host and all options are ignored.
//! The file named by `COUNTING_SSH_LOG` always holds three numbers: bytes of the command, bytes
//! sent to its stdin, bytes that came back. A link would carry these before ssh compresses and
//! encrypts them, so they compare programs fairly.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Options of OpenSSH's client that take a value.
const WITH_VALUE: &str = "BbcDEeFIiJLlmOopPQRSWw";

struct Counter {
    command: u64,
    sent: AtomicU64,
    received: AtomicU64,
    log: Mutex<File>,
}

impl Counter {
    fn note(&self) -> io::Result<()> {
        let (sent, received) = (
            self.sent.load(Ordering::Relaxed),
            self.received.load(Ordering::Relaxed),
        );
        let log = self
            .log
            .lock()
            .map_err(|_| io::Error::other("a copying thread has panicked"))?;
        // Fixed width, so that a shorter number overwrites a longer one.
        log.write_all_at(
            format!("{:>12} {sent:>12} {received:>12}\n", self.command).as_bytes(),
            0,
        )
    }
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let command = remote_command(std::env::args().skip(1))
        .ok_or("usage: counting-ssh [OPTIONS] HOST COMMAND...")?;
    let log = File::create(std::env::var("COUNTING_SSH_LOG")?)?;
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(&command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let (there, back) = (child.stdin.take(), child.stdout.take());
    let counter = Arc::new(Counter {
        command: command.len() as u64,
        sent: AtomicU64::new(0),
        received: AtomicU64::new(0),
        log: Mutex::new(log),
    });
    counter.note()?;
    let upward = Arc::clone(&counter);
    // Not joined: it may wait for input forever, and ends with the process.
    std::thread::spawn(move || {
        let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        there.map_or(Ok(()), |there| {
            copy(
                input,
                there,
                |length| upward.sent.fetch_add(length, Ordering::Relaxed),
                &upward,
            )
        })
    });
    let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    if let Some(back) = back {
        copy(
            back,
            output,
            |length| counter.received.fetch_add(length, Ordering::Relaxed),
            &counter,
        )?;
    }
    Ok(ExitCode::from(child.wait()?.code().unwrap_or(255) as u8))
}

fn copy(
    mut from: impl Read,
    mut to: impl Write,
    add: impl Fn(u64) -> u64,
    counter: &Counter,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        add(length as u64);
        // Counted before it is forwarded, so that a visible answer is always counted.
        counter.note()?;
        to.write_all(&buffer[..length])?;
        to.flush()?;
    }
}

/// Returns the words after the host, joined as ssh joins them.
fn remote_command(words: impl Iterator<Item = String>) -> Option<String> {
    let mut words = words.peekable();
    let mut host = None;
    while let Some(word) = words.next() {
        match word.strip_prefix('-') {
            Some("-") => {}
            Some(options) if host.is_none() => {
                // The value is the rest of the word, or the next word.
                let taking = options.find(|letter| WITH_VALUE.contains(letter));
                if taking == Some(options.len() - 1) {
                    words.next();
                }
            }
            _ if host.is_none() => host = Some(word),
            _ => {
                return Some(
                    std::iter::once(word)
                        .chain(words)
                        .collect::<Vec<_>>()
                        .join(" "),
                );
            }
        }
    }
    None
}
