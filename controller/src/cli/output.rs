//! What people and programs see: the streams of programs in their three forms, and messages about failures. It knows
//! nothing of hops or of the network.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::Value;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The longest line that is held back until its end is there, in bytes; a longer one is cut.
const LONGEST_LINE: usize = 1 << 20;

/// Set when this program was told to end: what fails from then on is a consequence, and not worth a word.
static HUSHED: AtomicBool = AtomicBool::new(false);

/// Says nothing more about failures.
pub fn hush() {
    HUSHED.store(true, Ordering::Relaxed);
}

/// Tells the person at the terminal something, as lines that begin with the program's name.
pub fn tell(message: &str) {
    if !HUSHED.load(Ordering::Relaxed) {
        // Where stderr is gone there is nobody to tell.
        let _ = io::stderr().lock().write_all(format!("offshoot: {message}\n").as_bytes());
    }
}

/// One of our own streams, written to without a buffer. Clones are the same stream, and pieces of it do not mix.
#[derive(Clone)]
pub struct Outlet(Arc<Mutex<File>>);

impl Outlet {
    /// This program's stdout.
    ///
    /// # Errors
    /// When the system gives no descriptor.
    pub fn stdout() -> io::Result<Outlet> {
        Outlet::new(io::stdout().as_fd())
    }

    /// This program's stderr.
    ///
    /// # Errors
    /// When the system gives no descriptor.
    pub fn stderr() -> io::Result<Outlet> {
        Outlet::new(io::stderr().as_fd())
    }

    fn new(fd: BorrowedFd<'_>) -> io::Result<Outlet> {
        Ok(Outlet(Arc::new(Mutex::new(File::from(fd.try_clone_to_owned()?)))))
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// Those of `write(2)`, but for a descriptor that somebody made non-blocking: that is waited for.
    pub fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !bytes.is_empty() {
            match file.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) => wait_or_fail(&*file, PollFlags::POLLOUT, error)?,
            }
        }
        Ok(())
    }

    /// Writes one JSON object as a line.
    ///
    /// # Errors
    /// As [`Outlet::write`].
    pub fn write_object(&self, members: impl IntoIterator<Item = (&'static str, Value)>) -> io::Result<()> {
        // A map would sort them, and a person reads the target first.
        let members: Vec<_> =
            members.into_iter().map(|(key, value)| format!("{}:{value}", Value::from(key))).collect();
        self.write(format!("{{{}}}\n", members.join(",")).as_bytes())
    }
}

/// This program's stdin, read without a buffer.
pub struct Inlet(File);

impl Inlet {
    /// This program's stdin.
    ///
    /// # Errors
    /// When the system gives no descriptor.
    pub fn stdin() -> io::Result<Inlet> {
        Ok(Inlet(File::from(io::stdin().as_fd().try_clone_to_owned()?)))
    }

    /// Whether there is something to read that nobody has read.
    pub fn has_data(&mut self) -> bool {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0);
        ready && self.0.read(&mut [0]).is_ok_and(|count| count > 0)
    }
}

impl Read for Inlet {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Ok(count) => return Ok(count),
                Err(error) => wait_or_fail(&self.0, PollFlags::POLLIN, error)?,
            }
        }
    }
}

/// Whoever shares our terminal may have made it non-blocking for all.
fn wait_or_fail(fd: impl AsFd, wanted: PollFlags, error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::Interrupted => Ok(()),
        io::ErrorKind::WouldBlock => {
            let mut fds = [PollFd::new(fd.as_fd(), wanted)];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
                Err(errno) => Err(errno.into()),
            }
        }
        _ => Err(error),
    }
}

/// One stream of one program, in the form in which it is shown.
pub enum Stream {
    /// Byte for byte, at once.
    Plain(Outlet),
    /// Whole lines with the target before each.
    Lines {
        /// Where to.
        outlet: Outlet,
        /// What stands before each line.
        prefix: String,
        /// The line that has no end yet.
        line: Vec<u8>,
    },
    /// Pieces as JSON objects.
    Json {
        /// Where to.
        outlet: Outlet,
        /// The target's name.
        target: String,
        /// The member for text, and the one for what is none.
        members: (&'static str, &'static str),
        /// The beginning of a character whose rest is still to come.
        tail: Vec<u8>,
    },
}

impl Stream {
    /// Shows a piece of the stream.
    ///
    /// # Errors
    /// As [`Outlet::write`].
    pub fn piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Stream::Plain(outlet) => outlet.write(bytes),
            Stream::Lines { outlet, prefix, line } => {
                let mut whole = Vec::new();
                for part in bytes.split_inclusive(|byte| *byte == b'\n') {
                    line.extend_from_slice(part);
                    if line.last() == Some(&b'\n') || line.len() >= LONGEST_LINE {
                        finish_line(prefix, line, &mut whole);
                    }
                }
                outlet.write(&whole)
            }
            Stream::Json { outlet, target, members, tail } => {
                tail.extend_from_slice(bytes);
                let bytes = std::mem::take(tail);
                let (now, later) = bytes.split_at(bytes.len() - unfinished(&bytes));
                *tail = later.to_vec();
                write_piece(outlet, target, *members, now)
            }
        }
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// As [`Outlet::write`].
    pub fn end(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(_) => Ok(()),
            Stream::Lines { outlet, prefix, line } => {
                let mut whole = Vec::new();
                if !line.is_empty() {
                    finish_line(prefix, line, &mut whole);
                }
                outlet.write(&whole)
            }
            Stream::Json { outlet, target, members, tail } => {
                write_piece(outlet, target, *members, &std::mem::take(tail))
            }
        }
    }
}

fn finish_line(prefix: &str, line: &mut Vec<u8>, whole: &mut Vec<u8>) {
    whole.extend_from_slice(prefix.as_bytes());
    whole.append(line);
    if whole.last() != Some(&b'\n') {
        whole.push(b'\n');
    }
}

fn write_piece(
    outlet: &Outlet,
    target: &str,
    members: (&'static str, &'static str),
    bytes: &[u8],
) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let (member, value) = match std::str::from_utf8(bytes) {
        Ok(text) => (members.0, text.to_owned()),
        Err(_) => (members.1, BASE64_STANDARD.encode(bytes)),
    };
    outlet.write_object([("target", target.into()), (member, value.into())])
}

/// How many bytes at the end begin a character whose rest is not there.
fn unfinished(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => bytes.len() - error.valid_up_to(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_that_is_cut_in_two_waits_for_its_rest() {
        assert_eq!(unfinished("a€".as_bytes()), 0);
        assert_eq!(unfinished(&"a€".as_bytes()[..3]), 2);
        assert_eq!(unfinished(&"a€".as_bytes()[..2]), 1);
        assert_eq!(unfinished(b"a\xff"), 0, "this will never be a character");
    }

    #[test]
    fn a_line_without_its_end_gets_one() {
        let (mut line, mut whole) = (b"no end".to_vec(), Vec::new());
        finish_line("web1: ", &mut line, &mut whole);
        assert_eq!(whole, b"web1: no end\n");
        assert!(line.is_empty());
    }
}
