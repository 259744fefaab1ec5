//! `mangle HOW NUMBER COMMAND...`: a faulty wire. Runs the command and copies its own stdin to the
//! command's, with a fault.
//!
//! * `cut N`: N bytes arrive, then the command's stdin is closed.
//! * `stall N`: N bytes arrive, then nothing more, and stdin stays open.
//! * `flip N`: one bit of byte N is flipped.
//! * `lose N`: byte N does not arrive.
//! * `pieces N`: everything arrives, N bytes at a time.
//!
//! The command's stdout, stderr and exit status are passed through.

use std::io::{self, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ChildStdin, Command, ExitCode, Stdio};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [how, number, program, arguments @ ..] = words.as_slice() else {
        return Err("usage: mangle cut|stall|flip|lose|pieces NUMBER COMMAND...".into());
    };
    let (how, number) = (how.clone(), number.parse()?);
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .spawn()?;
    let there = child.stdin.take().ok_or("stdin is piped")?;
    // Not joined: it may wait for input forever, and ends with the process.
    std::thread::spawn(move || copy(&how, number, there));
    let status = child.wait()?;
    Ok(ExitCode::from(
        status
            .code()
            .or(status.signal().map(|signal| 128 + signal))
            .unwrap_or(255) as u8,
    ))
}

/// Copies until the end of stdin; the command's stdin is closed when this returns.
fn copy(how: &str, number: usize, mut there: ChildStdin) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut position = 0;
    loop {
        let length = io::stdin().read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        let here = number.checked_sub(position).filter(|at| *at < length);
        position += length;
        match (how, here) {
            ("cut", Some(at)) => return there.write_all(&buffer[..at]),
            ("stall", Some(at)) => {
                there.write_all(&buffer[..at])?;
                // Reads to the end of the input, so that its writer is not blocked.
                while io::stdin().read(&mut buffer)? > 0 {}
                return Ok(());
            }
            ("flip", Some(at)) => buffer[at] ^= 1,
            ("lose", Some(at)) => {
                there.write_all(&buffer[..at])?;
                there.write_all(&buffer[at + 1..length])?;
                continue;
            }
            ("pieces", _) => {
                for piece in buffer[..length].chunks(number) {
                    there.write_all(piece)?;
                }
                continue;
            }
            _ => {}
        }
        there.write_all(&buffer[..length])?;
    }
}
