//! Debug dumps of contexts, on request and on a signal.

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

/// The target of the log records of a dump.
pub(crate) const TARGET: &str = "offshoot::debug";

/// The longest dump that is accepted, in bytes.
const LIMIT: usize = 256 << 10;

/// The state of a context at one moment: its links and their queues, routes, services, flows with
/// their credit, children, programs, calls, threads and names. Each section has at most 64 lines.
/// The format is for people and may change.
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

    /// Returns the lines of one section: `context`, `ancestors`, `filter`, `links`, `routes`,
    /// `services`, `flows`, `children`, `programs`, `calls`, `threads` or `names`.
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
    /// Returns the state of the context. The broker's thread answers, so that functions which hang
    /// do not prevent it. A context answers itself and its ancestors.
    ///
    /// # Errors
    /// Returns an error if the context cannot be reached, or this context has no authority over it.
    pub fn dump(&self) -> Result<Dump> {
        let (_, slot) = ask(self.node(), self.id())?;
        read(self.name(), slot.wait(None).unwrap_or(Err(Error::ShutDown)))
    }
}

/// Requests the dump of a context.
pub(crate) fn ask(shared: &Arc<NodeHandle>, id: ContextId) -> Result<(FlowKey, Arc<ReplySlot>)> {
    shared.request(id, Handle::DUMP, Vec::new(), Opening::default(), |_, _| {})
}

/// Decodes the reply of the context called `name`.
pub(crate) fn read(name: &str, reply: Result<Vec<u8>>) -> Result<Dump> {
    let reply = reply.map_err(|error| error.naming(name))?;
    Ok(Dump::new(&read_value::<String>(name, &reply)?))
}
