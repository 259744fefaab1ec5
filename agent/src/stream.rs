//! Byte streams to and from another context, with credit: a reader that stops reading stops its writer.

use crate::error::{Error, Reason};
use crate::id::FlowKey;
use crate::shared::Shared;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
struct State {
    inbox: VecDeque<Vec<u8>>,
    ended: bool,
    failed: Option<String>,
    /// Counts wake-ups, so that none is missed between looking and waiting.
    turn: u64,
}

/// What the broker and the two ends of a stream share.
#[derive(Default)]
pub(crate) struct StreamState {
    state: Mutex<State>,
    changed: Condvar,
}

impl StreamState {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes came.
    pub fn push(&self, bytes: Vec<u8>, end: bool) {
        let mut state = self.lock();
        if !bytes.is_empty() {
            state.inbox.push_back(bytes);
        }
        state.ended |= end;
    }

    /// The stream is over before its end.
    pub fn fail(&self, why: String) {
        self.lock().failed.get_or_insert(why);
    }

    /// Something changed for whoever waits.
    pub fn wake(&self) {
        self.lock().turn += 1;
        self.changed.notify_all();
    }
}

/// The receiving end of a byte stream. It ends where the writer said so; a stream that breaks off gives an error.
pub struct Reader {
    pub(crate) shared: Arc<Shared>,
    pub(crate) flow: FlowKey,
    pub(crate) state: Arc<StreamState>,
}

impl Reader {
    /// The next piece as it came, or none at the end. Waits for it.
    ///
    /// # Errors
    /// When the stream broke off.
    pub fn next_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.take(usize::MAX)
    }

    /// The next piece, or as much of it as is wanted; credit is given for what is taken and no more.
    fn take(&mut self, most: usize) -> io::Result<Option<Vec<u8>>> {
        let mut state = self.state.lock();
        loop {
            if let Some(mut chunk) = state.inbox.pop_front() {
                if chunk.len() > most {
                    state.inbox.push_front(chunk.split_off(most));
                }
                drop(state);
                self.shared.with(|core| core.node.consume(self.flow, chunk.len()));
                return Ok(Some(chunk));
            }
            if state.ended {
                return Ok(None);
            }
            if let Some(why) = &state.failed {
                // Not the text itself: std's error of a text knows how to show it escaped, by tables of Unicode.
                let why = Error::Function(why.clone());
                return Err(io::Error::new(io::ErrorKind::ConnectionAborted, why));
            }
            state = self.state.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let Some(chunk) = self.take(buffer.len())? else { return Ok(0) };
        buffer[..chunk.len()].copy_from_slice(&chunk);
        Ok(chunk.len())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let over = {
            let state = self.state.lock();
            state.ended || state.failed.is_some()
        };
        if !over {
            self.shared.with(|core| {
                core.node.reset(self.flow, Reason::Cancelled, "the reader was dropped");
                core.forget(self.flow);
            });
        }
    }
}

/// The sending end of a byte stream. Dropping it says that the stream has ended.
pub struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) flow: FlowKey,
    pub(crate) state: Arc<StreamState>,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        loop {
            let turn = self.state.lock().turn;
            match self.shared.with(|core| core.node.send(self.flow, bytes, false, false)) {
                None => return Err(io::ErrorKind::BrokenPipe.into()),
                Some(0) => {}
                Some(count) => return Ok(count),
            }
            let mut state = self.state.lock();
            while state.turn == turn {
                state = self.state.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.with(|core| {
            core.node.send(self.flow, &[], true, false);
            core.forget(self.flow);
        });
    }
}
