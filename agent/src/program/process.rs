//! A program that runs in a context: waited for, read, let go.

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
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// What a program printed and how it ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// All of its stdout.
    pub stdout: Vec<u8>,
    /// All of its stderr.
    pub stderr: Vec<u8>,
}

/// A program that runs in a context. Dropping it ends the program.
pub struct Process {
    pub(crate) context: Context,
    asked: Asked,
    shared: Arc<NodeHandle>,
    flow: FlowKey,
    slot: Arc<ReplySlot>,
    waited: bool,
    /// Its stdin; dropping it is the end of input.
    pub stdin: Option<Writer>,
    /// Its stdout.
    pub stdout: Option<Reader>,
    /// Its stderr.
    pub stderr: Option<Reader>,
}

/// Signals a program, from any thread; obtained by [`Process::signaller`].
#[derive(Clone)]
pub struct Signaller {
    shared: Arc<NodeHandle>,
    flow: FlowKey,
}

impl Signaller {
    /// Sends a signal to the program's process group. Returns at once; one that has ended is no error. A program that gets SIGHUP,
    /// SIGINT, SIGQUIT, SIGTERM or SIGKILL this way takes along all that it has started when it ends, and its status is its own.
    ///
    /// # Errors
    /// When the tree is shut down.
    pub fn signal(&self, signal: i32) -> Result<()> {
        let order = SignalRequest { program: self.flow.handle, signal };
        let request =
            offshoot_codec::to_bytes(&order).map_err(|error| offshoot_proto::error::unsent("it", error))?;
        let opening = Opening::default();
        self.shared.request(self.flow.peer, Handle::SIGNAL, request, opening, |_, _| {}).map(drop)
    }
}

impl Process {
    /// What signals it, also while somebody waits for it.
    #[must_use]
    pub fn signaller(&self) -> Signaller {
        Signaller { shared: Arc::clone(&self.shared), flow: self.flow }
    }

    /// One that was asked for, with stdout and stderr.
    pub(crate) fn new(
        context: &Context,
        asked: Asked,
        (flow, slot): (FlowKey, Arc<ReplySlot>),
        stdin: Writer,
        [stdout, stderr]: [Reader; 2],
    ) -> Process {
        let (context, shared) = (context.clone(), Arc::clone(context.node()));
        let (stdin, stdout, stderr) = (Some(stdin), Some(stdout), Some(stderr));
        Process { context, asked, shared, flow, slot, waited: false, stdin, stdout, stderr }
    }

    /// Waits for its end. Its stdin is closed first; what it prints on streams that were not taken is read and lost.
    ///
    /// # Errors
    /// When it could not be started or the context was lost; [`Error::Ended`] where it did not end by itself, whatever
    /// status it gave.
    pub fn wait(mut self) -> Result<ExitStatus> {
        drop(self.stdin.take());
        self.read_outputs(|_, _| {});
        self.end()
    }

    /// Closes its stdin, and gives all it prints on streams that were not taken.
    pub(crate) fn output(mut self) -> Result<Output> {
        drop(self.stdin.take());
        let mut printed = [Vec::new(), Vec::new()];
        self.read_outputs(|number, bytes| printed[number].extend_from_slice(bytes));
        let [stdout, stderr] = printed;
        Ok(Output { status: self.end()?, stdout, stderr })
    }

    /// Reads the streams that were not taken to their ends. One that breaks off is told by the status, with the reason.
    fn read_outputs(&mut self, mut take: impl FnMut(usize, &[u8])) {
        let mut readers = [self.stdout.take(), self.stderr.take()];
        block_on(poll_fn(|cx| {
            for (number, slot) in readers.iter_mut().enumerate() {
                while let Some(reader) = slot {
                    match reader.poll_chunk(cx.waker()) {
                        Poll::Ready(Some(bytes)) => take(number, &bytes),
                        Poll::Ready(None) => *slot = None,
                        Poll::Pending => break,
                    }
                }
            }
            if readers.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
        }));
    }

    fn end(mut self) -> Result<ExitStatus> {
        self.waited = true;
        match self.slot.wait(None) {
            Some(reply) => self.read(reply),
            None => Err(Error::ShutDown),
        }
    }

    /// Waits for its end, but not longer than `timeout`; none when it still runs.
    ///
    /// # Errors
    /// As [`Process::wait`].
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<Option<ExitStatus>> {
        match self.slot.wait(Some(timeout)) {
            Some(reply) => {
                self.waited = true;
                self.read(reply).map(Some)
            }
            None => Ok(None),
        }
    }

    /// Lets it go: it outlives its context and the tree, whoever is killed, with all that it has started and will start.
    /// A log record of level info says under the context's name that `name` was let go. Gives its process number.
    ///
    /// Nobody reads what it prints any more and nobody learns how it ends: its stdin is at its end, and what it writes to
    /// stdout and stderr fails as with a closed pipe, which ends most programs by SIGPIPE. One that is to outlive that has
    /// both in files, or ignores the signal; [`Command::detached`](crate::program::command::Command::detached) starts one without streams.
    ///
    /// # Errors
    /// When it was not started as [detachable](crate::program::command::Command::detachable), has ended, has changed user, or the context was lost.
    /// It is dropped then, and thereby ended.
    pub fn detach(mut self, name: impl Into<String>) -> Result<u32> {
        let context = self.context.name();
        let order = DetachRequest::new(context, self.flow.handle, name.into())?;
        let process = self.shared.ask((self.flow.peer, context), Handle::DETACH, &order)?;
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

impl Drop for Process {
    fn drop(&mut self) {
        if !self.waited {
            self.shared.with(|core| {
                core.node.reset(self.flow, Reason::Cancelled, "nobody waits for it");
                core.forget(self.flow);
            });
        }
    }
}
