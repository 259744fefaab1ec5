//! What people and programs see: the streams of programs in their three forms, and messages about failures. It knows
//! nothing of hops or of the network.

use super::lines::Lines;
use super::{jobs, password, standard};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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
        let _ = Notes.write_all(format!("offshoot: {message}\n").as_bytes());
    }
}

/// What this program says itself, to stderr: on lines of its own.
pub struct Notes;

impl Write for Notes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let own = |line| match line {
            Line::None | Line::Own => Cow::Borrowed(bytes),
            Line::Others => Cow::Owned([b"\n", bytes].concat()),
        };
        Outlet::stderr()?.put(OWN, own).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Ends the line that is open at the terminal: something else is to be written there.
pub fn end_line() {
    for outlet in [Outlet::stderr(), Outlet::stdout()].into_iter().flatten() {
        if outlet.terminal {
            // The question that follows cannot be asked either, and that is told.
            let _ = outlet.put(OWN, |line| Cow::Borrowed(if line == Line::None { b"" } else { b"\n" }));
        }
    }
}

/// The line at which an outlet is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Line {
    /// A new one.
    None,
    /// One that the writer has begun.
    Own,
    /// One that somebody else has begun.
    Others,
}

/// The writer that is this program itself; those of programs' streams count up from 1.
const OWN: u64 = 0;
/// All writers that write to one target alone.
const PLAIN: u64 = u64::MAX;

/// One of our own streams, written to without a buffer. Clones are the same stream, and pieces of it do not mix.
#[derive(Clone)]
pub struct Outlet {
    file: Arc<File>,
    terminal: bool,
    /// Whether this program was started without it.
    missing: bool,
    /// Who has begun the line that has no end yet; one for both streams where they are the same file.
    open: Arc<Mutex<Option<u64>>>,
}

impl Outlet {
    /// This program's stdout.
    ///
    /// # Errors
    /// When the system gives no descriptor.
    pub fn stdout() -> io::Result<Outlet> {
        Outlet::of(0)
    }

    /// This program's stderr.
    ///
    /// # Errors
    /// When the system gives no descriptor.
    pub fn stderr() -> io::Result<Outlet> {
        Outlet::of(1)
    }

    fn of(which: usize) -> io::Result<Outlet> {
        static BOTH: Mutex<Option<[Outlet; 2]>> = Mutex::new(None);
        let mut both = BOTH.lock().unwrap_or_else(PoisonError::into_inner);
        if both.is_none() {
            let stdout = Outlet::new(io::stdout().as_fd(), standard::stdout_is_missing())?;
            // Whoever closes stderr wants nothing of it.
            let mut stderr = Outlet::new(io::stderr().as_fd(), false)?;
            let place = |outlet: &Outlet| outlet.file.metadata().map(|file| (file.dev(), file.ino())).ok();
            if place(&stdout).is_some_and(|place_of| place(&stderr) == Some(place_of)) {
                stderr.open = Arc::clone(&stdout.open);
            }
            *both = Some([stdout, stderr]);
        }
        // It was just filled.
        both.as_ref().map(|both| both[which].clone()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn new(fd: BorrowedFd<'_>, missing: bool) -> io::Result<Outlet> {
        let file = File::from(fd.try_clone_to_owned()?);
        let terminal = file.is_terminal();
        Ok(Outlet { file: Arc::new(file), terminal, missing, open: Arc::default() })
    }

    /// Writes all of it, as it is.
    ///
    /// # Errors
    /// Those of `write(2)`, but for a descriptor that somebody made non-blocking: that is waited for. And an
    /// error where this program was started without a stdout.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.put(PLAIN, |_| Cow::Borrowed(bytes))
    }

    /// Writes what `make` gives for the line at which the outlet is. `writer` tells lines of one from those of others.
    ///
    /// # Errors
    /// As [`Outlet::write`].
    pub fn put<'a>(&self, writer: u64, make: impl FnOnce(Line) -> Cow<'a, [u8]>) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = make(match *open {
            None => Line::None,
            Some(other) if other == writer => Line::Own,
            Some(_) => Line::Others,
        });
        let Some(last) = bytes.last() else { return Ok(()) };
        if self.missing {
            return Err(io::Error::other("stdout is closed"));
        }
        *open = Some(writer).filter(|_| *last != b'\n');
        if !self.terminal {
            return self.write_all(&bytes);
        }
        // Before the question is taken away, for whoever stops this program gives the terminal its settings back.
        jobs::before_writing(&self.file);
        let (written, ended) = password::beside_question(&bytes, || self.write_all(&bytes));
        if ended {
            *open = None;
        }
        written
    }

    fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match (&*self.file).write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) => wait_or_fail(&self.file, PollFlags::POLLOUT, error)?,
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

/// What this program reads, without a buffer: its stdin or its terminal.
pub struct Inlet {
    file: File,
    /// Whether reading from it in the background stops a program.
    terminal: bool,
    /// Whether that may wait until there is something to read.
    patient: bool,
}

impl Inlet {
    /// This program's stdin.
    ///
    /// # Errors
    /// When the system gives no descriptor.
    pub fn stdin() -> io::Result<Inlet> {
        Inlet::of(io::stdin().as_fd(), true)
    }

    /// The terminal that this program belongs to, to be read from in the foreground alone.
    ///
    /// # Errors
    /// When the system gives no descriptor.
    pub fn terminal(terminal: &File) -> io::Result<Inlet> {
        Inlet::of(terminal.as_fd(), false)
    }

    fn of(fd: BorrowedFd<'_>, patient: bool) -> io::Result<Inlet> {
        let file = File::from(fd.try_clone_to_owned()?);
        let terminal = file.is_terminal();
        Ok(Inlet { file, terminal, patient })
    }

    /// Whether there is something to read that nobody has read.
    pub fn has_data(&mut self) -> bool {
        let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0);
        ready && self.file.read(&mut [0]).is_ok_and(|count| count > 0)
    }
}

impl Read for Inlet {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.terminal {
                let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
                if self.patient && poll(&mut fds, PollTimeout::NONE) == Err(nix::errno::Errno::EINTR) {
                    continue;
                }
                if !jobs::wait_for_foreground(&self.file, Signal::SIGTTIN) {
                    return Err(nix::errno::Errno::EIO.into());
                }
            }
            match self.file.read(buffer) {
                Ok(count) => return Ok(count),
                // It has come into the background meanwhile.
                Err(_) if self.terminal && !jobs::in_foreground(&self.file) => {}
                Err(error) => wait_or_fail(&self.file, PollFlags::POLLIN, error)?,
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
    /// Lines with the target before each.
    Lines(Arc<Mutex<Lines>>),
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
            Stream::Lines(lines) => Lines::piece(lines, bytes),
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
            Stream::Lines(lines) => Lines::end(lines),
            Stream::Json { outlet, target, members, tail } => {
                write_piece(outlet, target, *members, &std::mem::take(tail))
            }
        }
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
pub fn unfinished(bytes: &[u8]) -> usize {
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
}
