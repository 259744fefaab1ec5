//! Byte streams between contexts, with credit: a reader that stops reading makes its writer wait.

use crate::channel::endpoint::ChannelEnd;
use crate::context::Context;
use crate::context::transfer::soon;
use crate::runtime::handle::NodeHandle;
use crate::runtime::stream_state::StreamState;
use offshoot_proto::Error;
use offshoot_proto::FlowKey;
use offshoot_proto::Result;
use offshoot_proto::message::channel::EndpointRole;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;
use std::io;
use std::io::Read;
use std::io::Write;
use std::sync::Arc;
use std::task::Poll;
use std::task::Waker;

fn broken(error: &Error) -> io::Error {
    // An error made of a text would link the Unicode tables by which std escapes it.
    io::Error::new(io::ErrorKind::ConnectionAborted, error.clone())
}

impl Context {
    /// Creates a byte stream in this process, whichever context this is: the reader reads what the
    /// writer writes. Both ends can be sent to other contexts, as an argument or a result, before
    /// they are used. A writer has to be [finished](Writer::finish).
    ///
    /// # Errors
    /// Returns an error if the tree is shut down.
    pub fn pipe(&self) -> Result<(Writer, Reader)> {
        let [writer, reader] = ChannelEnd::pair(&self.own())?;
        Ok((Writer::of(writer), Reader::of(reader)))
    }
}

/// The receiving end of a byte stream. A finished stream ends; a stream that breaks off gives an
/// error. Dropping the reader resets the stream: writes fail from then on.
pub struct Reader {
    socket: ChannelEnd,
    /// True once a poll has returned the error of the stream.
    broken: bool,
}

impl Reader {
    pub(crate) fn bound(shared: Arc<NodeHandle>, flow: FlowKey, state: Arc<StreamState>) -> Self {
        Self::of(ChannelEnd::bound(shared, flow, state))
    }

    fn of(socket: ChannelEnd) -> Self {
        Self {
            socket,
            broken: false,
        }
    }

    /// Waits for the next chunk of bytes. Returns none at the end.
    ///
    /// # Errors
    /// Returns an error if the stream broke off.
    pub fn next_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.take(usize::MAX)
    }

    /// Polls for the next chunk; none at the end, and after an error.
    pub(crate) fn poll_chunk(&mut self, waker: &Waker) -> Poll<io::Result<Option<Vec<u8>>>> {
        if self.broken {
            return Poll::Ready(Ok(None));
        }
        let found = match self.socket.bind(EndpointRole::Reader) {
            Ok((shared, flow, state)) => {
                let found = std::task::ready!(state.poll(waker));
                if let Ok(Some(chunk)) = &found {
                    shared.with(|core| core.node.consume(flow, chunk.len()));
                }
                found
            }
            Err(error) => Err(error),
        };
        self.broken = found.is_err();
        Poll::Ready(found.map_err(|error| broken(&error)))
    }

    /// Returns the next chunk, at most `most` bytes of it. Credit is given only for the bytes
    /// returned.
    fn take(&mut self, most: usize) -> io::Result<Option<Vec<u8>>> {
        let (shared, flow, state) = self
            .socket
            .bind(EndpointRole::Reader)
            .map_err(|error| broken(&error))?;
        match state.wait_for(most, None) {
            Some(Ok(Some(chunk))) => {
                shared.with(|core| core.node.consume(flow, chunk.len()));
                Ok(Some(chunk))
            }
            Some(Ok(None)) | None => Ok(None),
            Some(Err(error)) => Err(broken(&error)),
        }
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let Some(chunk) = self.take(buffer.len())? else {
            return Ok(0);
        };
        buffer[..chunk.len()].copy_from_slice(&chunk);
        Ok(chunk.len())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.socket.give_up("the reader was dropped");
    }
}

/// The sending end of a byte stream. Writing blocks while the reader does not read.
///
/// The writer of a [pipe](Context::pipe) has to be [finished](Writer::finish): if it is dropped
/// earlier, by a `?` or a panic, the reader gets an error where it expects the end, so that half a
/// file is not taken for a whole one. The stdin of a [program](crate::program::process::Process)
/// ends when its writer is dropped, as in the standard library. A program cannot tell an error from
/// an end: if its writer [fails](Writer::fail), is dropped by a panic or is lost with its context,
/// the program is ended before it sees the end of its stdin, and [`wait`](crate::Process::wait)
/// returns [`Error::Ended`].
pub struct Writer {
    socket: ChannelEnd,
    /// True if dropping it sends nothing.
    done: bool,
    /// True if it is the stdin of a program.
    stdin: bool,
}

impl Writer {
    pub(crate) fn bound(shared: Arc<NodeHandle>, flow: FlowKey, state: Arc<StreamState>) -> Self {
        Self {
            socket: ChannelEnd::bound(shared, flow, state),
            done: false,
            stdin: true,
        }
    }

    fn of(socket: ChannelEnd) -> Self {
        Self {
            socket,
            done: false,
            stdin: false,
        }
    }

    /// Ends the stream: the reader reaches its end after the bytes written so far.
    ///
    /// # Errors
    /// Returns an error if the reader is gone or the route to it was lost.
    pub fn finish(mut self) -> io::Result<()> {
        self.done = true;
        let (shared, flow, state) = self
            .socket
            .bind(EndpointRole::Writer)
            .map_err(|error| broken(&error))?;
        let ended = shared.with(|core| {
            let ended = core.node.send(flow, &[], true, false).is_some();
            core.forget(flow);
            ended
        });
        match state.failure() {
            Some(error) => Err(io::Error::new(io::ErrorKind::BrokenPipe, error)),
            None if ended => Ok(()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Breaks the stream off: the reader gets an error with this text instead of an end. A program
    /// whose stdin this is is ended.
    pub fn fail(mut self, why: &str) {
        self.done = true;
        self.socket.give_up(why);
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let (shared, flow, state) = self
            .socket
            .bind(EndpointRole::Writer)
            .map_err(|error| broken(&error))?;
        loop {
            let turn = state.turn();
            if let Some(error) = state.failure() {
                return Err(io::Error::new(io::ErrorKind::BrokenPipe, error));
            }
            match shared.with(|core| core.node.send(flow, bytes, false, false)) {
                None => return Err(io::ErrorKind::BrokenPipe.into()),
                Some(0) => state.wait_after(turn),
                Some(count) => return Ok(count),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        match self.socket.used() {
            Some(_) if self.stdin && std::thread::panicking() => {
                self.socket.give_up("its writer has panicked")
            }
            Some((shared, flow, _)) if self.stdin => soon(shared, move |core| {
                core.node.send(flow, &[], true, false);
                core.forget(flow);
            }),
            _ => self
                .socket
                .give_up("its writer was dropped before it was finished"),
        }
    }
}

impl Serialize for Reader {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.socket
            .leave(EndpointRole::Reader)?
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Reader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Ok(Self::of(ChannelEnd::arrive(
            deserializer,
            EndpointRole::Reader,
        )?))
    }
}

impl Serialize for Writer {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.socket
            .leave(EndpointRole::Writer)?
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Writer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Ok(Self::of(ChannelEnd::arrive(
            deserializer,
            EndpointRole::Writer,
        )?))
    }
}
