//! The debug dump of a node, as text. It is made while the node's lock is held, so nothing here
//! waits, and the text has a limit.

use crate::broker::Broker;
pub(crate) use crate::inspect::TARGET;
use crate::runtime::answer::answer;
use crate::runtime::state::Endpoint;
use crate::runtime::state::NodeState;
use offshoot_proto::ContextId;
use offshoot_proto::FlowKey;
use offshoot_proto::log::LogRecord;
use offshoot_proto::message::outcome::value;
use offshoot_proto::node::FLOW;
use offshoot_proto::node::LINK;
use offshoot_sys::procfs as files;
use std::fmt::Write as _;
use tracing::Level;

/// The most lines of a section.
const LINES: usize = 64;

/// The longest text, in bytes.
const LIMIT: usize = 128 << 10;

/// The text under construction.
#[derive(Default)]
struct Page {
    text: String,
    lines: usize,
}

impl Page {
    fn section(&mut self, title: &str) {
        self.end();
        self.text.push_str(title);
        self.text.push_str(":\n");
    }

    fn end(&mut self) {
        if self.lines > LINES {
            let _ = writeln!(self.text, "  and {} more", self.lines - LINES);
        }
        self.lines = 0;
    }

    /// Returns true if the section has reached its limit. Counts the lines that are left out.
    fn is_full(&mut self) -> bool {
        let full = self.lines >= LINES || self.text.len() > LIMIT;
        self.lines += usize::from(full);
        full
    }

    /// Adds a line about a context, with one named value.
    #[inline(never)]
    fn about(&mut self, core: &NodeState, id: ContextId, name: &str, value: u32) {
        if !self.is_full() {
            let number = &[value.into()];
            self.line(
                id.0,
                &core.name_of(id),
                name,
                if name.is_empty() { &[] } else { number },
            );
        }
    }

    /// Adds a line: the number and the name of its subject, and values with their names. `names`
    /// has the names, separated by spaces.
    fn line(&mut self, number: u32, name: &str, names: &str, values: &[u64]) {
        if self.is_full() {
            return;
        }
        self.lines += 1;
        let _ = write!(self.text, "  {number} {name}");
        let names = names.as_bytes().split(|byte| *byte == b' ');
        for (name, value) in names.zip(values) {
            let _ = write!(
                self.text,
                " {} {value}",
                std::str::from_utf8(name).unwrap_or_default()
            );
        }
        self.text.push('\n');
    }
}

impl Broker {
    /// Answers the request for a dump.
    pub(crate) fn dump(&mut self, core: &mut NodeState, flow: FlowKey) {
        let text = self.describe(core);
        answer(core, flow, value(&text));
    }

    /// Writes the dump to the log, when a signal asks for it.
    pub(crate) fn log_dump(&mut self, core: &mut NodeState) {
        if !self.shared.logs.wants(Level::INFO, TARGET) {
            return;
        }
        for line in self.describe(core).lines() {
            self.shared
                .log_now(core, LogRecord::of(Level::INFO, TARGET, line));
        }
    }

    fn describe(&self, core: &NodeState) -> String {
        let node = &core.node;
        let mut page = Page::default();
        page.section("context");
        page.about(core, node.id(), "process", std::process::id());
        page.section("ancestors");
        for id in node.router.ancestors() {
            page.about(core, *id, "", 0);
        }
        page.section("filter");
        page.line(0, self.shared.logs.filter().text(), "", &[]);
        page.section("links");
        for (link, _, numbers) in node.look_at_links() {
            page.line(link.0, self.children.name_of(link), LINK, &numbers);
        }
        page.section("routes");
        for (id, link) in node.router.below() {
            page.about(core, id, "link", link.0);
        }
        page.section("services");
        for (handle, policy) in node.services() {
            let whom =
                ["ancestors", "parent", "descendants", "children", "anyone"][*policy as usize];
            page.line(handle.0, whom, "", &[]);
        }
        page.section("flows");
        for (flow, numbers) in node.look_at_flows() {
            let what = match core.endpoints.get(&flow) {
                Some(Endpoint::Reply(..)) => "reply",
                Some(Endpoint::Stream(_)) => "stream",
                Some(Endpoint::Request(_)) => "request",
                Some(Endpoint::Program(..)) => "program",
                Some(Endpoint::ForChild(..)) => "for a child",
                Some(Endpoint::Chain(_)) => "chain",
                Some(Endpoint::Handler(_)) => "handler",
                _ => "call",
            };
            page.line(flow.handle.0, what, FLOW, &numbers);
        }
        page.section("children");
        for (link, child) in self.children.iter() {
            let (name, values) = child.look();
            page.line(link.0, name, "process up attempts", &values);
        }
        page.section("programs");
        for (number, program) in self.programs.iter() {
            page.line(*number, "process", "number", &[program.process().into()]);
        }
        page.section("timers");
        page.line(self.reactor.timers() as u32, "set", "", &[]);
        page.section("calls");
        let (running, rest) = self.shared.workers.look();
        page.line(running, "running", "waiting threads", &rest);
        page.section("threads");
        for thread in files::numbers("/proc/self/task") {
            let stat =
                files::content(&format!("/proc/self/task/{thread}/stat")).unwrap_or_default();
            let name = stat.iter().position(|byte| *byte == b'(').unwrap_or(0);
            let end = stat.iter().rposition(|byte| *byte == b')').unwrap_or(0) + 3;
            let name = stat.get(name..end).unwrap_or_default();
            page.line(thread, &String::from_utf8_lossy(name), "", &[]);
        }
        page.section("names");
        for (id, name) in core.names.iter() {
            page.line(id.0, name, "", &[]);
        }
        page.end();
        page.text
    }
}
