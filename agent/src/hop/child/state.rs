//! One child of a node: what is known of it from the order to connect on, to the end of the hop's
//! program.

use offshoot_proto::ConnectError;
use offshoot_proto::ContextId;
use offshoot_proto::FlowKey;
use offshoot_proto::connect::bootstrap::BootstrapWatcher;
use offshoot_proto::connect::dialogue::Dialogue;
use offshoot_proto::message::connect::ConnectRequest;
use offshoot_proto::message::exec::ExitStatus;
use offshoot_sys::spawn::Process;
use std::os::fd::OwnedFd;

/// Where a hop is, before its agent is up.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Admission {
    /// Its program has not told yet which way it would go.
    Asking,
    /// Its program waits, as too many are under way there.
    Waiting,
    /// It was dropped there, and tries again in a while.
    Pausing,
    /// It is under way.
    Taken,
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
    /// Whether it was told to end.
    pub(super) dismissed: bool,
    pub(super) turn: Admission,
    /// The way that its program has told it would go.
    pub(super) way: Vec<u8>,
    /// How often it has written to its terminal.
    pub(super) written: u32,
    /// Why its last attempt was dropped.
    pub(super) dropped: Option<Box<ConnectError>>,
    /// Its link has ended, and its last words may still come.
    pub(super) parting: bool,
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
            dismissed: false,
            turn: Admission::Taken,
            way: Vec::new(),
            written: 0,
            dropped: None,
            parting: false,
        }
    }

    /// Whether its program has ended and everything it said was read.
    pub(super) fn is_read(&self) -> bool {
        self.exit.is_some() && self.open_streams <= u8::from(self.terminal.is_some())
    }

    pub(crate) fn is_up(&self) -> bool {
        self.up
    }

    /// Its name; the process of its hop's program or 0, whether it is up, and how many attempts it
    /// has taken.
    pub(crate) fn look(&self) -> (&str, [u64; 3]) {
        let process = self.process.as_ref().map_or(0, Process::id);
        (
            &self.order.name,
            [process.into(), self.up.into(), self.boot.attempts().into()],
        )
    }

    /// Forgets what its dialogue knew, which is not needed again: no password stays here.
    pub(super) fn forget_secrets(&mut self) {
        self.boot.dialogue.forget();
    }
}
