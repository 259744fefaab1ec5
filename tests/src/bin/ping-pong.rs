//! `ping-pong COUNT`: the lower bound for any call, a message of 100 bytes to another process and
//! back over two pipes.
//!
//! Blocking reads and writes, no framing, no protocol. Prints the median round trip in seconds as a
//! JSON array of one.

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

const MESSAGE: usize = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let word = std::env::args().nth(1).ok_or("usage: ping-pong COUNT")?;
    if word == "echo" {
        return Ok(echo()?);
    }
    let count: usize = word.parse()?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg("echo")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let (mut there, mut back) = (
        child.stdin.take().ok_or("stdin is piped")?,
        child.stdout.take().ok_or("stdout is piped")?,
    );
    let mut message = [7; MESSAGE];
    let mut samples = Vec::with_capacity(count);
    for round in 0..count + count / 10 {
        let begun = Instant::now();
        there.write_all(&message)?;
        back.read_exact(&mut message)?;
        // The first tenth warms the caches up.
        if round >= count / 10 {
            samples.push(begun.elapsed().as_secs_f64());
        }
    }
    drop(there);
    child.wait()?;
    samples.sort_by(f64::total_cmp);
    println!("[{}]", samples[samples.len() / 2]);
    Ok(())
}

fn echo() -> io::Result<()> {
    // Files without std's line buffering, as a protocol would use them.
    let (mut input, mut output) = (
        std::fs::File::open("/dev/stdin")?,
        std::fs::File::create("/dev/stdout")?,
    );
    let mut message = [0; MESSAGE];
    loop {
        match input.read_exact(&mut message) {
            Ok(()) => output.write_all(&message)?,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
