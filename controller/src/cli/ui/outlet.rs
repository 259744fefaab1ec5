//! This program's stdout and stderr, written to without a buffer: pieces of bytes, lines of several
//! writers, and JSON objects.

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

/// The state of the current line of an outlet.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Line {
    /// At the beginning of a line.
    None,
    /// In a line that this writer has begun.
    Own,
    /// In a line that another writer has begun.
    Others,
}

/// The writer for messages of this program. The streams of programs have numbers from 1.
pub(super) const OWN: u64 = 0;
/// The writer for output without labels.
const PLAIN: u64 = u64::MAX;

/// One of our own streams, written to without a buffer. Clones share the stream, and pieces do not
/// mix.
#[derive(Clone)]
pub(crate) struct Outlet {
    file: Arc<File>,
    pub(super) terminal: bool,
    /// True if this program was started without the stream.
    missing: bool,
    /// The writer that has begun the current line. Shared by both streams if they are the same
    /// file.
    open: Arc<Mutex<Option<u64>>>,
}

impl Outlet {
    /// Returns this program's stdout.
    ///
    /// # Errors
    /// Returns an error if the descriptor cannot be duplicated.
    pub(crate) fn stdout() -> io::Result<Self> {
        Self::of(0)
    }

    /// Returns this program's stderr.
    ///
    /// # Errors
    /// Returns an error if the descriptor cannot be duplicated.
    pub(crate) fn stderr() -> io::Result<Self> {
        Self::of(1)
    }

    /// Returns stdout (0) or stderr (1), which are opened once.
    fn of(which: usize) -> io::Result<Self> {
        static BOTH: Mutex<Option<[Outlet; 2]>> = Mutex::new(None);
        let mut both = BOTH.lock().unwrap_or_else(PoisonError::into_inner);
        if both.is_none() {
            let stdout = Self::new(io::stdout().as_fd(), stdout_closed::stdout_is_missing())?;
            // A closed stderr is not worth an error: messages are not wanted.
            let mut stderr = Self::new(io::stderr().as_fd(), false)?;
            let place = |outlet: &Self| {
                outlet
                    .file
                    .metadata()
                    .map(|file| (file.dev(), file.ino()))
                    .ok()
            };
            if place(&stdout).is_some_and(|place_of| place(&stderr) == Some(place_of)) {
                stderr.open = Arc::clone(&stdout.open);
            }
            *both = Some([stdout, stderr]);
        }
        // Always there: it was filled above.
        both.as_ref()
            .map(|both| both[which].clone())
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn new(fd: BorrowedFd<'_>, missing: bool) -> io::Result<Self> {
        let file = File::from(fd.try_clone_to_owned()?);
        let terminal = file.is_terminal();
        Ok(Self {
            file: Arc::new(file),
            terminal,
            missing,
            open: Arc::default(),
        })
    }

    /// Writes all bytes unchanged. Waits if another program has made the descriptor non-blocking.
    ///
    /// # Errors
    /// Returns an error if `write(2)` fails, or if this program was started without a stdout.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.put(PLAIN, |_| Cow::Borrowed(bytes))
    }

    /// Writes the bytes that `make` returns for the state of the current line, as seen by the
    /// writer with this number.
    ///
    /// # Errors
    /// Returns an error in the same cases as [`Outlet::write`].
    pub(crate) fn put<'a>(
        &self,
        writer: u64,
        make: impl FnOnce(Line) -> Cow<'a, [u8]>,
    ) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = make(match *open {
            None => Line::None,
            Some(other) if other == writer => Line::Own,
            Some(_) => Line::Others,
        });
        let Some(last) = bytes.last() else {
            return Ok(());
        };
        if self.missing {
            return Err(io::Error::other("stdout is closed"));
        }
        *open = Some(writer).filter(|_| *last != b'\n');
        if !self.terminal {
            return self.write_all(&bytes);
        }
        // Before the question is cleared, because stopping this program restores the settings of
        // the terminal.
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

    /// Writes a JSON object as a line.
    ///
    /// # Errors
    /// Returns an error in the same cases as [`Outlet::write`].
    pub(crate) fn write_object(
        &self,
        members: impl IntoIterator<Item = (&'static str, Value)>,
    ) -> io::Result<()> {
        // In the order given: a map would sort the members, and readers expect the target first.
        let members: Vec<_> = members
            .into_iter()
            .map(|(key, value)| format!("{}:{value}", Value::from(key)))
            .collect();
        self.write(format!("{{{}}}\n", members.join(",")).as_bytes())
    }
}
