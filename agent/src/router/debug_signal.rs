//! Dumps of a whole tree on a signal.

use crate::context::Context;
use crate::inspect::{TARGET, ask, read};
use crate::router::Router;
use crate::runtime::handle::NodeHandle;
use crate::runtime::wait;
use offshoot_proto::{ContextId, Error, FlowKey, Reason, Result};
use offshoot_sys as sys;
use offshoot_sys::signal::{Notification, SIGUSR2, notify};
use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// The time limit for the dumps of all contexts, after a signal.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most contexts that are asked.
const ASKED: usize = 256;

impl Router {
    /// Makes SIGUSR2 to this process log the dumps ([`Context::dump`]) of this context and all
    /// below it, until the tree ends: an event of level info for each line, with the target
    /// `offshoot::debug` and the field `context`. Contexts that do not answer within two seconds
    /// are listed. Agents do not need this call: each logs its own dump when it gets the signal.
    ///
    /// # Errors
    /// Returns an error if this router does not own its tree, or if the system has no descriptors
    /// or threads left.
    pub fn enable_debug(&self) -> Result<()> {
        let context = Context::clone(self);
        self.debug_by(move || Ok(Box::new(Debugging::start(context)?)))
    }
}

/// The thread that waits for the signal.
pub(crate) struct Debugging {
    signal: Option<Notification>,
    thread: Option<JoinHandle<()>>,
}

impl Debugging {
    fn start(context: Context) -> Result<Self> {
        let failed = |error| Error::system("waiting for the signal to debug", error);
        let (signals, end) = sys::pipe().map_err(failed)?;
        let signal = notify(SIGUSR2, end).map_err(failed)?;
        let mut debugging = Self {
            signal: Some(signal),
            thread: None,
        };
        let mut signals = File::from(signals);
        let watch = move || {
            let mut some = [0; 64];
            while signals.read(&mut some).is_ok_and(|count| count > 0) {
                log_all(&context);
            }
        };
        let thread = std::thread::Builder::new()
            .name("debug".into())
            .spawn(watch)
            .map_err(failed)?;
        debugging.thread = Some(thread);
        Ok(debugging)
    }
}

impl Drop for Debugging {
    fn drop(&mut self) {
        // Dropping the action closes the writing end of the pipe, which ends the thread at the
        // reading end.
        self.signal = None;
        if let Some(thread) = self.thread.take() {
            let _panicked_and_said_so = thread.join();
        }
    }
}

/// Asks this context and all below it for their dumps, and logs them.
fn log_all(context: &Context) {
    let shared = context.node();
    let mut everyone: Vec<ContextId> = shared
        .lock()
        .node
        .router
        .below()
        .map(|(id, _)| id)
        .collect();
    everyone.push(context.id());
    everyone.sort_unstable();
    if everyone.len() > ASKED {
        tracing::info!(target: TARGET, "{} contexts more are not asked", everyone.len() - ASKED);
        everyone.truncate(ASKED);
    }
    let asked: Vec<_> = everyone
        .into_iter()
        .map(|id| (context.by_id(id), ask(shared, id)))
        .collect();
    let end = wait::now() + PATIENCE;
    for (of, asked) in asked {
        let name = of.name();
        let dump = asked.and_then(|(flow, slot)| {
            let left = wait::left(end);
            slot.wait(Some(left)).map_or_else(
                || Err(give_up(shared, flow, name)),
                |reply| read(name, reply),
            )
        });
        match dump {
            Ok(dump) => dump.text.lines().for_each(|line| {
                tracing::info!(target: TARGET, context = name, "{line}");
            }),
            Err(error) => tracing::info!(target: TARGET, context = name, "no answer: {error}"),
        }
    }
}

fn give_up(shared: &Arc<NodeHandle>, flow: FlowKey, name: &str) -> Error {
    shared.with(|core| {
        core.node
            .reset(flow, Reason::Cancelled, "its caller does not wait any more");
        core.forget(flow);
    });
    Error::TimedOut {
        context: name.into(),
        after_ms: PATIENCE.as_millis() as u64,
    }
}
