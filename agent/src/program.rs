//! Running a program in a context: its arguments as given, its streams as they come, its end as it was.

use crate::context::Context;
use crate::error::{Error, Result};
use crate::id::{FlowKey, Handle};
use crate::node::Opening;
use crate::remote::read_value;
use crate::reply::Slot;
use crate::shared::{Endpoint, Shared};
use crate::stream::{Reader, StreamState, Writer};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

/// The request to the service that runs programs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub argv: Vec<Vec<u8>>,
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    pub clear_env: bool,
    pub directory: Option<Vec<u8>>,
}

/// How a program ended: exactly one of the two is there.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ExitStatus {
    /// Its status, where it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl ExitStatus {
    /// Whether it ended by itself with status 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// As a shell says it: the status, or 128 and the signal.
    #[must_use]
    pub fn shell_code(&self) -> i32 {
        self.code.or(self.signal.map(|signal| 128 + signal)).unwrap_or(255)
    }
}

/// A program to be run in a context; mirrors [`std::process::Command`]. No shell is involved.
#[derive(Clone)]
pub struct Command {
    context: Context,
    order: Order,
}

impl Command {
    pub(crate) fn new(context: &Context, program: &OsStr) -> Command {
        let order = Order {
            argv: vec![program.as_bytes().to_vec()],
            env: Vec::new(),
            clear_env: false,
            directory: None,
        };
        Command { context: context.clone(), order }
    }

    /// Adds an argument, given to the program as it is.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Command {
        self.order.argv.push(argument.as_ref().as_bytes().to_vec());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, arguments: I) -> Command {
        self.order.argv.extend(arguments.into_iter().map(|argument| argument.as_ref().as_bytes().to_vec()));
        self
    }

    /// Sets a variable of its environment, beside those the agent has.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Command {
        self.order.env.push((key.as_ref().as_bytes().to_vec(), value.as_ref().as_bytes().to_vec()));
        self
    }

    /// Starts from an empty environment.
    #[must_use]
    pub fn env_clear(mut self) -> Command {
        self.order.clear_env = true;
        self
    }

    /// Sets the directory it starts in.
    #[must_use]
    pub fn current_dir(mut self, directory: impl AsRef<OsStr>) -> Command {
        self.order.directory = Some(directory.as_ref().as_bytes().to_vec());
        self
    }

    /// Starts it. Returns at once: that it could not be started is said by [`Process::wait`].
    ///
    /// # Errors
    /// When the order cannot be sent.
    pub fn spawn(&self) -> Result<Process> {
        let shared = self.context.shared()?;
        let context = self.context.name();
        let request =
            crate::codec::to_bytes(&self.order).map_err(|error| crate::error::codec_error(context, error))?;
        let opening = Opening { streams: 3, answering: 0b110, ..Opening::default() };
        let states: [Arc<StreamState>; 3] = Default::default();
        let stream =
            |flow: FlowKey, number: u32| FlowKey { handle: Handle(flow.handle.0 + 1 + number), ..flow };
        let (flow, slot) =
            shared.request(self.context.id(), Handle::EXEC, request, opening, |core, flow| {
                for (number, state) in (0..).zip(&states) {
                    core.endpoints.insert(stream(flow, number), Endpoint::Stream(Arc::clone(state)));
                }
            })?;
        let mut streams = (0..).zip(states).map(|(number, state)| (stream(flow, number), state));
        let mut next = || streams.next().expect("there are three");
        let (stdin, stdout, stderr) = (next(), next(), next());
        let reader = |(flow, state)| Reader { shared: Arc::clone(&shared), flow, state };
        Ok(Process {
            context: self.context.clone(),
            flow,
            slot,
            stdin: Some(Writer { shared: Arc::clone(&shared), flow: stdin.0, state: stdin.1 }),
            stdout: Some(reader(stdout)),
            stderr: Some(reader(stderr)),
            shared: Arc::clone(&shared),
            waited: false,
        })
    }

    /// Runs it with empty stdin and gives all it printed.
    ///
    /// # Errors
    /// When it could not be started or the context was lost.
    pub fn output(&self) -> Result<Output> {
        let mut process = self.spawn()?;
        drop(process.stdin.take());
        let mut streams = (process.stdout.take(), process.stderr.take());
        let read = |reader: &mut Option<Reader>| {
            let mut bytes = Vec::new();
            // A stream that breaks off is told by the status, with the reason.
            let _ = reader.as_mut().map(|reader| reader.read_to_end(&mut bytes));
            bytes
        };
        let (stdout, stderr) = std::thread::scope(|scope| {
            let stderr = scope.spawn(|| read(&mut streams.1));
            (read(&mut streams.0), stderr.join().unwrap_or_default())
        });
        Ok(Output { status: process.wait()?, stdout, stderr })
    }
}

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
    context: Context,
    shared: Arc<Shared>,
    flow: FlowKey,
    slot: Arc<Slot>,
    waited: bool,
    /// Its stdin; dropping it is the end of input.
    pub stdin: Option<Writer>,
    /// Its stdout.
    pub stdout: Option<Reader>,
    /// Its stderr.
    pub stderr: Option<Reader>,
}

impl Process {
    /// Waits for its end. Its stdin is closed first.
    ///
    /// # Errors
    /// When it could not be started or the context was lost.
    pub fn wait(mut self) -> Result<ExitStatus> {
        drop(self.stdin.take());
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

    fn read(&self, reply: Result<Vec<u8>>) -> Result<ExitStatus> {
        read_value(self.context.name(), &reply.map_err(|error| error.naming(self.context.name()))?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.waited {
            self.shared.with(|core| {
                core.node.reset(self.flow, crate::error::Reason::Cancelled, "nobody waits for it");
                core.forget(self.flow);
            });
        }
    }
}
