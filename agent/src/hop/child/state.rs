//! The state of one child of a node, from the connect request to the end of the hop's program.

use crate::runtime::handle::NodeHandle;
use offshoot_proto::ConnectError;
use offshoot_proto::ContextId;
use offshoot_proto::FlowKey;
use offshoot_proto::connect::bootstrap::BootstrapWatcher;
use offshoot_proto::connect::dialogue::Dialogue;
use offshoot_proto::message::connect::ConnectRequest;
use offshoot_proto::message::exec::ExitStatus;
use offshoot_proto::message::prompt::PromptKind;
use offshoot_proto::node::rate_limit::{LOG_BURST, LOG_RATE, RateLimit};
use offshoot_sys::spawn::Process;
use std::os::fd::OwnedFd;
use tracing::Level;

/// The stage of a hop before its agent is up.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Admission {
    /// Its program has not printed its route yet.
    Asking,
    /// It waits because too many hops by its route are under way.
    Waiting,
    /// Its connection was dropped; it waits for a retry.
    Pausing,
    /// It is under way.
    Admitted,
}

/// One child.
pub(crate) struct Child {
    pub(super) context: ContextId,
    pub(super) order: ConnectRequest,
    pub(super) boot: BootstrapWatcher,
    pub(super) process: Option<Process>,
    pub(super) terminal: Option<OwnedFd>,
    pub(super) slave: Option<OwnedFd>,
    pub(super) reply: Option<FlowKey>,
    pub(super) waiting: Vec<FlowKey>,
    pub(super) open_streams: u8,
    pub(super) exit: Option<ExitStatus>,
    pub(super) up: bool,
    pub(super) over: bool,
    /// True if it was told to end.
    pub(super) shutting_down: bool,
    pub(super) admission: Admission,
    /// The route that its program has printed.
    pub(super) way: Vec<u8>,
    /// The number of times that its program has written to its terminal.
    pub(super) written: u32,
    /// The number of questions of its program that are not answered yet.
    pub(super) asked: u8,
    /// The number of the last question or attempt: an answer is for the last question alone.
    pub(super) question: u32,
    /// The kind of the last question, while it is not answered.
    pub(super) open: Option<PromptKind>,
    /// True if a question was answered in this interval of its time limit.
    pub(super) answered: bool,
    /// The reason why the connection of its last attempt was dropped.
    pub(super) dropped: Option<Box<ConnectError>>,
    /// True if its link has ended and its last output is still awaited.
    pub(super) awaiting_output: bool,
    /// Rate limit for logged lines of its program.
    pub(super) printed: RateLimit,
}

impl Child {
    pub(super) fn new(
        context: ContextId,
        mut order: ConnectRequest,
        mut boot: BootstrapWatcher,
    ) -> Self {
        boot.dialogue = Dialogue::new(std::mem::take(&mut order.recipe.rules));
        Self {
            context,
            order,
            boot,
            process: None,
            terminal: None,
            slave: None,
            reply: None,
            waiting: Vec::new(),
            open_streams: 0,
            exit: None,
            up: false,
            over: false,
            shutting_down: false,
            admission: Admission::Admitted,
            way: Vec::new(),
            written: 0,
            asked: 0,
            question: 0,
            open: None,
            answered: false,
            dropped: None,
            awaiting_output: false,
            printed: RateLimit::default(),
        }
    }

    /// Returns true if its program has ended and all of its output was read.
    pub(super) fn is_read(&self) -> bool {
        self.exit.is_some() && self.open_streams <= u8::from(self.terminal.is_some())
    }

    pub(crate) fn is_up(&self) -> bool {
        self.up
    }

    /// Returns its name; the process id of its hop's program or 0, 1 if it is up, and the number of
    /// attempts.
    pub(crate) fn look(&self) -> (&str, [u64; 3]) {
        let process = self.process.as_ref().map_or(0, Process::id);
        (
            &self.order.name,
            [process.into(), self.up.into(), self.boot.attempts().into()],
        )
    }

    /// Logs a line that its program has printed. A host may print without end: lines beyond a limit
    /// are counted.
    pub(super) fn log_line(&mut self, shared: &NodeHandle, level: Level, line: &[u8]) {
        if !self.printed.take(shared.now(), LOG_BURST, LOG_RATE) {
            self.printed.dropped += 1;
            return;
        }
        let name = &self.order.name;
        match std::mem::take(&mut self.printed.dropped) {
            0 => {}
            dropped => shared.say(
                level,
                format!("{name}: {dropped} lines were too many and are dropped"),
            ),
        }
        shared.say(level, format!("{name}: {}", String::from_utf8_lossy(line)));
    }

    /// Drops the passwords of its dialogue, which are not needed again.
    pub(super) fn forget_secrets(&mut self) {
        self.boot.dialogue.forget();
    }
}
