//! Credit: the number of bytes that one end of a flow may send before the other has consumed them.
//!
//! Pure arithmetic on offsets. A receiver lets its peer send up to a limit, which it moves once
//! half a window was consumed. A sender that has used up its credit says so in its last frame. If
//! the reader has then consumed everything, half a window is less than the path carries in one
//! round trip, and the window doubles, until it is a few times the bandwidth-delay product. That is
//! measured by its effect, without a clock. A reader that leaves most of a window unread loses half
//! of it. So long paths are filled, and slow readers stay cheap.

/// Initial window in bytes.
pub const INITIAL_WINDOW: u64 = 256 << 10;

/// Initial window in bytes if the receiver does not obey the sender. Hostile senders may open very
/// many flows.
pub const FIRST_WINDOW: u64 = 2 << 10;

/// Window in bytes of such a sender once the receiver has consumed its first bytes.
pub(crate) const LENT_WINDOW: u64 = 64 << 10;

/// Maximum window in bytes.
pub const MAX_WINDOW: u64 = 8 << 20;

/// Maximum number of bytes by which all receive windows of a node together may grow.
pub const GROWTH_OF_ALL: u64 = 16 << 20;

/// The sending half of a flow.
#[derive(Clone, Debug)]
pub struct SendCredit {
    sent: u64,
    /// Distance to the limit in bytes; no window exceeds 32 bits.
    room: u32,
    ended: bool,
}

impl Default for SendCredit {
    fn default() -> Self {
        Self::new(INITIAL_WINDOW)
    }
}

impl SendCredit {
    /// Creates a sender with this initial window in bytes.
    pub fn new(window: u64) -> Self {
        Self {
            sent: 0,
            room: window as u32,
            ended: false,
        }
    }

    /// Returns the number of bytes that may be sent now.
    pub fn room(&self) -> usize {
        if self.ended { 0 } else { self.room as usize }
    }

    /// Records that `length` bytes are sent, at most [`SendCredit::room`]. Returns their offset.
    pub fn send(&mut self, length: usize, end: bool) -> u64 {
        debug_assert!(length <= self.room() && !self.ended);
        let offset = self.sent;
        self.sent += length as u64;
        self.room = self.room.saturating_sub(length as u32);
        self.ended = end;
        offset
    }

    /// Returns true if no credit is left.
    pub fn is_full(&self) -> bool {
        self.room == 0 && !self.ended
    }

    /// Moves the limit to `limit`. Returns true if that adds credit.
    ///
    /// # Errors
    /// Returns an error if no window reaches that far: a receiver cannot consume unsent bytes.
    pub fn grant(&mut self, limit: u64) -> Result<bool, Violation> {
        let room = limit.saturating_sub(self.sent);
        if room > MAX_WINDOW {
            return Err(Violation::BeyondWindow);
        }
        let more = room as u32 > self.room && !self.ended;
        self.room = self.room.max(room as u32);
        Ok(more)
    }

    /// Ends this direction without a frame, because both ends know that it is unused.
    pub fn close(&mut self) {
        self.ended = true;
    }

    /// Returns the number of bytes sent, and the limit.
    pub fn position(&self) -> [u64; 2] {
        [self.sent, self.sent + u64::from(self.room)]
    }

    /// Returns true if the end was sent.
    pub fn ended(&self) -> bool {
        self.ended
    }
}

/// A violation of the rules of a flow by the peer.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Violation {
    /// Missing or repeated bytes; expected and received offset.
    Gap(u64, u64),
    /// More bytes than there was credit for.
    BeyondCredit,
    /// Bytes after the end.
    AfterEnd,
    /// A limit beyond the maximum window.
    BeyondWindow,
}

impl core::fmt::Display for Violation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Gap(expected, seen) => {
                write!(f, "byte {expected} was due, byte {seen} came")
            }
            Self::BeyondCredit => f.write_str("it sent more than it was allowed to"),
            Self::AfterEnd => f.write_str("it sent more after its end"),
            Self::BeyondWindow => f.write_str("it granted more than any window holds"),
        }
    }
}

/// The receiving half of a flow. Stored as distances from the received offset, which fit 32 bits,
/// because a node has many flows.
#[derive(Clone, Debug)]
pub struct RecvCredit {
    received: u64,
    /// Number of received bytes that were not consumed.
    held: u32,
    /// Number of bytes that may still arrive.
    room: u32,
    window: u32,
    /// Initial window in KiB.
    initial: u16,
    /// True if the sender has used up its credit, according to its last frame.
    full: bool,
    ended: bool,
}

impl Default for RecvCredit {
    fn default() -> Self {
        Self::new(INITIAL_WINDOW)
    }
}

impl RecvCredit {
    /// Creates a receiver with this initial window in bytes.
    pub fn new(window: u64) -> Self {
        let (room, initial) = (window as u32, (window >> 10) as u16);
        Self {
            received: 0,
            held: 0,
            room,
            window: room,
            initial,
            full: false,
            ended: false,
        }
    }

    /// Creates a receiver for a peer that is not obeyed.
    pub fn lent() -> Self {
        Self {
            room: FIRST_WINDOW as u32,
            ..Self::new(LENT_WINDOW)
        }
    }

    /// Checks and records received bytes.
    ///
    /// # Errors
    /// Returns an error if the peer violated a rule. The flow is unusable then.
    pub fn receive(&mut self, offset: u64, length: usize, end: bool) -> Result<(), Violation> {
        if self.ended {
            return Err(Violation::AfterEnd);
        }
        if offset != self.received {
            return Err(Violation::Gap(self.received, offset));
        }
        if length > self.room as usize {
            return Err(Violation::BeyondCredit);
        }
        self.received += length as u64;
        self.held += length as u32;
        self.room -= length as u32;
        self.full &= length == 0;
        self.ended = end;
        Ok(())
    }

    /// Records that the sender has used up the credit that it knew of.
    pub fn full(&mut self) {
        self.full = true;
    }

    /// Records that `length` bytes were consumed. Returns the new limit if it is time to send it.
    /// Growth of the window is taken from `growth_left`, which all flows of a node share, and given
    /// back to it.
    pub fn consume(&mut self, length: usize, growth_left: &mut u64) -> Option<u64> {
        self.consume_within(length, growth_left, u32::MAX)
    }

    /// Records that `length` bytes were consumed, if at most `most` bytes can be lent to the peer.
    /// Returns the new limit if it is time to send it.
    pub(crate) fn consume_within(
        &mut self,
        length: usize,
        growth_left: &mut u64,
        most: u32,
    ) -> Option<u64> {
        self.held = self
            .held
            .saturating_sub(length.min(u32::MAX as usize) as u32);
        if self.ended {
            return None;
        }
        let waits = self.held == 0 && self.full;
        let used = self.received >= u64::from(self.window);
        if waits
            && used
            && self.window < MAX_WINDOW as u32
            && u64::from(self.window) <= *growth_left
        {
            *growth_left -= u64::from(self.window);
            self.window *= 2;
        }
        let room = self
            .window
            .saturating_sub(self.held)
            .min(self.room.saturating_add(most));
        // If little can be lent, that is better than nothing. A sender that has reported to be out
        // of credit may have received some since.
        let little = self.room == 0 && most < self.window;
        let enough = if little {
            FIRST_WINDOW as u32 / 2
        } else {
            self.window / 2
        };
        let unaware = waits && self.room > 0 && self.received <= FIRST_WINDOW;
        if room.saturating_sub(self.room) < enough && !unaware {
            return None;
        }
        let all_here = self.room == 0;
        self.room = room;
        if all_here && self.held > 0 && self.growth() > 0 {
            // Everything granted is here before half of it was read. Granted credit stays; later
            // limits are lower.
            self.window /= 2;
            *growth_left += u64::from(self.window);
        }
        Some(self.limit())
    }

    /// Returns the number of bytes that may still arrive.
    pub fn room(&self) -> usize {
        self.room as usize
    }

    /// Returns true if the peer has no credit although its window has room.
    pub(crate) fn needs_credit(&self) -> bool {
        self.room == 0 && !self.ended && self.held <= self.window / 2
    }

    /// Returns the offset up to which the peer may send.
    fn limit(&self) -> u64 {
        self.received + u64::from(self.room)
    }

    /// Returns the bytes by which the window has grown.
    pub fn growth(&self) -> u64 {
        u64::from(self.window) - (u64::from(self.initial) << 10)
    }

    /// Returns the number of bytes received and consumed, the limit, and the window.
    pub fn position(&self) -> [u64; 4] {
        [
            self.received,
            self.received - u64::from(self.held),
            self.limit(),
            self.window.into(),
        ]
    }

    /// Returns the number of received bytes that were not consumed.
    pub fn held(&self) -> u64 {
        self.held.into()
    }

    /// Ends this direction without a frame, because both ends know that it is unused.
    pub fn close(&mut self) {
        self.ended = true;
    }

    /// Returns true if the peer has sent the end.
    pub fn ended(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_stops_at_its_limit_and_resumes_with_credit() {
        let mut out = SendCredit::default();
        assert_eq!(out.send(INITIAL_WINDOW as usize, false), 0);
        assert_eq!(out.room(), 0);
        assert_eq!(out.grant(INITIAL_WINDOW + 10), Ok(true));
        assert_eq!(out.grant(5), Ok(false));
        assert_eq!(out.room(), 10);
        assert_eq!(out.send(10, true), INITIAL_WINDOW);
        assert!(out.ended());
        assert_eq!(out.room(), 0);
    }

    #[test]
    fn gaps_repeats_excess_and_late_bytes_are_violations() {
        let mut incoming = RecvCredit::default();
        incoming.receive(0, 10, false).unwrap();
        assert_eq!(incoming.receive(5, 1, false), Err(Violation::Gap(10, 5)));
        assert_eq!(incoming.receive(11, 1, false), Err(Violation::Gap(10, 11)));
        assert_eq!(
            incoming.receive(10, INITIAL_WINDOW as usize, false),
            Err(Violation::BeyondCredit)
        );
        incoming.receive(10, 0, true).unwrap();
        assert_eq!(incoming.receive(10, 0, false), Err(Violation::AfterEnd));
    }

    /// Simulates a path in steps: data arrives `delay` steps later, and so does credit. The reader
    /// takes all of it at once, in pieces of 4 KiB. Returns the window after a while.
    fn window_over(delay: usize, rate: u64) -> u64 {
        let (mut out, mut incoming, mut growth_left) =
            (SendCredit::default(), RecvCredit::default(), GROWTH_OF_ALL);
        let (mut data, mut credit) = (
            std::collections::VecDeque::new(),
            std::collections::VecDeque::new(),
        );
        for _ in 0..20_000 {
            let length = (out.room() as u64).min(rate);
            data.push_back((
                out.send(length as usize, false),
                length as usize,
                out.is_full(),
            ));
            let mut granted = None;
            if data.len() > delay
                && let Some((offset, mut left, full)) = data.pop_front()
            {
                incoming.receive(offset, left, false).unwrap();
                if full {
                    incoming.full();
                }
                while left > 0 {
                    let piece = left.min(4096);
                    granted = incoming.consume(piece, &mut growth_left).or(granted);
                    left -= piece;
                }
            }
            credit.push_back(granted);
            if credit.len() > delay
                && let Some(Some(limit)) = credit.pop_front()
            {
                out.grant(limit).unwrap();
            }
        }
        incoming.window.into()
    }

    #[test]
    fn the_window_follows_the_product_of_bandwidth_and_delay() {
        assert_eq!(window_over(1, 4096), INITIAL_WINDOW);
        for (delay, rate) in [(50, 4096), (100, 4096), (20, 40_000), (1000, 8192)] {
            let product = 2 * delay as u64 * rate;
            let window = window_over(delay, rate);
            assert!(
                window >= (2 * product).min(MAX_WINDOW) / 2
                    && window <= (product * 6).clamp(INITIAL_WINDOW, MAX_WINDOW),
                "{window} for a product of {product}"
            );
        }
    }

    #[test]
    fn the_window_grows_only_while_the_reader_keeps_up() {
        let mut incoming = RecvCredit::default();
        let mut at = 0;
        let mut growth_left = GROWTH_OF_ALL;
        for _ in 0..10 {
            let length = incoming.limit() - at;
            incoming.receive(at, length as usize, false).unwrap();
            incoming.full();
            at += length;
            assert_eq!(
                incoming.consume(length as usize, &mut growth_left),
                Some(at + u64::from(incoming.window))
            );
        }
        assert_eq!(u64::from(incoming.window), MAX_WINDOW);
        assert_eq!(growth_left, GROWTH_OF_ALL - incoming.growth());

        let mut slow = RecvCredit::default();
        slow.receive(0, INITIAL_WINDOW as usize, false).unwrap();
        slow.full();
        for _ in 0..64 {
            slow.consume(1024, &mut growth_left);
        }
        assert_eq!(slow.growth(), 0);
        assert!(u64::from(slow.held + slow.room) <= INITIAL_WINDOW);
    }

    #[test]
    fn a_window_shrinks_again_when_its_reader_falls_behind() {
        let mut growth_left = GROWTH_OF_ALL;
        let mut incoming = RecvCredit::default();
        let mut at = 0;
        while u64::from(incoming.window) < MAX_WINDOW {
            let length = incoming.limit() - at;
            incoming.receive(at, length as usize, false).unwrap();
            incoming.full();
            at += length;
            incoming.consume(length as usize, &mut growth_left);
        }
        // From now on the sender keeps the window full, and the reader takes a little at a time.
        for _ in 0..100_000 {
            let length = incoming.limit() - at;
            incoming.receive(at, length as usize, false).unwrap();
            incoming.full();
            at += length;
            incoming.consume(4096, &mut growth_left);
        }
        assert_eq!((incoming.growth(), growth_left), (0, GROWTH_OF_ALL));
    }

    #[test]
    fn windows_grow_only_within_the_budget_of_the_node() {
        let mut growth_left = INITIAL_WINDOW;
        let mut flows = [RecvCredit::default(), RecvCredit::default()];
        for incoming in &mut flows {
            incoming.receive(0, INITIAL_WINDOW as usize, false).unwrap();
            incoming.full();
            incoming.consume(INITIAL_WINDOW as usize, &mut growth_left);
        }
        assert_eq!(
            (flows[0].growth(), flows[1].growth(), growth_left),
            (INITIAL_WINDOW, 0, 0)
        );
    }

    #[test]
    fn a_grant_beyond_any_window_is_a_violation() {
        let mut out = SendCredit::default();
        out.send(10, false);
        assert_eq!(out.grant(10 + MAX_WINDOW), Ok(true));
        for limit in [11 + MAX_WINDOW, u64::MAX] {
            assert_eq!(out.grant(limit), Err(Violation::BeyondWindow));
        }
    }
}
