//! A program on a terminal of its own, for tests that answer prompts as a person does.
//!
//! [`Terminal::expect`] reads until a text appears, [`Terminal::type_line`] answers. Output that
//! was read but not yet matched is kept; every wait ends after [`crate::run::LIMIT`] with the whole
//! transcript.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command};
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::{Winsize, openpty};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use crate::process;
use crate::run::LIMIT;

/// A running program and the master side of its controlling terminal.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    master: File,
    transcript: Vec<u8>,
    matched: usize,
}

impl Terminal {
    /// Starts `command` with all three streams on a new terminal, in a session of its own. A stream
    /// that the caller has set (`command.stdout(...)`) stays as it is when `keep_streams` says so.
    ///
    /// # Panics
    /// Panics if it cannot be started.
    pub fn start(command: Command, keep_streams: bool) -> Self {
        // So wide that no line is broken.
        Self::start_with(command, keep_streams, 1000)
    }

    /// Starts it in the same way, on a terminal with this number of columns; 0 if it does not know.
    ///
    /// # Panics
    /// Panics if it cannot be started.
    pub fn start_with(mut command: Command, keep_streams: bool, columns: u16) -> Self {
        let size = Winsize {
            ws_row: 24,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pair = openpty(&size, None).expect("a pseudo terminal is free");
        let slave = File::from(pair.slave);
        let copy = || slave.try_clone().expect("a descriptor is free");
        if !keep_streams {
            command.stdin(copy()).stdout(copy()).stderr(copy());
        }
        let terminal = copy();
        // SAFETY: the closure runs between fork and exec and makes two system calls that allocate
        // nothing.
        unsafe {
            command.pre_exec(move || {
                nix::unistd::setsid()?;
                match libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            });
        }
        process::die_with_parent(&mut command);
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let master = File::from(pair.master);
        Self {
            child,
            master,
            transcript: Vec::new(),
            matched: 0,
        }
    }

    /// The program's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Reads until `text` appears after the last match, and returns the output before it.
    ///
    /// # Panics
    /// Panics if it does not appear.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            let unmatched = &self.transcript[self.matched..];
            if let Some(at) = unmatched
                .windows(text.len())
                .position(|window| window == text.as_bytes())
            {
                let before = String::from_utf8_lossy(&unmatched[..at]).into_owned();
                self.matched += at + text.len();
                return before;
            }
            assert!(
                self.read_more(deadline),
                "{text:?} did not appear:\n{}",
                self.transcript()
            );
        }
    }

    /// Types a line and presses return.
    ///
    /// # Panics
    /// Panics if the terminal is gone.
    pub fn type_line(&mut self, line: &str) {
        let typed = format!("{line}\n");
        self.master
            .write_all(typed.as_bytes())
            .expect("the terminal is open");
    }

    /// Presses a key that the terminal may take for a signal: 3 for Ctrl-C, 26 for Ctrl-Z, 28 for
    /// Ctrl-\\.
    ///
    /// # Panics
    /// Panics if the terminal is gone.
    pub fn press(&mut self, key: u8) {
        self.master.write_all(&[key]).expect("the terminal is open");
    }

    /// Returns the settings of the terminal.
    ///
    /// # Panics
    /// Panics if the terminal is gone.
    pub fn modes(&self) -> Termios {
        tcgetattr(&self.master).expect("the terminal is open")
    }

    /// Returns true if the terminal echoes input.
    pub fn echoes(&self) -> bool {
        self.modes().local_flags.contains(LocalFlags::ECHO)
    }

    /// Changes the settings of the terminal, as another program does.
    ///
    /// # Panics
    /// Panics if the terminal is gone.
    pub fn set_modes(&self, modes: &Termios) {
        tcsetattr(&self.master, SetArg::TCSANOW, modes).expect("the terminal is open");
    }

    /// Returns the whole output so far.
    pub fn transcript(&self) -> String {
        String::from_utf8_lossy(&self.transcript).into_owned()
    }

    /// Reads until the program has closed the terminal, and returns its exit code (128 + signal)
    /// and the transcript.
    ///
    /// # Panics
    /// Panics if it does not end.
    #[track_caller]
    pub fn finish(mut self) -> (i32, String) {
        let deadline = Instant::now() + LIMIT;
        while self.read_more(deadline) {}
        let status = process::wait_for(
            &mut self.child,
            deadline.saturating_duration_since(Instant::now()),
        );
        let status =
            status.unwrap_or_else(|| panic!("the program did not end:\n{}", self.transcript()));
        let code = status
            .code()
            .or(status.signal().map(|signal| 128 + signal))
            .expect("it has ended one way");
        (code, self.transcript())
    }

    /// Reads more output; returns false at the end of the terminal and at the deadline.
    fn read_more(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut polled = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
        if left.is_zero() || poll(&mut polled, process::poll_timeout(left)) == Ok(0) {
            return false;
        }
        let mut buffer = [0; 4096];
        // EIO means that the other side is closed.
        let Ok(length @ 1..) = self.master.read(&mut buffer) else {
            return false;
        };
        self.transcript.extend_from_slice(&buffer[..length]);
        true
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
