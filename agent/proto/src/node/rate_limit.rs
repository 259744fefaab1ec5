//! A token bucket: the rate at which a child may do something.

use crate::id::ContextId;
use alloc::format;
use alloc::string::String;

/// Number of log records that a child may send at once, and of lines that the program of a hop may
/// print.
pub const LOG_BURST: u32 = 2000;

/// Number of log records, or lines, that it may send each second after that.
pub const LOG_RATE: u32 = 1000;

/// A token bucket.
#[derive(Default)]
pub struct RateLimit {
    /// Number of tokens left; `None` before the first use.
    left: Option<u32>,
    at: u64,
    /// Number of refusals since the last report.
    pub dropped: u32,
}

impl RateLimit {
    /// Takes one token of at most `burst`, which are refilled at `each_second`. Returns false if
    /// there is none.
    pub fn take(&mut self, now: u64, burst: u32, each_second: u32) -> bool {
        let back = now
            .saturating_sub(self.at)
            .saturating_mul(each_second.into())
            / 1000;
        let left = self
            .left
            .unwrap_or(burst)
            .saturating_add(back.min(burst.into()) as u32)
            .min(burst);
        if back > 0 || self.left.is_none() {
            self.at = now;
        }
        self.left = Some(left.saturating_sub(1));
        left > 0
    }

    /// Takes the number of refused log records of a child as a message; `None` if there are none.
    pub(crate) fn tell(&mut self, child: ContextId) -> Option<String> {
        match core::mem::take(&mut self.dropped) {
            0 => None,
            dropped => Some(format!(
                "{dropped} log records from the link of {child} were too many and are dropped"
            )),
        }
    }
}
