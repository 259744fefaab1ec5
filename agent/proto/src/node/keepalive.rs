//! The heartbeat state of one link.

/// Number of intervals without bytes after which a link is ended.
pub(crate) const MISSED_HEARTBEATS: u8 = 3;

/// Heartbeat state of one link.
pub(crate) struct Keepalive {
    /// Interval in milliseconds.
    pub every: u64,
    /// Time of the next check in milliseconds.
    pub due: u64,
    /// Time of the last byte in milliseconds, or of an event that counts as one.
    pub last: u64,
    /// Number of unanswered pings since then.
    pub asked: u8,
}

impl Keepalive {
    /// Records that bytes have arrived at the time `now`.
    pub(crate) fn heard(&mut self, now: u64) {
        (self.last, self.asked) = (now, 0);
    }
}
