//! How a process ended.

/// How a process ended: by itself with a code, by a signal, or unknown where another process has collected it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct WaitStatus {
    /// Exit code, where it ended by itself.
    pub code: Option<i32>,
    /// Number of the signal that ended it.
    pub signal: Option<i32>,
}

impl WaitStatus {
    /// Returns the status as a shell gives it: the code, or 128 and the signal; 255 where it is unknown.
    #[must_use]
    pub fn shell_code(&self) -> i32 {
        self.code.or(self.signal.map(|signal| 128 + signal)).unwrap_or(255)
    }
}
