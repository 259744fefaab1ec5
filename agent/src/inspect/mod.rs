//! Looking into contexts: what each of them is about right now, on demand and on a signal.

use crate::context::Context;
use crate::runtime::handle::NodeHandle;
use crate::runtime::slot::ReplySlot;
use offshoot_proto::ContextId;
use offshoot_proto::Error;
use offshoot_proto::FlowKey;
use offshoot_proto::Handle;
use offshoot_proto::Result;
use offshoot_proto::message::outcome::read_value;
use offshoot_proto::node::Opening;
use offshoot_proto::text::harmless;
use offshoot_proto::text::shortened;
use std::fmt;
use std::sync::Arc;

/// Where the records of dumps come from.
pub(crate) const TARGET: &str = "offshoot::debug";

/// The longest text that is taken, in bytes.
const LIMIT: usize = 256 << 10;

/// What a context is about at one moment: its links and their queues, routes, services, flows with
/// their credit, children, programs, calls, threads and names. Each section has at most 64 lines.
/// Its form is for people and may change.
#[derive(Clone, Debug)]
pub struct Dump {
    pub(crate) text: String,
}

impl Dump {
    fn new(text: &str) -> Self {
        let lines = shortened(text, LIMIT).split('\n').map(harmless);
        Self {
            text: lines.collect::<Vec<_>>().join("\n"),
        }
    }

    /// The lines of one section: `context`, `ancestors`, `filter`, `links`, `routes`, `services`,
    /// `flows`, `children`, `programs`, `calls`, `threads` or `names`.
    pub fn section(&self, title: &str) -> impl Iterator<Item = &str> {
        let head = move |line: &&str| line.strip_suffix(':') == Some(title);
        let lines = self
            .text
            .lines()
            .skip_while(move |line| !head(line))
            .skip(1);
        lines
            .take_while(|line| line.starts_with("  "))
            .map(str::trim_start)
    }
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Context {
    /// What the context is about right now. It is answered by the thread that moves its bytes, so
    /// that functions which hang are no obstacle. A context answers itself and those above it.
    ///
    /// # Errors
    /// When the context is not reached, or does not obey this one.
    pub fn dump(&self) -> Result<Dump> {
        let (_, slot) = ask(self.node(), self.id())?;
        read(self.name(), slot.wait(None).unwrap_or(Err(Error::ShutDown)))
    }
}

/// Asks a context for its dump.
pub(crate) fn ask(shared: &Arc<NodeHandle>, id: ContextId) -> Result<(FlowKey, Arc<ReplySlot>)> {
    shared.request(id, Handle::DUMP, Vec::new(), Opening::default(), |_, _| {})
}

/// Reads the answer of the context called `name`.
pub(crate) fn read(name: &str, reply: Result<Vec<u8>>) -> Result<Dump> {
    let reply = reply.map_err(|error| error.naming(name))?;
    Ok(Dump::new(&read_value::<String>(name, &reply)?))
}
