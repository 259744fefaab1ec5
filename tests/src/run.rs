//! A program run to its end with its output captured and a time limit.
//!
//! One poll loop feeds stdin and reads both streams, so a program that prints more than a pipe
//! holds does not block. When the time is up the program is killed and the test fails with the
//! output so far.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, poll};

use crate::process;

/// The bound of every wait for something that must happen. It ends a test that hangs and measures
/// nothing: speed is a matter of `cargo xtask bench`.
///
/// Missed heartbeats end a link after 30 s at the earliest, unless a test asks for shorter ones. So
/// they cannot stand in for the faster mechanism that a test waits for.
pub const LIMIT: Duration = Duration::from_secs(25);

/// The bound of programs and batches that consist of many such steps.
pub const LONG_LIMIT: Duration = Duration::from_secs(100);

/// Returns the path of the finished command-line program.
///
/// # Panics
/// Panics outside the sandbox, where `OFFSHOOT_BIN` is not set.
pub fn offshoot_binary() -> PathBuf {
    crate::require_sandbox();
    PathBuf::from(std::env::var_os("OFFSHOOT_BIN").expect("`cargo xtask test` sets OFFSHOOT_BIN"))
}

/// A program to be run to its end.
#[derive(Debug)]
pub struct Run {
    command: Command,
    stdin: Vec<u8>,
    limit: Duration,
}

/// The outcome of a finished program.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Exit code, or 128 + the signal that ended it.
    pub code: i32,
    /// Complete stdout.
    pub stdout: Vec<u8>,
    /// Complete stderr.
    pub stderr: Vec<u8>,
}

impl Run {
    /// Prepares a run of the finished `offshoot` with these arguments.
    pub fn offshoot<I, S>(arguments: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = Command::new(offshoot_binary());
        command.args(arguments);
        Self::command(command)
    }

    /// Prepares a run of any program, looked up in `PATH`.
    pub fn program(program: impl AsRef<OsStr>) -> Self {
        Self::command(Command::new(program))
    }

    /// Prepares a run of a command.
    pub fn command(command: Command) -> Self {
        Self {
            command,
            stdin: Vec::new(),
            limit: LONG_LIMIT,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, arguments: I) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.command.env(name, value.into());
        self
    }

    /// Sets the working directory.
    pub fn directory(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Sets its stdin, which is empty by default.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Sets another time limit than [`LONG_LIMIT`].
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs the program in a session of its own, without a controlling terminal, and waits for its
    /// end.
    ///
    /// # Panics
    /// Panics if it cannot be started, or is not done (streams closed and process ended) within the
    /// limit.
    pub fn finish(mut self) -> Finished {
        self.command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // SAFETY: the closure runs between fork and exec and makes one system call that allocates
        // nothing.
        unsafe {
            self.command
                .pre_exec(|| Ok(nix::unistd::setsid().map(drop)?))
        };
        process::die_with_parent(&mut self.command);
        let mut child = self
            .command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {:?}: {error}", self.command));
        let mut streams = Streams::of(&mut child, self.stdin);
        let deadline = Instant::now() + self.limit;
        while !streams.closed() && Instant::now() < deadline {
            streams.step(deadline);
        }
        let ended = process::wait_for(
            &mut child,
            deadline.saturating_duration_since(Instant::now()),
        );
        let (stdout, stderr) = (streams.stdout.bytes, streams.stderr.bytes);
        let Some(status) = ended.filter(|_| streams.stdout.pipe.is_none()) else {
            let _ = child.kill();
            let _ = child.wait();
            let (out, err) = (
                String::from_utf8_lossy(&stdout),
                String::from_utf8_lossy(&stderr),
            );
            panic!(
                "{:?} was not done after {:?}\nstdout: {out}\nstderr: {err}",
                self.command, self.limit
            );
        };
        let code = status
            .code()
            .or(status.signal().map(|signal| 128 + signal))
            .expect("it has ended one way");
        Finished {
            code,
            stdout,
            stderr,
        }
    }
}

impl Finished {
    /// Returns stdout as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Returns stderr as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Asserts the exit code, showing both streams if it differs.
    ///
    /// # Panics
    /// Panics if the code is another.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        let (out, err) = (self.out(), self.err());
        assert_eq!(
            self.code, code,
            "unexpected exit code\nstdout: {out}\nstderr: {err}"
        );
        self
    }
}

/// A stream being collected; the pipe is dropped at its end.
#[derive(Debug)]
struct Collected<P> {
    pipe: Option<P>,
    bytes: Vec<u8>,
}

impl<P: Read + AsFd> Collected<P> {
    fn new(pipe: Option<P>) -> Self {
        if let Some(pipe) = &pipe {
            do_not_block(pipe.as_fd());
        }
        Self {
            pipe,
            bytes: Vec::new(),
        }
    }

    fn read(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        let mut buffer = [0; 64 * 1024];
        match pipe.read(&mut buffer) {
            Ok(0) => self.pipe = None,
            Ok(length) => self.bytes.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.pipe = None,
        }
    }
}

struct Streams {
    stdin: Option<std::process::ChildStdin>,
    unsent: Vec<u8>,
    sent: usize,
    stdout: Collected<std::process::ChildStdout>,
    stderr: Collected<std::process::ChildStderr>,
}

impl Streams {
    fn of(child: &mut Child, input: Vec<u8>) -> Self {
        let stdin = child.stdin.take().filter(|_| !input.is_empty());
        if let Some(pipe) = &stdin {
            do_not_block(pipe.as_fd());
        }
        let (stdout, stderr) = (
            Collected::new(child.stdout.take()),
            Collected::new(child.stderr.take()),
        );
        Self {
            stdin,
            unsent: input,
            sent: 0,
            stdout,
            stderr,
        }
    }

    fn closed(&self) -> bool {
        self.stdout.pipe.is_none() && self.stderr.pipe.is_none()
    }

    fn step(&mut self, deadline: Instant) {
        let mut polled = Vec::new();
        polled.extend(
            self.stdin
                .iter()
                .map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLOUT)),
        );
        polled.extend(
            self.stdout
                .pipe
                .iter()
                .map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)),
        );
        polled.extend(
            self.stderr
                .pipe
                .iter()
                .map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)),
        );
        let _ = poll(
            &mut polled,
            process::poll_timeout(deadline.saturating_duration_since(Instant::now())),
        );
        drop(polled);
        self.stdout.read();
        self.stderr.read();
        self.write();
    }

    fn write(&mut self) {
        let Some(pipe) = &mut self.stdin else { return };
        match pipe.write(&self.unsent[self.sent..]) {
            Ok(length) => self.sent += length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The program does not read the rest.
            Err(_) => self.sent = self.unsent.len(),
        }
        if self.sent == self.unsent.len() {
            self.stdin = None;
        }
    }
}

fn do_not_block(pipe: BorrowedFd<'_>) {
    fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("a pipe takes the flag");
}
