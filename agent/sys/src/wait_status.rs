//! The status of a process that has ended.

/// The status of a process: an exit code, a signal, or neither if another process has collected it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct WaitStatus {
    /// Exit code, if the process exited by itself.
    pub code: Option<i32>,
    /// Number of the signal that ended the process.
    pub signal: Option<i32>,
}

impl WaitStatus {
    /// Returns the status as shells report it: the exit code, or 128 plus the signal; 255 if
    /// unknown.
    #[must_use]
    pub fn shell_code(&self) -> i32 {
        self.code
            .or(self.signal.map(|signal| 128 + signal))
            .unwrap_or(255)
    }
}
