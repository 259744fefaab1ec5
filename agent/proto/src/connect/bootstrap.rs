//! The watcher of one bootstrap: finds markers in the output of the hop, keeps the rest for
//! messages, and explains failures. Pure.

use crate::connect::dialogue::Dialogue;
use crate::connect::dialogue::Explanation;
use crate::error::connect::ConnectError;
use crate::error::connect::ConnectErrorKind;
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use offshoot_bootstrap::Mode;
use offshoot_bootstrap::Nonce;
use offshoot_bootstrap::Platform;
use offshoot_bootstrap::exit;
use offshoot_bootstrap::names;
use offshoot_bootstrap::platform_notice;

/// Notice of a guard on stderr that its agent was stopped. Only its parent sees the notice.
pub const STOPPED: &str = "[offshoot agent: stopped]";

/// Notice of a guard on stderr that its agent was continued; see [`STOPPED`].
pub const CONTINUED: &str = "[offshoot agent: continued]";

/// Maximum number of lines of each stream that are kept for messages.
const KEPT_LINES: usize = 100;

/// Maximum length in bytes of a kept line.
const LINE_LIMIT: usize = 512;

/// The last lines of a stream.
#[derive(Default)]
pub struct History {
    lines: VecDeque<String>,
    partial: Vec<u8>,
}

impl History {
    /// Takes bytes. Returns the lines that they complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let finished = self.split(bytes);
        for line in &finished {
            self.keep(line);
        }
        finished
    }

    /// Takes bytes and returns the lines that they complete, without keeping these.
    fn split(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut finished = Vec::new();
        for byte in bytes {
            if matches!(byte, b'\n' | b'\r') {
                if !self.partial.is_empty() {
                    finished.push(core::mem::take(&mut self.partial));
                }
            } else if self.partial.len() < LINE_LIMIT {
                self.partial.push(*byte);
            }
        }
        finished
    }

    fn keep(&mut self, line: &[u8]) {
        if self.lines.len() == KEPT_LINES {
            self.lines.pop_front();
        }
        self.lines
            .push_back(String::from_utf8_lossy(line).trim_end().to_owned());
    }

    /// Removes and returns all kept lines, including an incomplete one.
    pub fn take(&mut self) -> Vec<String> {
        if !self.partial.is_empty() {
            let line = core::mem::take(&mut self.partial);
            self.keep(&line);
        }
        core::mem::take(&mut self.lines)
            .into_iter()
            .filter(|line| !line.is_empty())
            .collect()
    }
}

/// The meaning of bytes on stdout.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// No progress.
    Noise,
    /// The loader waits for the image.
    Ready,
    /// The agent is up; these bytes follow its marker.
    Up(Vec<u8>),
}

/// The decision after a failed attempt.
#[derive(Debug)]
pub enum Retry {
    /// Another attempt with the image of this platform, sent once the loader is ready.
    Again(Platform),
    /// Failure of the hop.
    Failed(Box<ConnectError>),
}

/// The state of one bootstrap over all its attempts.
pub struct BootstrapWatcher {
    /// Dialogue with the program of the hop.
    pub dialogue: Dialogue,
    mode: Mode,
    platform: Platform,
    agent: Platform,
    attempts: u8,
    dropped: u8,
    ready_marker: Vec<u8>,
    agent_marker: Vec<u8>,
    ready: bool,
    pending: Vec<u8>,
    stdout: History,
    stderr: History,
    terminal: History,
    notice: Option<String>,
    stopped: bool,
}

impl BootstrapWatcher {
    /// Creates the watcher before the first attempt.
    pub fn new(mode: Mode, platform: Platform) -> Self {
        Self {
            dialogue: Dialogue::new(Vec::new()),
            mode,
            platform,
            agent: platform,
            attempts: 0,
            dropped: 0,
            ready_marker: Vec::new(),
            agent_marker: Vec::new(),
            ready: false,
            pending: Vec::new(),
            stdout: History::default(),
            stderr: History::default(),
            terminal: History::default(),
            notice: None,
            stopped: false,
        }
    }

    /// Begins an attempt. Keeps the output of earlier ones.
    pub fn begin(
        &mut self,
        platform: Platform,
        mode: Mode,
        dialogue: Dialogue,
        nonce: &Nonce,
        ready_marker: Vec<u8>,
    ) {
        self.attempts += 1;
        self.mode = mode;
        self.platform = platform;
        self.agent = platform;
        self.dialogue = dialogue;
        self.ready_marker = ready_marker;
        self.agent_marker = offshoot_bootstrap::agent_marker(nonce);
        self.ready = false;
        self.notice = None;
        self.pending.clear();
    }

    /// Notes the platform of the agent that the current attempt sends, which can be another than
    /// that of the host.
    pub fn set_agent(&mut self, platform: Platform) {
        self.agent = platform;
    }

    /// Returns the mode of the current attempt.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Returns the platform of the current attempt.
    pub fn platform(&self) -> Platform {
        self.platform
    }

    /// Returns the number of attempts, without those that were dropped on their way.
    pub fn bootstraps(&self) -> u8 {
        self.attempts - self.dropped
    }

    /// Returns the number of attempts.
    pub fn attempts(&self) -> u8 {
        self.attempts
    }

    /// Records that the current attempt was dropped on its way to the host, so that it says nothing
    /// about the bootstrap. Returns the number of dropped attempts.
    pub fn drop_attempt(&mut self) -> u8 {
        self.dropped += 1;
        self.dropped
    }

    /// Returns true if no attempt but the first has reached the host.
    fn is_first(&self) -> bool {
        self.bootstraps() == 1
    }

    /// Takes bytes of stdout. Markers may begin anywhere, also behind an incomplete line.
    pub fn stdout(&mut self, bytes: &[u8]) -> Progress {
        self.pending.extend_from_slice(bytes);
        if let Some(at) = position(&self.pending, &self.agent_marker) {
            let rest = self.pending.split_off(at + self.agent_marker.len());
            self.noise(at);
            self.pending.clear();
            return Progress::Up(rest);
        }
        let mut progress = Progress::Noise;
        if self.mode == Mode::Wait
            && !self.ready
            && let Some(at) = position(&self.pending, &self.ready_marker)
        {
            self.ready = true;
            self.noise(at);
            self.pending.drain(..at + self.ready_marker.len());
            progress = Progress::Ready;
        }
        let longest = self.agent_marker.len().max(self.ready_marker.len());
        let settled = self.pending.len().saturating_sub(longest);
        self.noise(settled);
        self.pending.drain(..settled);
        progress
    }

    fn noise(&mut self, length: usize) {
        let bytes = self.pending[..length].to_vec();
        let lines = self.stdout.feed(&bytes);
        self.look_for_notice(&lines);
    }

    fn look_for_notice(&mut self, lines: &[Vec<u8>]) {
        for line in lines {
            if let Some(machine) = platform_notice(&String::from_utf8_lossy(line)) {
                self.notice = Some(machine.to_owned());
            }
        }
    }

    /// Takes bytes of stderr. Returns the lines that they complete, except for notices of the guard
    /// and uninteresting ones.
    pub fn stderr(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = self.stderr.split(bytes);
        lines.retain(|line| {
            let stopped = line == STOPPED.as_bytes();
            let known = stopped || line == CONTINUED.as_bytes();
            self.stopped = if known { stopped } else { self.stopped };
            !known && self.dialogue.line(line)
        });
        for line in &lines {
            self.stderr.keep(line);
        }
        self.look_for_notice(&lines);
        lines
    }

    /// Returns true if the guard has reported that its agent is stopped.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Takes bytes of the terminal, for messages only. Returns the lines that they complete.
    pub fn terminal(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.terminal.feed(bytes)
    }

    /// Decides after the program of the current attempt has exited and its streams are read to
    /// their ends. `status` is its exit code, `signal` the signal that killed it.
    pub fn exited(&mut self, status: Option<i32>, signal: Option<i32>, hint: &str) -> Retry {
        let rest = core::mem::take(&mut self.pending);
        let mut lines = self.stdout.feed(&rest);
        lines.extend(self.stdout.feed(b"\n"));
        self.look_for_notice(&lines);
        if let Some(verdict) = self.other_platform(status) {
            return verdict;
        }
        let swallowed = matches!(status, Some(exit::NO_IMAGE | exit::SHORT | exit::CORRUPT));
        if swallowed && self.mode == Mode::Optimistic && self.is_first() {
            return Retry::Again(self.platform);
        }
        // Some programs explain themselves on stdout. Nothing follows any more, so that these
        // lines, which the target may have printed as well, can change the text of this failure
        // only.
        let ended = |why: &Explanation| why.kind == ConnectErrorKind::Exited;
        if self.dialogue.explanation().is_none_or(ended) {
            for at in 0..self.stdout.lines.len() {
                self.dialogue.line(self.stdout.lines[at].as_bytes());
            }
        }
        // A code of the bootstrap says more than that its program has ended.
        let why = self.dialogue.explanation();
        let weak = [ConnectErrorKind::Exited, ConnectErrorKind::Restricted];
        let known = why.filter(|why| !weak.contains(&why.kind));
        let code = status.and_then(exit::explain);
        let mut error =
            if known.is_none() && self.agent != self.platform && status.is_some_and(is_no_start) {
                let text = format!("and that for {} does not start there", self.agent);
                no_image(self.platform.machine(), &text)
            } else if let (None, Some(text)) = (known, code) {
                ConnectError::new(ConnectErrorKind::Bootstrap, text)
            } else if let Some(why) = why {
                why.clone().into()
            } else {
                let how = match (status, signal) {
                    (Some(127), _) => "ended with status 127: a command was not found".into(),
                    (Some(126), _) => "ended with status 126: a command may not be executed".into(),
                    (Some(status), _) => format!("ended with status {status}"),
                    (None, Some(signal)) => format!("was killed by signal {signal}"),
                    (None, None) => "closed its streams".into(),
                };
                ConnectError::new(
                    ConnectErrorKind::Exited,
                    format!("its program {how} before an agent was up"),
                )
            };
        if error.hint.is_empty() {
            error.hint = hint.into();
        }
        error.output = self.said();
        Retry::Failed(Box::new(error))
    }

    fn other_platform(&mut self, status: Option<i32>) -> Option<Retry> {
        let machine = self
            .notice
            .take()
            .filter(|_| status.is_none_or(|status| status == exit::PLATFORM || status == 255))?;
        let platform = Platform::from_machine(&machine);
        if let Some(platform) = platform
            && platform != self.platform
            && self.is_first()
        {
            return Some(Retry::Again(platform));
        }
        let mut error = no_image(&machine, "");
        error.output = self.said();
        Some(Retry::Failed(Box::new(error)))
    }

    /// Removes and returns the kept lines of all streams.
    pub fn said(&mut self) -> Vec<String> {
        // The beginning of a possible marker was output as well.
        let rest = core::mem::take(&mut self.pending);
        self.stdout.feed(&rest);
        let mut said = self.stdout.take();
        said.extend(self.terminal.take());
        said.extend(self.stderr.take());
        // Notices of offshoot itself explain nothing.
        said.retain(|line| platform_notice(line).is_none() && !line.starts_with("[offshoot "));
        said
    }
}

/// Returns true if stage 0 ended since it could not start the loader.
fn is_no_start(status: i32) -> bool {
    matches!(status, exit::NO_PLACE | exit::INTERPRETER)
}

/// Returns the error for a host whose platform has no image here.
fn no_image(machine: &str, more: &str) -> ConnectError {
    let comma = if more.is_empty() { "" } else { ", " };
    let mut error = ConnectError::new(
        ConnectErrorKind::Platform,
        format!("its machine is {machine}, for which there is no image{comma}{more}"),
    );
    error.hint = format!(
        "agents can be built for {}, by `offshoot build-agent --target MACHINE`",
        names(&Platform::ALL)
    );
    error
}

fn position(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len())
        .position(|window| window == needle)
}
