//! Handle to the program `join-peer`: a process that joins a tree, or lets others join its own, on
//! command.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nix::unistd::{Gid, Uid};

use crate::process::die_with_parent;
use crate::users::User;

/// The variable that names the user to become before anything else.
const USER: &str = "OFFSHOOT_TEST_USER";

/// A running `join-peer`.
#[derive(Debug)]
pub struct JoinPeer {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    /// Its first line.
    pub first: String,
}

impl JoinPeer {
    /// Starts `program` with these arguments, as `user` if given, and waits for its first line.
    ///
    /// # Panics
    /// Panics if it cannot be started.
    pub fn start(program: &str, user: Option<User>, words: &[&str]) -> Self {
        let mut command = Command::new(program);
        command
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if let Some(user) = user {
            command.env(USER, user.name);
        }
        let mut child = die_with_parent(&mut command)
            .spawn()
            .expect("cargo builds it for this suite");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut peer = Self {
            child,
            stdin,
            stdout,
            first: String::new(),
        };
        peer.first = peer.line();
        peer
    }

    /// Starts a peer that joins at `path`; returns it and the id of its context.
    ///
    /// # Panics
    /// Panics if it could not join.
    #[track_caller]
    pub fn joined(program: &str, path: &Path) -> (Self, u32) {
        let peer = Self::start(
            program,
            None,
            &["join", path.to_str().expect("our own path")],
        );
        let number = peer
            .first
            .split(' ')
            .nth(1)
            .and_then(|number| number.parse().ok());
        let number = number.filter(|_| peer.first.starts_with("joined "));
        let number = number.unwrap_or_else(|| panic!("it did not join: {}", peer.first));
        (peer, number)
    }

    /// Returns its process id.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it writes text");
        line.trim_end().to_owned()
    }

    /// Sends a command without waiting for the answer.
    ///
    /// # Panics
    /// Panics if it has ended.
    pub fn tell(&mut self, order: &str) {
        let stdin = self.stdin.as_mut().expect("it was not told to end");
        writeln!(stdin, "{order}").expect("it reads");
    }

    /// Waits for the answer to a command.
    ///
    /// # Errors
    /// Returns the error text of the peer.
    ///
    /// # Panics
    /// Panics if it has ended.
    #[track_caller]
    pub fn answer(&mut self) -> Result<String, String> {
        let line = self.line();
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("ok", text) => Ok(text.to_owned()),
            ("error", text) => Err(text.to_owned()),
            _ => panic!("it has ended: {line:?}"),
        }
    }

    /// Sends a command and waits for the answer.
    ///
    /// # Errors
    /// As [`JoinPeer::answer`].
    #[track_caller]
    pub fn does(&mut self, order: &str) -> Result<String, String> {
        self.tell(order);
        self.answer()
    }
}

impl Drop for JoinPeer {
    fn drop(&mut self) {
        // It ends at the end of its stdin.
        self.stdin = None;
        if std::thread::panicking() {
            // A peer that a failed test has left stopped would never see it.
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// For the program itself: returns the user to become.
pub fn wanted_user() -> Option<String> {
    std::env::var(USER).ok()
}

/// For the program itself: becomes this user permanently.
///
/// # Panics
/// Panics if there is no such user, or it may not.
pub fn drop_privileges(user: &str) {
    let about = nix::unistd::User::from_name(user)
        .expect("the file of users")
        .expect("there is such a user");
    nix::unistd::setgroups(&[about.gid]).expect("root may");
    nix::unistd::setgid(Gid::from_raw(about.gid.as_raw())).expect("root may");
    nix::unistd::setuid(Uid::from_raw(about.uid.as_raw())).expect("root may");
}
