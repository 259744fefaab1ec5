//! The bootstrap of a child: starts the program of the hop and watches it, until the agent is up or
//! the reason for the failure is known.

use crate::hop::child::Children;
use crate::hop::child::spawn::HopProgram;
use crate::hop::child::spawn::Spawned;
use crate::hop::child::spawn::spawn;
use crate::hop::child::state::Admission;
use crate::hop::child::state::Child;
use crate::hop::method::words;
use crate::runtime::image_store::OwnImage;
use crate::runtime::reactor::Reactor;
use crate::runtime::reactor::Source;
use crate::runtime::reactor::Timer;
use crate::runtime::state::Awaited;
use crate::runtime::state::Endpoint;
use crate::runtime::state::ForChild;
use crate::runtime::state::NodeState;
use offshoot_bootstrap::Image;
use offshoot_bootstrap::Mode;
use offshoot_bootstrap::Nonce;
use offshoot_bootstrap::OTHER_SHELL_EXITS;
use offshoot_bootstrap::Platform;
use offshoot_codec::Secret;
use offshoot_proto::ConnectError;
use offshoot_proto::ConnectErrorKind;
use offshoot_proto::ContextId;
use offshoot_proto::Error;
use offshoot_proto::Handle;
use offshoot_proto::LinkId;
use offshoot_proto::connect::bootstrap::Progress;
use offshoot_proto::connect::bootstrap::Retry;
use offshoot_proto::connect::dialogue::Act;
use offshoot_proto::connect::dialogue::fact;
use offshoot_proto::connect::dialogue::unanswered_question;
use offshoot_proto::connect::recipe::Attach;
use offshoot_proto::connect::recipe::Recipe;
use offshoot_proto::message::outcome::read_own;
use offshoot_proto::message::prompt::PromptKind;
use offshoot_proto::message::prompt::PromptRequest;
use offshoot_proto::node::Opening;
use offshoot_sys as sys;
use offshoot_sys::spawn::AGENT_FD;
use offshoot_sys::spawn::IMAGE_FD;
use std::sync::Arc;
use std::time::Duration;
use tracing::Level;

/// How long a question on the terminal may stay unanswered.
const ANSWERED: Duration = Duration::from_secs(2);

/// How long a question must be the last text on the terminal before it is answered.
const SETTLED: Duration = Duration::from_millis(20);

/// Input for start-up files that read stdin before the loader does.
const LINE_ENDS: &[u8] = &[b'\n'; 32];

impl Children {
    /// Starts the program of a hop, with the bootstrap for `platform`.
    pub(crate) fn attempt(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        link: LinkId,
        platform: Platform,
        mode: Mode,
    ) {
        let nonce = fresh_nonce();
        let image = match core.images.get(platform) {
            Ok(Some(image)) => image,
            Ok(None) => return fetch_image(core, link, platform),
            Err(error) => return self.fail(reactor, core, link, image_error(&error)),
        };
        let Some(child) = self.by_link.get_mut(&link) else {
            return;
        };
        let recipe = &child.order.recipe;
        let title = title_of(child.order.title.as_ref().unwrap_or(&child.order.name));
        let markers = offshoot_bootstrap::ready_marker(&nonce, &image);
        let dialogue = child.boot.dialogue.anew();
        child.boot.begin(platform, mode, dialogue, &nonce, markers);
        child.boot.set_agent(image.platform());
        child.exit = None;
        child.admission = if recipe.at_once == 0 {
            Admission::Admitted
        } else {
            Admission::Asking
        };
        let own = if recipe.attach == Attach::Direct {
            core.images.own().ok()
        } else {
            None
        };
        let program = program_of(recipe, &image, &nonce, mode, &title, own.as_deref());
        let direct = matches!(program, HopProgram::Agent { .. });
        let spawned = spawn(&program, recipe);
        drop(program);
        let spawned = match spawned {
            Ok(spawned) => spawned,
            Err(error) => {
                let mut words = recipe.argv.iter().chain(&recipe.shell).map(String::as_str);
                let name = words.next().filter(|_| !direct).unwrap_or("the agent");
                let mut why = ConnectError::new(
                    ConnectErrorKind::Start,
                    format!("{name} cannot be started: {error}"),
                );
                why.hint = if sys::errno::is_limit(&error) {
                    "raise the limit that is reached there (ulimit -n, -u or -v)".into()
                } else {
                    format!("is {name} installed there?")
                };
                return self.fail(reactor, core, link, why);
            }
        };
        if let Err(error) = self.adopt(
            reactor,
            core,
            link,
            spawned,
            if direct { None } else { Some(&image) },
            mode,
        ) {
            let why = ConnectError::new(ConnectErrorKind::Start, error.to_string());
            self.fail(reactor, core, link, why);
        }
    }

    pub(crate) fn adopt(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        link: LinkId,
        spawned: Spawned,
        image: Option<&Image>,
        mode: Mode,
    ) -> offshoot_proto::Result<()> {
        reactor.watch_end(Source::ChildExit(link), &spawned.process);
        if let Some(child) = self.by_link.get_mut(&link) {
            child.process = Some(spawned.process);
            child.open_streams = 2 + u8::from(spawned.terminal.is_some());
        }
        reactor.watch(Source::Link(link), spawned.stdout)?;
        reactor.watch(Source::ChildStderr(link), spawned.stderr)?;
        if let Some(terminal) = spawned.terminal {
            let writing = terminal
                .try_clone()
                .map_err(|error| Error::system("duplicating a terminal", error))?;
            if let Some(child) = self.by_link.get_mut(&link) {
                child.terminal = Some(writing);
                child.slave = spawned.slave;
            }
            reactor.watch(Source::ChildTerminal(link), terminal)?;
        }
        reactor.attach_output(core, link, spawned.stdin);
        if let Some(io) = core.io.get_mut(&link) {
            io.preamble = image.map(|image| (Arc::clone(image.bytes()), 0));
            io.hold = true;
        }
        // A program that asks on its pipes reads nothing but the answer at first.
        if self.by_link.get(&link).is_some_and(|child| {
            child.admission == Admission::Admitted && !child.order.recipe.asks_on_pipes
        }) {
            self.open_output(reactor, core, link, mode);
        }
        Ok(())
    }

    /// Lets the link write to the program of an attempt.
    pub(crate) fn open_output(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        link: LinkId,
        mode: Mode,
    ) {
        let Some(io) = core.io.get_mut(&link) else {
            return;
        };
        io.hold = io.preamble.is_some() && mode == Mode::Wait;
        if io.preamble.is_some()
            && let Some(fd) = &io.fd
        {
            // A new pipe has room.
            let _ = sys::write(fd, OTHER_SHELL_EXITS);
            if io.hold {
                // Start-up files that read lines would otherwise wait as long as this node does.
                // The loader skips the lines that they leave.
                let _ = sys::write(fd, LINE_ENDS);
            }
        }
        reactor.shared.flush_link(core, link);
    }

    /// Handles output of a child's program before its agent is up. Returns the first bytes of
    /// frames once the agent is up.
    pub(crate) fn stdout(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        link: LinkId,
        bytes: &[u8],
    ) -> Vec<u8> {
        let Some(child) = self.by_link.get_mut(&link) else {
            return Vec::new();
        };
        match child.boot.stdout(bytes) {
            Progress::Noise if child.order.recipe.asks_on_pipes => {
                let act = child.boot.dialogue.terminal(bytes);
                self.act(reactor, core, link, act);
            }
            Progress::Noise => {}
            Progress::Ready => {
                // Behind the beginning of the image an answer would damage it.
                child.order.recipe.asks_on_pipes = false;
                if let Some(io) = core.io.get_mut(&link) {
                    io.hold = false;
                }
                reactor.shared.flush_link(core, link);
            }
            Progress::Up(rest) => {
                child.up = true;
                child.forget_secrets();
                child.slave = None;
                if child.boot.bootstraps() > 1 {
                    let (key, platform) = (child.order.recipe.key.clone(), child.boot.platform());
                    self.remembered.retain(|(other, _)| *other != key);
                    self.remembered.push((key, platform));
                }
                self.admit_next(reactor, link);
                return rest;
            }
        }
        Vec::new()
    }

    pub(crate) fn stderr(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        link: LinkId,
        bytes: &[u8],
    ) {
        let Some(child) = self.by_link.get_mut(&link) else {
            return;
        };
        if child.order.recipe.asks_on_pipes {
            return self.terminal(reactor, link, bytes);
        }
        let level = if child.up { Level::DEBUG } else { Level::INFO };
        for line in child.boot.stderr(bytes) {
            child.log_line(&reactor.shared, level, &line);
        }
        let (way, notice) = (
            child.boot.dialogue.take_way(),
            child.boot.dialogue.take_notice(),
        );
        if child.boot.dialogue.take_held_back()
            && let Some(process) = &child.process
        {
            process.send_at_once();
        }
        if let Some(way) = way {
            self.route_known(reactor, core, link, way);
        }
        if let Some((kind, text)) = notice {
            self.ask(reactor, core, link, kind, text);
        }
    }

    pub(crate) fn terminal(&mut self, reactor: &mut Reactor, link: LinkId, bytes: &[u8]) {
        let Some(child) = self.by_link.get_mut(&link) else {
            return;
        };
        for line in child.boot.terminal(bytes) {
            child.log_line(&reactor.shared, Level::DEBUG, &line);
        }
        if child.up {
            return;
        }
        child.written = child.written.wrapping_add(1);
        child.boot.dialogue.feed(bytes);
        if child.boot.dialogue.question().is_some() {
            // A terminal passes on the lines of one text one by one. A line that looks like a
            // question must not be answered if another one follows, which would get the answer.
            for (patience, last) in [(SETTLED, false), (ANSWERED, true)] {
                reactor.after(patience, Timer::Unanswered(link, child.written, last));
            }
        }
    }

    /// Handles a question that is still unanswered on the terminal. One that no rule knows is asked
    /// at the `last` chance.
    pub(crate) fn unanswered(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        link: LinkId,
        (times, last): (u32, bool),
    ) {
        let waits = |child: &&mut Child| child.written == times && !child.up && !child.over;
        let Some(child) = self.by_link.get_mut(&link).filter(waits) else {
            return;
        };
        let dialogue = &mut child.boot.dialogue;
        let known = dialogue.terminal(&[]);
        let act = known.or_else(|| if last { dialogue.ask() } else { None });
        self.act(reactor, core, link, act);
    }

    fn act(&mut self, reactor: &mut Reactor, core: &mut NodeState, link: LinkId, act: Option<Act>) {
        let Some(child) = self.by_link.get_mut(&link) else {
            return;
        };
        match act {
            None => {}
            Some(Act::Type(secret)) => {
                let pipe = core.io.get(&link).and_then(|io| io.fd.as_ref());
                if let Some(terminal) = child.terminal.as_ref().or(pipe) {
                    // A terminal buffers a whole line. If it does not, the program asks again or
                    // times out.
                    let _ = sys::write(terminal, secret.expose());
                    let _ = sys::write(terminal, b"\n");
                }
            }
            Some(Act::Ask(kind, text)) => self.ask(reactor, core, link, kind, text),
            Some(Act::Fail(why)) => {
                let mut error = ConnectError::from(why);
                error.output = child.boot.said();
                self.fail(reactor, core, link, error);
            }
        }
    }

    /// Asks the context that requested the hop. Fails the hop if nobody there answers.
    fn ask(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        link: LinkId,
        kind: PromptKind,
        text: String,
    ) {
        let Some(child) = self.by_link.get_mut(&link) else {
            return;
        };
        let (Some(flow), handle) = (child.reply, child.order.prompts) else {
            return;
        };
        if handle == Handle::NONE {
            let why = unanswered_question(text.as_bytes());
            return self.act(reactor, core, link, Some(Act::Fail(why)));
        }
        let awaited = match kind {
            PromptKind::Touch => Awaited::Nothing,
            _ => Awaited::Answer,
        };
        if awaited == Awaited::Answer {
            // A program that asks for the password again, with no answer yet, asks nothing new.
            if kind == PromptKind::Password && child.open == Some(kind) {
                return;
            }
            child.open = Some(kind);
            child.asked = child.asked.saturating_add(1);
            child.question += 1;
        }
        let question = child.question;
        let request = offshoot_codec::own(&PromptRequest {
            kind,
            number: question,
            text,
        });
        await_reply(core, link, (awaited, question), flow.peer, handle, request);
    }

    /// Gives the answer to a question to the program of the hop.
    fn answer(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        (link, question): (LinkId, u32),
        answer: Option<Secret>,
    ) {
        let Some(child) = self.by_link.get_mut(&link) else {
            return;
        };
        child.asked = child.asked.saturating_sub(1);
        child.answered = true;
        // Its program asks something else by now, or it is another attempt's.
        if question != child.question {
            return;
        }
        child.open = None;
        let act = match answer {
            Some(secret) => Act::Type(secret),
            None => Act::Fail(unanswered_question(b"")),
        };
        self.act(reactor, core, link, Some(act));
    }

    /// Retries or fails the hop, if the program of its attempt has ended and its output was read.
    pub(crate) fn attempt_over(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        link: LinkId,
    ) {
        let Some(child) = self.by_link.get_mut(&link) else {
            return;
        };
        let Some(status) = child
            .exit
            .filter(|_| !child.up && !child.over && child.is_read())
        else {
            return;
        };
        if child.admission == Admission::Pausing {
            return;
        }
        // The login shell is a restricted one.
        if child.order.recipe.attach == Attach::Line && child.boot.dialogue.knows(fact::NO_EXEC) {
            child.order.recipe.attach = Attach::PlainLine;
            child.boot.drop_attempt();
            let (platform, mode) = (child.boot.platform(), child.boot.mode());
            self.clear_attempt(reactor, core, link);
            return self.attempt(reactor, core, link, platform, mode);
        }
        let hint = child.order.recipe.hint.clone();
        match child.boot.exited(status.code, status.signal, &hint) {
            Retry::Failed(error) if error.kind == ConnectErrorKind::Dropped => {
                self.drop_attempt(reactor, core, link, error)
            }
            Retry::Failed(error) => self.fail(reactor, core, link, *error),
            Retry::Again(platform) => {
                let why = status
                    .code
                    .and_then(offshoot_bootstrap::exit::explain)
                    .unwrap_or_default();
                let text = format!(
                    "{}: a second attempt, for {platform}: {why}",
                    child.order.name
                );
                reactor.shared.say(Level::INFO, text);
                self.clear_attempt(reactor, core, link);
                self.attempt(reactor, core, link, platform, Mode::Wait);
            }
        }
    }

    /// Closes the streams of an attempt.
    pub(crate) fn clear_attempt(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        link: LinkId,
    ) {
        if let Some(child) = self.by_link.get_mut(&link) {
            child.terminal = None;
            child.slave = None;
            child.open = None;
            child.question += 1;
        }
        reactor.unwatch(Source::ChildTerminal(link));
        reactor.unwatch(Source::ChildStderr(link));
        reactor.unwatch(Source::Link(link));
        reactor.forget_output(core, link);
        core.node.link_restart(link);
    }

    /// Continues the hop of a child with a reply that it needs.
    pub(crate) fn reply_arrived(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        reply: &ForChild,
    ) {
        let (link, platform) = match reply.awaited {
            Awaited::Image(platform) => (reply.link, platform),
            Awaited::Answer => {
                let answer = read_own("", &reply.bytes).ok().flatten();
                return self.answer(reactor, core, (reply.link, reply.question), answer);
            }
            Awaited::Nothing => return,
        };
        let image = read_own::<Vec<u8>>("controller", &reply.bytes)
            .and_then(|bytes| Image::parse(bytes).map_err(|error| Error::Image(error.to_string())));
        match image {
            Ok(image) => {
                core.images.keep(image.for_hosts(platform));
                let mode = self
                    .by_link
                    .get(&link)
                    .map_or(Mode::Wait, |child| child.boot.mode());
                self.attempt(reactor, core, link, platform, mode);
            }
            Err(error) => self.fail(reactor, core, link, image_error(&error)),
        }
    }

    /// Handles the failure of a request for a child.
    pub(crate) fn reply_missing(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        reply: &ForChild,
        error: &Error,
    ) {
        match reply.awaited {
            Awaited::Image(_) => self.fail(reactor, core, reply.link, image_error(error)),
            Awaited::Answer => self.answer(reactor, core, (reply.link, reply.question), None),
            Awaited::Nothing => {}
        }
    }

    pub(crate) fn connect_timed_out(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        link: LinkId,
        asking: bool,
    ) {
        let Some(child) = self.by_link.get_mut(&link) else {
            return;
        };
        if child.reply.is_none() || child.over || asking && child.admission != Admission::Asking {
            return;
        }
        let allowed = child.order.recipe.timeout_ms;
        // A person takes the time that it takes; the limit begins anew with the answer.
        if std::mem::take(&mut child.answered) || child.asked > 0 {
            return reactor.after(Duration::from_millis(allowed), Timer::Connect(link, asking));
        }
        let mut error = match (child.boot.dialogue.question(), child.dropped.take()) {
            (Some(question), _) => question.into(),
            (None, Some(dropped)) => *dropped,
            (None, None) => {
                let text = format!("no agent was up within {allowed} ms");
                let mut error = ConnectError::new(ConnectErrorKind::TimedOut, text);
                error.hint =
                    "give it longer (timeout(), timeout=SECONDS), or see whether a start-up file there reads stdin"
                        .into();
                error
            }
        };
        error.output.extend(child.boot.said());
        self.fail(reactor, core, link, error);
    }

    /// Kills the program of an attempt that did not end in time. Does nothing if a later attempt
    /// runs.
    pub(crate) fn attempt_overdue(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        link: LinkId,
        attempt: u8,
    ) {
        if self
            .by_link
            .get(&link)
            .is_some_and(|child| child.boot.attempts() == attempt)
        {
            self.kill(reactor, core, link);
        }
    }
}

/// Fetches an image from the root for a child that connects over `link`.
fn fetch_image(core: &mut NodeState, link: LinkId, platform: Platform) {
    let request = platform.machine().as_bytes().to_vec();
    let (root, service) = (ContextId::ROOT, Handle::IMAGE);
    await_reply(
        core,
        link,
        (Awaited::Image(platform), 0),
        root,
        service,
        request,
    );
}

/// Sends a request whose reply is for a child.
fn await_reply(
    core: &mut NodeState,
    link: LinkId,
    (awaited, question): (Awaited, u32),
    to: ContextId,
    service: Handle,
    request: Vec<u8>,
) {
    core.open(to, service, request, Opening::default(), |_| {
        let bytes = Vec::new();
        Endpoint::ForChild(Box::new(ForChild {
            link,
            awaited,
            question,
            bytes,
        }))
    });
}

fn fresh_nonce() -> Nonce {
    Nonce::new(sys::random())
}

fn image_error(error: &Error) -> ConnectError {
    ConnectError::new(ConnectErrorKind::Platform, error.to_string())
}

/// Returns the title that `ps` shows for the agent of this name.
pub(crate) fn title_of(name: &str) -> String {
    match name {
        "" => "offshoot".into(),
        name => format!("offshoot: {name}"),
    }
}

fn program_of<'a>(
    recipe: &Recipe,
    image: &Image,
    nonce: &Nonce,
    mode: Mode,
    title: &str,
    own: Option<&'a OwnImage>,
) -> HopProgram<'a> {
    if let Some(own) = own {
        let mut param = offshoot_bootstrap::param(image, nonce, mode);
        param.image_fd = Some(IMAGE_FD);
        param.agent_fd = Some(AGENT_FD);
        let title = offshoot_bootstrap::clean_title(title);
        return HopProgram::Agent {
            image: &own.image,
            agent: &own.agent,
            argv: [title, param.to_string(), String::new()],
        };
    }
    HopProgram::Words(words(recipe, image, nonce, mode, title))
}
