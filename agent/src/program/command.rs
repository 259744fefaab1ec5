//! A program to run in a context, with its arguments, environment, directory and lifetime.

use crate::channel::pipe::Reader;
use crate::channel::pipe::Writer;
use crate::context::Context;
use crate::program::process::Output;
use crate::program::process::Process;
use crate::program::start_error::Asked;
use crate::runtime::state::Endpoint;
use crate::runtime::stream_state::StreamState;
use offshoot_proto::ContextId;
use offshoot_proto::Error;
use offshoot_proto::FlowKey;
use offshoot_proto::Handle;
use offshoot_proto::Result;
use offshoot_proto::message::exec::ExecRequest;
use offshoot_proto::message::exec::ExitStatus;
use offshoot_proto::message::exec::Lifetime;
use offshoot_proto::message::outcome::read_value;
use offshoot_proto::node::Opening;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;
use std::time::Duration;

impl Context {
    /// Returns a builder for a program that runs in the context. Nothing is started yet.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        Command::new(self, program.as_ref())
    }
}

/// A program to run in a context, after [`std::process::Command`]. No shell is involved: arguments
/// reach the program unchanged.
///
/// The program runs on the context's machine as the user of the context, for instance the user of a
/// `sudo` hop. Its environment and directory are those of the context's agent unless they are set:
/// a login by ssh decides both on a remote host, and a program of the root context gets those of
/// this process. `PATH` is searched on the context's machine.
#[derive(Clone)]
pub struct Command {
    pub(crate) context: Context,
    order: ExecRequest,
}

impl Command {
    pub(crate) fn new(context: &Context, program: &OsStr) -> Self {
        let order = ExecRequest {
            argv: vec![program.as_bytes().to_vec()],
            env: Vec::new(),
            clear_env: false,
            directory: None,
            tie: Lifetime::Bound,
            end_all: false,
            wait_streams: 1000,
            grace: 400,
        };
        Self {
            context: context.clone(),
            order,
        }
    }

    /// Adds an argument, which is passed unchanged.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.order.argv.push(argument.as_ref().as_bytes().to_vec());
        self
    }

    /// Adds arguments, which are passed unchanged.
    #[must_use]
    pub fn args<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, arguments: I) -> Self {
        self.order.argv.extend(
            arguments
                .into_iter()
                .map(|argument| argument.as_ref().as_bytes().to_vec()),
        );
        self
    }

    /// Sets a variable of the program's environment, in addition to those of the agent.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.order.env.push((
            key.as_ref().as_bytes().to_vec(),
            value.as_ref().as_bytes().to_vec(),
        ));
        self
    }

    /// Starts with an empty environment, to which [`env`](Command::env) adds.
    #[must_use]
    pub fn env_clear(mut self) -> Self {
        self.order.clear_env = true;
        self
    }

    /// Sets the directory that the program starts in. A relative path begins at the agent's
    /// directory.
    #[must_use]
    pub fn current_dir(mut self, directory: impl AsRef<OsStr>) -> Self {
        self.order.directory = Some(directory.as_ref().as_bytes().to_vec());
        self
    }

    /// Allows [`Process::detach`]. The program is then ended by the agent's guard if the agent is
    /// killed; otherwise the kernel does that, which cannot be undone for a running program.
    #[must_use]
    pub fn detachable(mut self) -> Self {
        self.order.tie = Lifetime::Loose;
        self
    }

    /// Ends all processes that the program has started when it ends, daemons included. By default a
    /// process in a session of its own that holds none of the program's streams, as a daemon does,
    /// stays when the program ends by itself, and outlives its context; all others end with the
    /// program. A program that is ended from outside always takes all of its processes along.
    #[must_use]
    pub fn end_all(mut self) -> Self {
        self.order.end_all = true;
        self
    }

    /// Sets how long stdout and stderr stay open after the program has ended, while processes that
    /// it started hold them and write nothing; one second unless set. They stay open as long as one
    /// of these processes writes, and no process is ended for it.
    #[must_use]
    pub fn wait_streams(mut self, silence: Duration) -> Self {
        self.order.wait_streams = u32::try_from(silence.as_millis()).unwrap_or(u32::MAX);
        self
    }

    /// Sets the time between SIGTERM and SIGKILL for a program that is cancelled, by a deadline or
    /// because its [`Process`] is dropped; 400 ms unless set. A program that ends with its context
    /// gets the time that the end of the context allows.
    #[must_use]
    pub fn grace(mut self, time: Duration) -> Self {
        self.order.grace = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        self
    }

    /// Starts the program detached: it and all processes that it starts outlive its context and the
    /// tree, even if those are killed. Its stdin, stdout and stderr are /dev/null, and its exit
    /// status is not reported. A log record of level info, under the context's name, reports `name`
    /// and the process id. Returns the process id.
    ///
    /// # Errors
    /// Returns an error if the program could not be started or the context was lost.
    pub fn detached(&self, name: impl Into<String>) -> Result<u32> {
        let shared = Arc::clone(self.context.node());
        let context = self.context.name();
        let name = name.into();
        self.check(Some(&name))?;
        let (place, order) = self.place(Lifetime::Free(name))?;
        let request = offshoot_codec::to_bytes(&order)
            .map_err(|error| offshoot_proto::error::unsent(context, error))?;
        let (_, slot) =
            shared.request(place, Handle::EXEC, request, Opening::default(), |_, _| {})?;
        let reply = slot
            .wait(None)
            .unwrap_or(Err(Error::ShutDown))
            .map_err(|error| error.naming(context))?;
        self.asked()
            .refusal(context, &reply)
            .map_or_else(|| read_value(context, &reply), Err)
    }

    /// Refuses values that the system would cut off at a NUL byte.
    fn check(&self, name: Option<&str>) -> Result<()> {
        let ExecRequest {
            argv,
            env,
            directory,
            ..
        } = &self.order;
        let cut = |text: &[u8]| text.contains(&0);
        let argument = argv.iter().position(|word| cut(word));
        let variable = env.iter().find_map(|(key, value)| {
            let key_text = String::from_utf8_lossy(key);
            match key {
                _ if key.is_empty() => Some("a variable of its environment has no name".into()),
                _ if cut(key) => Some(format!(
                    "the name of the variable {key_text:?} has a NUL byte"
                )),
                _ if key.contains(&b'=') => {
                    Some(format!("the name of the variable {key_text:?} has a '='"))
                }
                _ if cut(value) => Some(format!(
                    "the value of the variable {key_text} has a NUL byte"
                )),
                _ => None,
            }
        });
        let wrong = match argument {
            Some(0) => Some("its name has a NUL byte".into()),
            Some(at) => Some(format!("its argument {at} has a NUL byte")),
            None if directory.as_deref().is_some_and(cut) => {
                Some("its directory has a NUL byte".into())
            }
            None if name.is_some_and(|name| cut(name.as_bytes())) => {
                Some("its detached name has a NUL byte".into())
            }
            None => variable,
        };
        let Some(wrong) = wrong else { return Ok(()) };
        Err(Error::Spawn {
            context: self.context.name().into(),
            program: self.asked().program.replace('\0', "\\0"),
            errno: offshoot_sys::errno::EINVAL,
            detail: format!("{wrong}, which cannot be passed to a program"),
        })
    }

    /// Returns the request as text, for errors.
    fn asked(&self) -> Asked {
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        Asked {
            program: self.order.argv.first().map(text).unwrap_or_default(),
            alone: self.order.argv.len() == 1,
            directory: self.order.directory.as_ref().map(text),
        }
    }

    /// Returns the context that runs the program, and the request to it. Programs of the root run
    /// below a child of it that has a guard, because the root may be killed as well; without an
    /// agent for this machine they are children of the root.
    fn place(&self, tie: Lifetime) -> Result<(ContextId, ExecRequest)> {
        let mut order = ExecRequest {
            tie,
            ..self.order.clone()
        };
        let place = self.context.place_of_programs()?;
        if place != self.context.id() {
            order.directory = match (std::env::current_dir(), order.directory.take()) {
                (Ok(here), Some(there)) => Some(
                    here.join(OsStr::from_bytes(&there))
                        .into_os_string()
                        .into_vec(),
                ),
                (Ok(here), None) => Some(here.into_os_string().into_vec()),
                (Err(_), given) => given,
            };
            // The child has an environment of its own, but the program gets that of this process.
            if !std::mem::replace(&mut order.clear_env, true) {
                let given = std::mem::take(&mut order.env);
                let own =
                    std::env::vars_os().map(|(key, value)| (key.into_vec(), value.into_vec()));
                order.env = own
                    .filter(|(key, _)| !given.iter().any(|(other, _)| other == key))
                    .collect();
                order.env.extend(given);
            }
        }
        Ok((place, order))
    }

    /// Starts the program. Returns at once: [`Process::wait`] reports a program that could not
    /// start.
    ///
    /// # Errors
    /// Returns [`Error::Spawn`] for a NUL byte in the program, an argument, a variable or the
    /// directory, and for a variable without a name or with a `=` in its name; another error if the
    /// request cannot be sent.
    pub fn spawn(&self) -> Result<Process> {
        let shared = Arc::clone(self.context.node());
        let context = self.context.name();
        self.check(None)?;
        let (place, order) = self.place(self.order.tie.clone())?;
        let request = offshoot_codec::to_bytes(&order)
            .map_err(|error| offshoot_proto::error::unsent(context, error))?;
        let opening = Opening {
            streams: 3,
            answering: 0b110,
            ..Opening::default()
        };
        let states: [Arc<StreamState>; 3] =
            std::array::from_fn(|_| StreamState::new(self.context.scope()));
        let stream = |flow: FlowKey, number: u32| FlowKey {
            handle: Handle(flow.handle.0 + 1 + number),
            ..flow
        };
        let (flow, slot) =
            self.context
                .ask(place, Handle::EXEC, request, opening, |core, flow| {
                    for (number, state) in (0..).zip(&states) {
                        core.endpoints
                            .insert(stream(flow, number), Endpoint::Stream(Arc::clone(state)));
                    }
                })?;
        let mut streams = (0..)
            .zip(states)
            .map(|(number, state)| (stream(flow, number), state));
        let mut next = || streams.next().expect("there are three");
        let (stdin, stdout, stderr) = (next(), next(), next());
        let reader = |(flow, state)| Reader::bound(Arc::clone(&shared), flow, state);
        let stdin = Writer::bound(Arc::clone(&shared), stdin.0, stdin.1);
        let outputs = [reader(stdout), reader(stderr)];
        Ok(Process::new(
            &self.context,
            self.asked(),
            (flow, slot),
            stdin,
            outputs,
        ))
    }

    /// Runs the program with empty stdin and returns its exit status. Its output is read and
    /// discarded.
    ///
    /// # Errors
    /// Returns an error as [`Process::wait`] does.
    pub fn status(&self) -> Result<ExitStatus> {
        self.spawn()?.wait()
    }

    /// Runs the program with empty stdin and returns its exit status and its whole output. The
    /// output is kept in memory without a limit, so that a program that prints a gigabyte takes a
    /// gigabyte here; to read it as it arrives, [`spawn`](Command::spawn) and take
    /// [`stdout`](Process::stdout).
    ///
    /// # Errors
    /// Returns an error as [`Process::wait`] does.
    pub fn output(&self) -> Result<Output> {
        self.spawn()?.output()
    }
}
