//! Looking into contexts: what each of them is about right now, on demand and on a signal.

use crate::broker::describe::TARGET as DUMP_TARGET;
use crate::context::Context;
use crate::router::Router;
use crate::runtime::handle::NodeHandle;
use crate::runtime::slot::ReplySlot;
use offshoot_proto::ContextId;
use offshoot_proto::Error;
use offshoot_proto::FlowKey;
use offshoot_proto::Handle;
use offshoot_proto::Reason;
use offshoot_proto::Result;
use offshoot_proto::message::outcome::read_value;
use offshoot_proto::node::Opening;
use offshoot_proto::text::harmless;
use offshoot_proto::text::shortened;
use offshoot_sys as sys;
use offshoot_sys::signal::{Notification, SIGUSR2, notify};
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

/// The longest text that is taken, in bytes.
const LIMIT: usize = 256 << 10;

/// How long contexts may take to answer, all together, when a signal asks.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many contexts are asked then.
const ASKED: usize = 256;

/// What a context is about at one moment: its links and their queues, routes, services, flows with their credit, children,
/// programs, calls, threads and names. Each section has at most 64 lines. Its form is for people and may change.
#[derive(Clone, Debug)]
pub struct Dump {
    text: String,
}

impl Dump {
    fn new(text: &str) -> Dump {
        let lines = shortened(text, LIMIT).split('\n').map(harmless);
        Dump { text: lines.collect::<Vec<_>>().join("\n") }
    }

    /// The lines of one section: `context`, `ancestors`, `filter`, `links`, `routes`, `services`, `flows`, `children`, `programs`, `calls`, `threads` or
    /// `names`.
    pub fn section(&self, title: &str) -> impl Iterator<Item = &str> {
        let head = move |line: &&str| line.strip_suffix(':') == Some(title);
        let lines = self.text.lines().skip_while(move |line| !head(line)).skip(1);
        lines.take_while(|line| line.starts_with("  ")).map(str::trim_start)
    }
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Context {
    /// What the context is about right now. It is answered by the thread that moves its bytes, so that functions which hang are
    /// no obstacle. A context answers itself and those above it.
    ///
    /// # Errors
    /// When the context is not reached, or does not obey this one.
    pub fn dump(&self) -> Result<Dump> {
        let (_, slot) = ask(self.node(), self.id())?;
        read(self.name(), slot.wait(None).unwrap_or(Err(Error::ShutDown)))
    }
}

fn ask(shared: &Arc<NodeHandle>, id: ContextId) -> Result<(FlowKey, Arc<ReplySlot>)> {
    shared.request(id, Handle::DUMP, Vec::new(), Opening::default(), |_, _| {})
}

fn read(name: &str, reply: Result<Vec<u8>>) -> Result<Dump> {
    let reply = reply.map_err(|error| error.naming(name))?;
    Ok(Dump::new(&read_value::<String>(name, &reply)?))
}

impl Router {
    /// From now on until this tree ends, the signal SIGUSR2 to this process has dumps ([`Context::dump`]) of it and of all contexts
    /// below logged: an event of level info for each line, with the target `offshoot::debug` and the field `context`. What does not
    /// answer within two seconds is named. Agents need no such call: each logs its own dump when it gets that signal.
    ///
    /// # Errors
    /// When this router does not own its tree, or the system gives no descriptors or threads.
    pub fn enable_debug(&self) -> Result<()> {
        let context = Context::clone(self);
        self.debug_by(move || Debugging::start(context))
    }
}

/// What waits for the signal.
pub(crate) struct Debugging {
    signal: Option<Notification>,
    thread: Option<JoinHandle<()>>,
}

impl Debugging {
    fn start(context: Context) -> Result<Debugging> {
        let failed = |error| Error::system("waiting for the signal to debug", error);
        let (signals, end) = sys::pipe().map_err(failed)?;
        let signal = notify(SIGUSR2, end).map_err(failed)?;
        let mut debugging = Debugging { signal: Some(signal), thread: None };
        let mut signals = File::from(signals);
        let watch = move || {
            let mut some = [0; 64];
            while signals.read(&mut some).is_ok_and(|count| count > 0) {
                log_all(&context);
            }
        };
        let thread = std::thread::Builder::new().name("debug".into()).spawn(watch).map_err(failed)?;
        debugging.thread = Some(thread);
        Ok(debugging)
    }
}

impl Drop for Debugging {
    fn drop(&mut self) {
        // With its action the writing end of the pipe is gone, and so is the thread at the reading one.
        self.signal = None;
        if let Some(thread) = self.thread.take() {
            let _panicked_and_said_so = thread.join();
        }
    }
}

/// Asks this context and all below it, and logs what they answer.
fn log_all(context: &Context) {
    let shared = context.node();
    let mut everyone: Vec<ContextId> = shared.lock().node.router.below().map(|(id, _)| id).collect();
    everyone.push(context.id());
    everyone.sort_unstable();
    if everyone.len() > ASKED {
        tracing::info!(target: DUMP_TARGET, "{} contexts more are not asked", everyone.len() - ASKED);
        everyone.truncate(ASKED);
    }
    let asked: Vec<_> = everyone.into_iter().map(|id| (context.by_id(id), ask(shared, id))).collect();
    let end = Instant::now() + PATIENCE;
    for (of, asked) in asked {
        let name = of.name();
        let dump = asked.and_then(|(flow, slot)| {
            let left = end.saturating_duration_since(Instant::now());
            slot.wait(Some(left)).map_or_else(|| Err(give_up(shared, flow, name)), |reply| read(name, reply))
        });
        match dump {
            Ok(dump) => dump.text.lines().for_each(|line| {
                tracing::info!(target: DUMP_TARGET, context = name, "{line}");
            }),
            Err(error) => tracing::info!(target: DUMP_TARGET, context = name, "no answer: {error}"),
        }
    }
}

fn give_up(shared: &Arc<NodeHandle>, flow: FlowKey, name: &str) -> Error {
    shared.with(|core| {
        core.node.reset(flow, Reason::Cancelled, "nobody waits for it");
        core.forget(flow);
    });
    Error::TimedOut { context: name.into(), after_ms: PATIENCE.as_millis() as u64 }
}
