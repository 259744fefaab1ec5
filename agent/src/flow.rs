//! Credit: how much one end of a flow may send before the other has consumed it.
//!
//! Pure arithmetic on stream offsets. A receiver lets its peer send up to a limit; the limit moves as the receiver's
//! user consumes. When a sender is seen to stand at the limit although everything was consumed, the window is what
//! holds it back, so the window doubles, up to a bound: a long path fills, a slow reader stays cheap.

/// What a sender may send unasked, in bytes.
pub const INITIAL_WINDOW: u64 = 256 << 10;
/// The most a flow may hold at its receiver, in bytes.
pub const MAX_WINDOW: u64 = 16 << 20;

/// The sending half of a flow.
#[derive(Clone, Debug)]
pub struct Outgoing {
    sent: u64,
    limit: u64,
    ended: bool,
}

impl Default for Outgoing {
    fn default() -> Self {
        Outgoing { sent: 0, limit: INITIAL_WINDOW, ended: false }
    }
}

impl Outgoing {
    /// How many bytes may be sent now.
    pub fn room(&self) -> usize {
        if self.ended { 0 } else { (self.limit - self.sent) as usize }
    }

    /// Records that `length` bytes go out (at most [`Outgoing::room`]); gives their offset.
    pub fn send(&mut self, length: usize, end: bool) -> u64 {
        debug_assert!(length <= self.room() && !self.ended);
        let offset = self.sent;
        self.sent += length as u64;
        self.ended = end;
        offset
    }

    /// The receiver allows up to `limit`. Whether that is news.
    pub fn grant(&mut self, limit: u64) -> bool {
        let more = limit > self.limit;
        self.limit = self.limit.max(limit);
        more
    }

    /// Ends this direction without a frame: both ends know that it is not used.
    pub fn close(&mut self) {
        self.ended = true;
    }

    /// Whether the end was sent.
    pub fn ended(&self) -> bool {
        self.ended
    }
}

/// A peer that does not keep to the rules of a flow.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Violation {
    /// Bytes are missing or came twice: expected and seen offset.
    Gap(u64, u64),
    /// More was sent than was allowed.
    BeyondCredit,
    /// Bytes after the end.
    AfterEnd,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Violation::Gap(expected, seen) => write!(f, "byte {expected} was due, byte {seen} came"),
            Violation::BeyondCredit => f.write_str("it sent more than it was allowed to"),
            Violation::AfterEnd => f.write_str("it sent more after its end"),
        }
    }
}

/// The receiving half of a flow.
#[derive(Clone, Debug)]
pub struct Incoming {
    received: u64,
    consumed: u64,
    limit: u64,
    window: u64,
    ended: bool,
}

impl Default for Incoming {
    fn default() -> Self {
        Incoming { received: 0, consumed: 0, limit: INITIAL_WINDOW, window: INITIAL_WINDOW, ended: false }
    }
}

impl Incoming {
    /// Checks and records a piece that came.
    ///
    /// # Errors
    /// When the peer broke a rule; the flow is of no use any more.
    pub fn receive(&mut self, offset: u64, length: usize, end: bool) -> Result<(), Violation> {
        if self.ended {
            return Err(Violation::AfterEnd);
        }
        if offset != self.received {
            return Err(Violation::Gap(self.received, offset));
        }
        if length as u64 > self.limit - self.received {
            return Err(Violation::BeyondCredit);
        }
        self.received += length as u64;
        self.ended = end;
        Ok(())
    }

    /// The user took `length` bytes. The new limit to tell the peer, when it is time to.
    pub fn consume(&mut self, length: usize) -> Option<u64> {
        self.consumed = (self.consumed + length as u64).min(self.received);
        if self.ended {
            return None;
        }
        if self.consumed == self.limit && self.window < MAX_WINDOW {
            self.window *= 2;
        }
        let limit = self.consumed + self.window;
        if limit - self.limit >= self.window / 2 {
            self.limit = limit;
            return Some(limit);
        }
        None
    }

    /// Bytes that came and were not consumed.
    pub fn held(&self) -> u64 {
        self.received - self.consumed
    }

    /// Ends this direction without a frame: both ends know that it is not used.
    pub fn close(&mut self) {
        self.ended = true;
    }

    /// Whether the peer said that nothing follows.
    pub fn ended(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_stops_at_its_limit_and_goes_on_with_credit() {
        let mut out = Outgoing::default();
        assert_eq!(out.send(INITIAL_WINDOW as usize, false), 0);
        assert_eq!(out.room(), 0);
        assert!(out.grant(INITIAL_WINDOW + 10));
        assert!(!out.grant(5));
        assert_eq!(out.room(), 10);
        assert_eq!(out.send(10, true), INITIAL_WINDOW);
        assert!(out.ended());
        assert_eq!(out.room(), 0);
    }

    #[test]
    fn gaps_repeats_excess_and_late_bytes_are_violations() {
        let mut incoming = Incoming::default();
        incoming.receive(0, 10, false).unwrap();
        assert_eq!(incoming.receive(5, 1, false), Err(Violation::Gap(10, 5)));
        assert_eq!(incoming.receive(11, 1, false), Err(Violation::Gap(10, 11)));
        assert_eq!(incoming.receive(10, INITIAL_WINDOW as usize, false), Err(Violation::BeyondCredit));
        incoming.receive(10, 0, true).unwrap();
        assert_eq!(incoming.receive(10, 0, false), Err(Violation::AfterEnd));
    }

    #[test]
    fn the_window_grows_only_while_the_reader_keeps_up() {
        let mut incoming = Incoming::default();
        let mut at = 0;
        for _ in 0..10 {
            let length = incoming.limit - at;
            incoming.receive(at, length as usize, false).unwrap();
            at += length;
            assert_eq!(incoming.consume(length as usize), Some(at + incoming.window));
        }
        assert_eq!(incoming.window, MAX_WINDOW);

        let mut slow = Incoming::default();
        slow.receive(0, INITIAL_WINDOW as usize, false).unwrap();
        for _ in 0..64 {
            slow.consume(1024);
        }
        assert_eq!(slow.window, INITIAL_WINDOW);
        assert!(slow.limit - slow.consumed <= INITIAL_WINDOW);
    }
}
