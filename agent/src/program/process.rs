//! A program that runs in a context: waiting, output, signals, detaching.

use crate::call::mode::block_on;
use crate::channel::pipe::Reader;
use crate::channel::pipe::Writer;
use crate::context::Context;
use crate::program::start_error::Asked;
use crate::runtime::handle::NodeHandle;
use crate::runtime::slot::ReplySlot;
use offshoot_proto::Error;
use offshoot_proto::FlowKey;
use offshoot_proto::Handle;
use offshoot_proto::Reason;
use offshoot_proto::Result;
use offshoot_proto::message::detach::DetachRequest;
use offshoot_proto::message::exec::ExecReply;
use offshoot_proto::message::exec::ExitStatus;
use offshoot_proto::message::exec::SignalRequest;
use offshoot_proto::message::outcome::read_value;
use offshoot_proto::node::Opening;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::task::Waker;
use std::time::Duration;

/// The output and exit status of a program.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Output {
    /// The exit status.
    pub status: ExitStatus,
    /// The whole stdout.
    pub stdout: Vec<u8>,
    /// The whole stderr.
    pub stderr: Vec<u8>,
}

/// A program that runs in a context. Dropping it ends the program, unlike [`std::process::Child`]:
/// SIGTERM to its process group and, after its [grace](crate::program::command::Command::grace),
/// SIGKILL to all processes that it has started. Dropping does not wait for that.
///
/// A program that fills stdout or stderr waits until they are read: take both and read them, or
/// leave them to [`wait`](Process::wait) and [`output`](crate::program::command::Command::output).
pub struct Process {
    pub(crate) context: Context,
    asked: Asked,
    shared: Arc<NodeHandle>,
    flow: FlowKey,
    slot: Arc<ReplySlot>,
    waited: bool,
    /// Its stdin. Dropping the writer ends the program's input.
    pub stdin: Option<Writer>,
    /// Its stdout.
    pub stdout: Option<Reader>,
    /// Its stderr.
    pub stderr: Option<Reader>,
}

/// A handle to send signals to a program from any thread, returned by [`Process::signaller`].
#[derive(Clone)]
pub struct Signaller {
    shared: Arc<NodeHandle>,
    flow: FlowKey,
}

impl Signaller {
    /// Sends a signal to the program's process group. Returns at once; a program that has ended is
    /// no error. A program that gets SIGHUP, SIGINT, SIGQUIT, SIGTERM or SIGKILL this way takes all
    /// processes that it has started along when it ends, and its exit status is reported as its
    /// own.
    ///
    /// # Errors
    /// Returns an error if the tree is shut down.
    pub fn signal(&self, signal: i32) -> Result<()> {
        let order = SignalRequest {
            program: self.flow.handle,
            signal,
        };
        let request = offshoot_codec::to_bytes(&order)
            .map_err(|error| offshoot_proto::error::unsent("it", error))?;
        let opening = Opening::default();
        self.shared
            .request(self.flow.peer, Handle::SIGNAL, request, opening, |_, _| {})
            .map(drop)
    }
}

impl Process {
    /// Returns a handle to send signals to the program, also while another thread waits for it.
    #[must_use]
    pub fn signaller(&self) -> Signaller {
        Signaller {
            shared: Arc::clone(&self.shared),
            flow: self.flow,
        }
    }

    /// Returns the program of a request.
    pub(crate) fn new(
        context: &Context,
        asked: Asked,
        (flow, slot): (FlowKey, Arc<ReplySlot>),
        stdin: Writer,
        [stdout, stderr]: [Reader; 2],
    ) -> Self {
        let (context, shared) = (context.clone(), Arc::clone(context.node()));
        let (stdin, stdout, stderr) = (Some(stdin), Some(stdout), Some(stderr));
        Self {
            context,
            asked,
            shared,
            flow,
            slot,
            waited: false,
            stdin,
            stdout,
            stderr,
        }
    }

    /// Closes stdin and waits until the program has ended. Output on streams that were not taken is
    /// read and discarded.
    ///
    /// # Errors
    /// Returns an error if the program could not be started or the context was lost, and
    /// [`Error::Ended`] if the program was ended from outside, whatever its exit status.
    pub fn wait(mut self) -> Result<ExitStatus> {
        drop(self.stdin.take());
        self.read_outputs(|_, _| {});
        self.end()
    }

    /// Closes stdin and returns the output on streams that were not taken.
    pub(crate) fn output(mut self) -> Result<Output> {
        drop(self.stdin.take());
        let mut printed = [Vec::new(), Vec::new()];
        self.read_outputs(|number, bytes| printed[number].extend_from_slice(bytes));
        let [stdout, stderr] = printed;
        Ok(Output {
            status: self.end()?,
            stdout,
            stderr,
        })
    }

    /// Reads the streams that were not taken to their ends. The reason for a stream that breaks off
    /// is part of the exit status.
    fn read_outputs(&mut self, mut take: impl FnMut(usize, &[u8])) {
        block_on(poll_fn(|cx| self.poll_outputs(cx.waker(), &mut take)));
    }

    fn poll_outputs(&mut self, waker: &Waker, take: &mut dyn FnMut(usize, &[u8])) -> Poll<()> {
        let readers = [&mut self.stdout, &mut self.stderr];
        let mut outcome = Poll::Ready(());
        for (number, slot) in readers.into_iter().enumerate() {
            while let Some(reader) = slot {
                match reader.poll_chunk(waker) {
                    Poll::Ready(Ok(Some(bytes))) => take(number, &bytes),
                    Poll::Ready(_) => *slot = None,
                    Poll::Pending => {
                        outcome = Poll::Pending;
                        break;
                    }
                }
            }
        }
        outcome
    }

    fn end(mut self) -> Result<ExitStatus> {
        self.waited = true;
        match self.slot.wait(None) {
            Some(reply) => self.read(reply),
            None => Err(Error::ShutDown),
        }
    }

    /// Waits until the program has ended, at most for `timeout`. Returns none if it still runs. It
    /// does not close stdin and does not read output: a program that waits for either does not end.
    ///
    /// # Errors
    /// Returns an error as [`Process::wait`] does.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<Option<ExitStatus>> {
        match self.slot.wait(Some(timeout)) {
            Some(reply) => {
                self.waited = true;
                self.read(reply).map(Some)
            }
            None => Ok(None),
        }
    }

    /// Detaches the program: it and all processes that it has started or will start outlive its
    /// context and the tree, even if those are killed. A log record of level info, under the
    /// context's name, reports `name` and the process id. Returns the process id.
    ///
    /// The output is not read any more and the exit status is not reported: stdin is at its end,
    /// and writes to stdout and stderr fail as on a closed pipe, which ends most programs by
    /// SIGPIPE. A program that is to survive this has both in files or ignores the signal;
    /// [`Command::detached`](crate::program::command::Command::detached) starts one without
    /// streams.
    ///
    /// # Errors
    /// Returns an error if the program was not started as
    /// [detachable](crate::program::command::Command::detachable), has ended, has changed its user,
    /// or if the context was lost. The program is dropped then, which ends it.
    pub fn detach(mut self, name: impl Into<String>) -> Result<u32> {
        let context = self.context.name();
        let order = DetachRequest::new(context, self.flow.handle, name.into())?;
        let process = self
            .shared
            .ask((self.flow.peer, context), Handle::DETACH, &order)?;
        self.waited = true;
        Ok(process)
    }

    fn read(&self, reply: Result<Vec<u8>>) -> Result<ExitStatus> {
        let name = self.context.name();
        let reply = reply.map_err(|error| error.naming(name))?;
        if let Some(refusal) = self.asked.refusal(name, &reply) {
            return Err(refusal);
        }
        let ExecReply { status, ended } = read_value(name, &reply)?;
        match ended {
            Some((reason, text)) => Err(Error::Ended {
                context: name.into(),
                reason,
                detail: offshoot_proto::text::one_line(&text),
            }),
            None => Ok(status),
        }
    }
}

/// Waits until the program has ended, as [`Process::wait`] does.
impl Future for Process {
    type Output = Result<ExitStatus>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        drop(self.stdin.take());
        std::task::ready!(self.poll_outputs(cx.waker(), &mut |_, _| {}));
        let reply = std::task::ready!(self.slot.poll(cx.waker()));
        self.waited = true;
        Poll::Ready(self.read(reply))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.waited {
            self.shared.with(|core| {
                core.node.reset(
                    self.flow,
                    Reason::Cancelled,
                    "its caller does not wait any more",
                );
                core.forget(self.flow);
            });
        }
    }
}
