//! A token bucket: how often a child may do something.

use crate::id::ContextId;
use alloc::format;
use alloc::string::String;

/// How much of something may happen, over time.
#[derive(Default)]
pub struct RateLimit {
    /// What is left, once it was counted at all.
    left: Option<u32>,
    at: u64,
    /// What was refused since it was last told.
    pub dropped: u32,
}

impl RateLimit {
    /// Takes one of at most `burst`, which come back at `each_second`. Whether there was one.
    pub fn take(&mut self, now: u64, burst: u32, each_second: u32) -> bool {
        let back = now.saturating_sub(self.at).saturating_mul(each_second.into()) / 1000;
        let left = self.left.unwrap_or(burst).saturating_add(back.min(burst.into()) as u32).min(burst);
        if back > 0 || self.left.is_none() {
            self.at = now;
        }
        self.left = Some(left.saturating_sub(1));
        left > 0
    }

    /// Takes the count of log records of a child that were refused, as a text; none where there are none.
    pub fn tell(&mut self, child: ContextId) -> Option<String> {
        match core::mem::take(&mut self.dropped) {
            0 => None,
            dropped => {
                Some(format!("{dropped} log records from the link of {child} were too many and are dropped"))
            }
        }
    }
}
