//! The heartbeat of one link, as this node keeps it.

/// For how many intervals a neighbour may be silent.
pub const MISSED_HEARTBEATS: u8 = 3;

/// The state of one link.
pub struct Keepalive {
    pub every: u64,
    pub due: u64,
    /// The time of the last byte, or of what counts as one.
    pub last: u64,
    /// How many questions were asked since.
    pub asked: u8,
}

impl Keepalive {
    /// Something came.
    pub fn heard(&mut self, now: u64) {
        (self.last, self.asked) = (now, 0);
    }
}
