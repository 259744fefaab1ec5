//! The children of a node: from the order to connect, over all attempts, to the end of the hop's program.

use super::requests::{answer, unreadable};
use super::{Broker, Role, Timer};
use crate::codec;
use crate::connect::boot::{Boot, Progress, Verdict};
use crate::connect::dialogue::{Act, Dialogue};
use crate::connect::spawn::{Program, Spawned, spawn};
use crate::connect::{Attach, ConnectRequest};
use crate::error::{ConnectError, ConnectErrorKind, Error, Reason};
use crate::id::{ContextId, FlowKey, LinkId};
use crate::images::Own;
use crate::remote::{failed, read_value, value};
use crate::shared::{Core, Request};
use crate::program::ExitStatus;
use crate::sys;
use crate::sys::process::{AGENT_FD, IMAGE_FD, Process};
use offshoot_bootstrap::{Image, Mode, Nonce, Platform, Stage0};
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// How long the program of a hop may take to end once its streams have.
const EXIT_PATIENCE: Duration = Duration::from_millis(500);

/// What start-up files may read while the loader is waited for.
const LINE_ENDS: &[u8] = &[b'\n'; 32];

/// Tells builds apart whose messages may differ: a sum over the sources of this crate.
pub(crate) const BUILD: u64 = match u64::from_str_radix(env!("OFFSHOOT_BUILD"), 16) {
    Ok(build) => build,
    Err(_) => panic!("the build script sets a number"),
};

/// What an agent tells its parent first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// [`BUILD`] of the agent: what follows is only understood where it is the same.
    pub build: u64,
    pub process: u32,
    pub machine: String,
    pub version: String,
}

/// What a finished connect answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Connected {
    pub process: u32,
    pub machine: String,
    pub attempts: u8,
}

/// One child.
pub(super) struct Child {
    context: ContextId,
    order: ConnectRequest,
    boot: Boot,
    process: Option<Process>,
    terminal: Option<OwnedFd>,
    slave: Option<OwnedFd>,
    reply: Option<FlowKey>,
    waiting: Vec<FlowKey>,
    open_streams: u8,
    exit: Option<ExitStatus>,
    up: bool,
    over: bool,
}

impl Child {
    pub fn is_up(&self) -> bool {
        self.up
    }

    /// Whether its hop's program is this process.
    pub fn is_process(&self, pid: u32) -> bool {
        self.process.as_ref().is_some_and(|process| process.id() == pid)
    }
}

impl Broker {
    /// The order to connect: the child exists from now on.
    pub(super) fn connect(&mut self, core: &mut Core, flow: FlowKey, request: &Request) {
        let Some((context, link)) = request.child else { return };
        let order: ConnectRequest = match codec::from_bytes(&request.bytes) {
            Ok(order) => order,
            Err(error) => {
                core.node.link_lost(link, Reason::ConnectFailed, "the order cannot be read");
                return unreadable(core, flow, error);
            }
        };
        core.names.insert(context, order.name.as_str().into());
        if order.announce {
            core.node.announce(context);
        }
        let mut ancestors = vec![core.node.id()];
        ancestors.extend_from_slice(core.node.router.ancestors());
        let boot = crate::node::Boot {
            id: context,
            ancestors,
            name: order.name.clone(),
            log_level: order.log_level,
            heartbeat: order.heartbeat,
        };
        core.node.boot(link, &boot);
        self.after(Duration::from_millis(order.recipe.timeout_ms), Timer::Connect(link, 0));

        let remembered =
            self.remembered.iter().find(|(key, _)| *key == order.recipe.key).map(|(_, platform)| *platform);
        let platform = remembered.or(Platform::host()).unwrap_or(Platform::X86_64);
        let mode = if remembered.is_some() { Mode::Wait } else { Mode::Optimistic };
        let boot = Boot::new(mode, platform);
        let child = Child {
            context,
            order,
            boot,
            process: None,
            terminal: None,
            slave: None,
            reply: Some(flow),
            waiting: Vec::new(),
            open_streams: 0,
            exit: None,
            up: false,
            over: false,
        };
        self.children.insert(link, child);
        self.attempt(core, link, platform, mode);
    }

    /// Starts the program of a hop, with the bootstrap for `platform`.
    fn attempt(&mut self, core: &mut Core, link: LinkId, platform: Platform, mode: Mode) {
        let nonce = fresh_nonce();
        let image = match core.images.get(platform) {
            Ok(Some(image)) => image,
            Ok(None) => return self.fetch_image(core, link, platform),
            Err(error) => return self.fail(core, link, image_error(&error)),
        };
        let Some(child) = self.children.get_mut(&link) else { return };
        let recipe = child.order.recipe.clone();
        let title = format!("offshoot: {}", child.order.name);
        let markers = offshoot_bootstrap::ready_marker(&nonce, &image);
        let dialogue = Dialogue::new(recipe.rules.clone());
        child.boot.begin(platform, mode, dialogue, &nonce, markers);
        child.exit = None;
        let own = if recipe.attach == Attach::Direct { core.images.own().ok() } else { None };
        let program = program_of(&recipe.argv, recipe.attach, &image, &nonce, mode, &title, own.as_deref());
        let direct = matches!(program, Program::Agent { .. });
        let spawned = match spawn(&program, recipe.terminal) {
            Ok(spawned) => spawned,
            Err(error) => {
                let name = recipe.argv.first().map_or("the agent", String::as_str);
                let mut why = ConnectError::new(ConnectErrorKind::Start, format!("{name} cannot be started: {error}"));
                why.hint = format!("is {name} installed there?");
                return self.fail(core, link, why);
            }
        };
        drop(program);
        if let Err(error) = self.adopt(core, link, spawned, if direct { None } else { Some(&image) }, mode) {
            let why = ConnectError::new(ConnectErrorKind::Start, error.to_string());
            self.fail(core, link, why);
        }
    }

    fn adopt(
        &mut self,
        core: &mut Core,
        link: LinkId,
        spawned: Spawned,
        image: Option<&Image>,
        mode: Mode,
    ) -> crate::error::Result<()> {
        let pid = spawned.process.id();
        if let Some(child) = self.children.get_mut(&link) {
            child.process = Some(spawned.process);
            child.open_streams = 2 + u8::from(spawned.terminal.is_some());
        }
        self.watch(Role::Link(link), spawned.stdout)?;
        self.watch(Role::ChildStderr(link), spawned.stderr)?;
        if let Some(terminal) = spawned.terminal {
            let writing = terminal.try_clone().map_err(|error| Error::system("duplicating a terminal", error))?;
            if let Some(child) = self.children.get_mut(&link) {
                child.terminal = Some(writing);
                child.slave = spawned.slave;
            }
            self.watch(Role::ChildTerminal(link), terminal)?;
        }
        match sys::pidfd_open(pid) {
            Ok(fd) => self.watch(Role::ChildExit(link), fd)?,
            Err(_) => self.after(Duration::from_millis(20), Timer::Poll),
        }
        if mode == Mode::Wait && image.is_some() {
            // For start-up files that read lines: without any they would wait as long as we do. What they leave of
            // it the loader skips. A new pipe has room.
            let _ = sys::write(&spawned.stdin, LINE_ENDS);
        }
        self.attach_output(core, link, spawned.stdin);
        if let Some(io) = core.io.get_mut(&link) {
            io.preamble = image.map(|image| (Arc::clone(image.bytes()), 0));
            io.hold = image.is_some() && mode == Mode::Wait;
        }
        self.shared.flush_link(core, link);
        Ok(())
    }

    /// What a child's program prints before its agent is up.
    pub(super) fn child_stdout(&mut self, link: LinkId, bytes: &[u8]) {
        let shared = Arc::clone(&self.shared);
        let Some(child) = self.children.get_mut(&link) else { return };
        match child.boot.stdout(bytes) {
            Progress::Noise => {}
            Progress::Ready => {
                let mut core = shared.lock();
                if let Some(io) = core.io.get_mut(&link) {
                    io.hold = false;
                }
                shared.flush_link(&mut core, link);
                shared.release(core);
            }
            Progress::Up(rest) => {
                child.up = true;
                child.slave = None;
                if child.boot.attempts() > 1 {
                    let (key, platform) = (child.order.recipe.key.clone(), child.boot.platform());
                    self.remembered.retain(|(other, _)| *other != key);
                    self.remembered.push((key, platform));
                }
                if !rest.is_empty() {
                    self.frames(link, &rest);
                }
            }
        }
    }

    pub(super) fn child_stderr(&mut self, link: LinkId, bytes: &[u8]) {
        let Some(child) = self.children.get_mut(&link) else { return };
        for line in child.boot.stderr(bytes) {
            tracing::debug!("{}: {}", child.order.name, String::from_utf8_lossy(&line));
        }
    }

    pub(super) fn child_terminal(&mut self, link: LinkId, bytes: &[u8]) {
        let Some(child) = self.children.get_mut(&link) else { return };
        for line in child.boot.terminal(bytes) {
            tracing::debug!("{}: {}", child.order.name, String::from_utf8_lossy(&line));
        }
        if child.up {
            return;
        }
        match child.boot.dialogue.terminal(bytes) {
            None => {}
            Some(Act::Type(secret)) => {
                if let Some(terminal) = &child.terminal {
                    // A terminal takes a line at once; where it does not, the program asks again or times out.
                    let _ = sys::write(terminal, secret.expose());
                    let _ = sys::write(terminal, b"\n");
                }
            }
            Some(Act::Fail(kind, detail, hint)) => {
                let mut error = ConnectError::new(kind, detail);
                error.hint = hint;
                error.said = child.boot.said();
                let shared = Arc::clone(&self.shared);
                let mut core = shared.lock();
                self.fail(&mut core, link, error);
                shared.release(core);
            }
        }
    }

    /// The agent has said who it is: the child is connected.
    pub(super) fn child_hello(&mut self, core: &mut Core, link: LinkId, bytes: &[u8]) {
        let Some(child) = self.children.get_mut(&link) else { return };
        let hello: Hello = match codec::from_bytes(bytes) {
            Ok(hello) => hello,
            Err(_) => Hello { build: !BUILD, process: 0, machine: String::new(), version: String::new() },
        };
        if hello.build != BUILD {
            let mut why = ConnectError::new(ConnectErrorKind::Protocol, "its agent was built from other sources than this program");
            why.hint = "build the agents and the program anew from the same sources".into();
            return self.fail(core, link, why);
        }
        // What its dialogue knew is not needed again: no password stays here.
        child.order.recipe.rules.clear();
        core.node.link_up(link);
        if let Some(flow) = child.reply.take() {
            let attempts = child.boot.attempts();
            answer(core, flow, value(&Connected { process: hello.process, machine: hello.machine, attempts }));
        }
        let seconds = child.order.heartbeat;
        self.start_heart(link, seconds);
    }

    /// Gives a hop up before it was taken.
    fn fail(&mut self, core: &mut Core, link: LinkId, mut error: ConnectError) {
        let Some(child) = self.children.get_mut(&link) else { return };
        error.context = child.order.name.clone();
        error.hop = child.order.recipe.hop.clone();
        child.order.recipe.rules.clear();
        let text = error.to_string();
        if let Some(flow) = child.reply.take() {
            answer(core, flow, failed(&error.into()));
        }
        core.node.link_lost(link, Reason::ConnectFailed, &text);
        self.let_go(core, link);
    }

    /// A child that was up is no more.
    pub(super) fn lose_child(&mut self, core: &mut Core, link: LinkId, why: &str) {
        if let Some(flow) = self.children.get_mut(&link).and_then(|child| child.reply.take()) {
            let error = ConnectError::new(ConnectErrorKind::Protocol, why);
            answer(core, flow, failed(&error.into()));
        }
        core.node.link_lost(link, Reason::Lost, why);
        self.let_go(core, link);
    }

    /// Closes what leads to a child and sees that its program ends.
    fn let_go(&mut self, core: &mut Core, link: LinkId) {
        self.hearts.remove(&link);
        self.unwatch(Role::Link(link));
        self.unwatch(Role::ChildTerminal(link));
        self.unwatch(Role::ChildStderr(link));
        self.forget_output(core, link);
        let Some(child) = self.children.get_mut(&link) else { return };
        child.over = true;
        child.terminal = None;
        child.slave = None;
        child.open_streams = 0;
        match &child.process {
            Some(process) if child.exit.is_none() => {
                if !child.up {
                    process.signal(libc::SIGTERM);
                }
                let attempt = child.boot.attempts();
                self.after(EXIT_PATIENCE, Timer::Kill(link, attempt));
            }
            _ => self.finish(core, link),
        }
    }

    fn forget_output(&mut self, core: &mut Core, link: LinkId) {
        if let Some(io) = core.io.remove(&link) {
            if let Some(fd) = &io.fd {
                let _ = self.shared.epoll.delete(fd);
            }
            self.sources.remove(&io.token);
        }
    }

    pub(super) fn child_stream_ended(&mut self, link: LinkId, role: Role) {
        let shared = Arc::clone(&self.shared);
        let mut core = shared.lock();
        let Some(child) = self.children.get_mut(&link) else { return };
        child.open_streams = child.open_streams.saturating_sub(1);
        if child.up && matches!(role, Role::Link(_)) {
            let why = match child.boot.said().pop() {
                Some(last) => format!("its link has ended; it said: \"{last}\""),
                None => "its link has ended".into(),
            };
            self.lose_child(&mut core, link, &why);
        } else if !child.over && child.exit.is_none() && child.open_streams == 0 {
            let attempt = child.boot.attempts();
            self.after(EXIT_PATIENCE, Timer::Kill(link, attempt));
        }
        self.attempt_over(&mut core, link);
        shared.release(core);
    }

    pub(super) fn child_exited(&mut self, link: LinkId) {
        let Some(child) = self.children.get_mut(&link) else { return };
        let Some(process) = &mut child.process else { return };
        let Some(status) = process.try_wait() else { return };
        child.exit = Some(status);
        self.unwatch(Role::ChildExit(link));
        let shared = Arc::clone(&self.shared);
        let mut core = shared.lock();
        let (over, streams, attempt) = self
            .children
            .get(&link)
            .map_or((true, 0, 0), |child| (child.over, child.open_streams, child.boot.attempts()));
        if over {
            self.finish(&mut core, link);
        } else if streams > 0 {
            // What is left in its streams is read first; but something else may hold them open for ever.
            self.after(EXIT_PATIENCE, Timer::Kill(link, attempt));
        }
        self.attempt_over(&mut core, link);
        shared.release(core);
    }

    /// If an attempt has come to its end, decides how it goes on.
    fn attempt_over(&mut self, core: &mut Core, link: LinkId) {
        let Some(child) = self.children.get_mut(&link) else { return };
        let terminal = u8::from(child.terminal.is_some());
        let Some(status) = child.exit.filter(|_| !child.up && !child.over && child.open_streams <= terminal) else {
            return;
        };
        let hint = child.order.recipe.hint.clone();
        match child.boot.exited(status.code, status.signal, &hint) {
            Verdict::Failed(error) => self.fail(core, link, *error),
            Verdict::Again(platform) => {
                tracing::debug!("{}: once more, waiting, for {platform}", child.order.name);
                child.terminal = None;
                child.slave = None;
                self.unwatch(Role::ChildTerminal(link));
                self.unwatch(Role::ChildStderr(link));
                self.unwatch(Role::Link(link));
                self.forget_output(core, link);
                core.node.link_restart(link);
                self.attempt(core, link, platform, Mode::Wait);
            }
        }
    }

    /// The image that a child waits for has come from the root.
    pub(super) fn image_arrived(&mut self, core: &mut Core, link: LinkId, reply: &[u8]) {
        let image = read_value::<Vec<u8>>("controller", reply)
            .and_then(|bytes| Image::parse(bytes).map_err(|error| Error::Image(error.to_string())));
        match image {
            Ok(image) => {
                let platform = image.platform();
                core.images.keep(image);
                let mode = self.children.get(&link).map_or(Mode::Wait, |child| child.boot.mode());
                self.attempt(core, link, platform, mode);
            }
            Err(error) => self.image_missing(core, link, &error),
        }
    }

    pub(super) fn image_missing(&mut self, core: &mut Core, link: LinkId, error: &Error) {
        self.fail(core, link, image_error(error));
    }

    pub(super) fn connect_timed_out(&mut self, link: LinkId, _attempt: u8) {
        let Some(child) = self.children.get_mut(&link) else { return };
        if child.reply.is_none() || child.over {
            return;
        }
        let allowed = child.order.recipe.timeout_ms;
        let mut error = ConnectError::new(ConnectErrorKind::TimedOut, format!("no agent was up within {allowed} ms"));
        error.said = child.boot.said();
        error.hint = "give it longer with --connect-timeout, or see whether a start-up file there reads stdin".into();
        let shared = Arc::clone(&self.shared);
        let mut core = shared.lock();
        self.fail(&mut core, link, error);
        shared.release(core);
    }

    /// The program of an attempt did not end in time; a later attempt's is left alone.
    pub(super) fn attempt_overdue(&mut self, link: LinkId, attempt: u8) {
        if self.children.get(&link).is_some_and(|child| child.boot.attempts() == attempt) {
            self.kill_child(link);
        }
    }

    /// The program of a hop did not end by itself.
    pub(super) fn kill_child(&mut self, link: LinkId) {
        let Some(child) = self.children.get_mut(&link) else { return };
        if child.exit.is_none() {
            if let Some(process) = &child.process {
                // One that has changed user may not be ours to kill; its closed streams end it.
                process.signal(libc::SIGKILL);
            }
        } else {
            child.open_streams = 0;
            child.terminal = None;
            child.slave = None;
            let shared = Arc::clone(&self.shared);
            let mut core = shared.lock();
            self.attempt_over(&mut core, link);
            shared.release(core);
        }
    }

    /// A child's program has ended and nothing of it is left.
    fn finish(&mut self, core: &mut Core, link: LinkId) {
        let Some(child) = self.children.remove(&link) else { return };
        for flow in child.waiting {
            answer(core, flow, value(&()));
        }
    }

    /// The order to end one child.
    pub(super) fn disconnect(&mut self, core: &mut Core, flow: FlowKey, request: &[u8]) {
        let context: ContextId = match codec::from_bytes(request) {
            Ok(context) => context,
            Err(error) => return unreadable(core, flow, error),
        };
        let found = self.children.iter_mut().find(|(_, child)| child.context == context);
        let Some((link, child)) = found else { return answer(core, flow, value(&())) };
        child.waiting.push(flow);
        let link = *link;
        self.dismiss(core, link);
    }

    /// Tells a child to end, and closes the way to it.
    pub(super) fn dismiss(&mut self, core: &mut Core, link: LinkId) {
        let up = self.children.get(&link).is_some_and(Child::is_up);
        if !up {
            let error = ConnectError::new(ConnectErrorKind::Cancelled, "it was given up");
            return self.fail(core, link, error);
        }
        core.node.control(link, crate::wire::Kind::Shutdown, Vec::new());
        if let Some(io) = core.io.get_mut(&link) {
            io.close_when_empty = true;
        }
        let attempt = self.children.get(&link).map_or(0, |child| child.boot.attempts());
        self.after(EXIT_PATIENCE * 3, Timer::Kill(link, attempt));
    }

    /// For kernels without pidfds: looks at every program.
    pub(super) fn poll_exits(&mut self) {
        let links = self.children.keys();
        for link in links {
            self.child_exited(link);
        }
        let programs = self.programs.keys();
        for program in programs {
            self.program_exited(program);
        }
        if !self.children.is_empty() || !self.programs.is_empty() {
            self.after(Duration::from_millis(20), Timer::Poll);
        }
    }
}

fn fresh_nonce() -> Nonce {
    Nonce::new(sys::random())
}

fn image_error(error: &Error) -> ConnectError {
    ConnectError::new(ConnectErrorKind::Platform, error.to_string())
}

fn program_of<'a>(
    words: &[String],
    attach: Attach,
    image: &Image,
    nonce: &Nonce,
    mode: Mode,
    title: &str,
    own: Option<&'a Own>,
) -> Program<'a> {
    if let Some(own) = own {
        let mut param = offshoot_bootstrap::param(image, nonce, mode);
        param.image_fd = Some(IMAGE_FD);
        param.agent_fd = Some(AGENT_FD);
        let title = offshoot_bootstrap::clean_title(title);
        return Program::Agent { image: &own.image, agent: &own.agent, argv: [title, param.to_string(), String::new()] };
    }
    let stage0 = Stage0::new(image, nonce, mode, title);
    let mut words = words.to_vec();
    match attach {
        Attach::Direct | Attach::Words => words.extend(["sh".into(), "-c".into(), stage0.script()]),
        Attach::GuardedWords => words.extend(["sh".into(), "-c".into(), stage0.guarded_script()]),
        Attach::Line => words.push(stage0.command()),
        Attach::Script => words.push(stage0.script()),
    }
    Program::Words(words)
}
