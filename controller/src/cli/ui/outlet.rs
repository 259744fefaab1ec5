//! This program's stdout and stderr, written to without a buffer: whole pieces, lines of several writers, JSON objects.
//! It knows nothing of hops or of the network.

use super::shared_fd::wait_or_fail;
use super::{jobs, question, stdout_closed};
use nix::poll::PollFlags;
use serde_json::Value;
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};

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
pub(super) const OWN: u64 = 0;
/// All writers that write to one target alone.
const PLAIN: u64 = u64::MAX;

/// One of our own streams, written to without a buffer. Clones are the same stream, and pieces of it do not mix.
#[derive(Clone)]
pub struct Outlet {
    file: Arc<File>,
    pub(super) terminal: bool,
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
            let stdout = Outlet::new(io::stdout().as_fd(), stdout_closed::stdout_is_missing())?;
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
        let (written, ended) = question::write_beside(&bytes, || self.write_all(&bytes));
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
