//! Credit: how much one end of a flow may send before the other has consumed it.
//!
//! Pure arithmetic on stream offsets. A receiver lets its peer send up to a limit; the limit moves as the receiver's
//! user consumes, each time half a window is free. A sender that has used up its credit says so with the last bytes; if a
//! reader has taken all up to these, the sender waits for news that is on its way: half a window is less than the path
//! carries in one round trip. So the window doubles until it is a few times the bandwidth-delay product, measured by its effect and
//! without a clock. A reader that leaves most of a window lying gets half of it back: a long path fills, a slow reader
//! stays cheap.

/// What a sender may send unasked, in bytes.
pub const INITIAL_WINDOW: u64 = 256 << 10;

/// The same where the receiver does not obey the sender: there may be very many of these, from those who mean no good.
pub const FIRST_WINDOW: u64 = 2 << 10;

/// What these may send once the receiver has taken the first of it.
pub const LENT_WINDOW: u64 = 64 << 10;

/// The most a flow may hold at its receiver, in bytes.
pub const MAX_WINDOW: u64 = 8 << 20;

/// What the windows of all flows of a node together may grow beyond their initial size, in bytes.
pub const GROWTH_OF_ALL: u64 = 16 << 20;

/// The sending half of a flow.
#[derive(Clone, Debug)]
pub struct SendCredit {
    sent: u64,
    /// How far the limit lies ahead; no window is larger than this counts.
    room: u32,
    ended: bool,
}

impl Default for SendCredit {
    fn default() -> Self {
        SendCredit::new(INITIAL_WINDOW)
    }
}

impl SendCredit {
    /// One that may send so much unasked.
    pub fn new(window: u64) -> Self {
        SendCredit { sent: 0, room: window as u32, ended: false }
    }

    /// How many bytes may be sent now.
    pub fn room(&self) -> usize {
        if self.ended { 0 } else { self.room as usize }
    }

    /// Records that `length` bytes go out (at most [`SendCredit::room`]); gives their offset.
    pub fn send(&mut self, length: usize, end: bool) -> u64 {
        debug_assert!(length <= self.room() && !self.ended);
        let offset = self.sent;
        self.sent += length as u64;
        self.room = self.room.saturating_sub(length as u32);
        self.ended = end;
        offset
    }

    /// Whether nothing more may be sent for now.
    pub fn is_full(&self) -> bool {
        self.room == 0 && !self.ended
    }

    /// The receiver allows up to `limit`. Whether that is news.
    ///
    /// # Errors
    /// When no window reaches that far: a receiver cannot have consumed what was not sent.
    pub fn grant(&mut self, limit: u64) -> Result<bool, Violation> {
        let room = limit.saturating_sub(self.sent);
        if room > MAX_WINDOW {
            return Err(Violation::BeyondWindow);
        }
        let more = room as u32 > self.room && !self.ended;
        self.room = self.room.max(room as u32);
        Ok(more)
    }

    /// Ends this direction without a frame: both ends know that it is not used.
    pub fn close(&mut self) {
        self.ended = true;
    }

    /// How many bytes were sent, and how many may be.
    pub fn position(&self) -> [u64; 2] {
        [self.sent, self.sent + u64::from(self.room)]
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
    /// It lets us send more than it can mean.
    BeyondWindow,
}

impl core::fmt::Display for Violation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Violation::Gap(expected, seen) => write!(f, "byte {expected} was due, byte {seen} came"),
            Violation::BeyondCredit => f.write_str("it sent more than it was allowed to"),
            Violation::AfterEnd => f.write_str("it sent more after its end"),
            Violation::BeyondWindow => f.write_str("it granted more than any window holds"),
        }
    }
}

/// The receiving half of a flow. What it counts from where the sender is fits into half the space of an offset, and a node
/// has many flows.
#[derive(Clone, Debug)]
pub struct RecvCredit {
    received: u64,
    /// Of that, what was not consumed.
    held: u32,
    /// How much more may come.
    room: u32,
    window: u32,
    /// What that was at first, in KiB.
    initial: u16,
    /// Whether its sender may send no more, by the word that came with the last byte.
    full: bool,
    ended: bool,
}

impl Default for RecvCredit {
    fn default() -> Self {
        RecvCredit::new(INITIAL_WINDOW)
    }
}

impl RecvCredit {
    /// One whose peer may send so much unasked.
    pub fn new(window: u64) -> Self {
        let (room, initial) = (window as u32, (window >> 10) as u16);
        RecvCredit { received: 0, held: 0, room, window: room, initial, full: false, ended: false }
    }

    /// One whose peer is lent most of its window.
    pub fn lent() -> Self {
        RecvCredit { room: FIRST_WINDOW as u32, ..RecvCredit::new(LENT_WINDOW) }
    }

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

    /// With what it sent last the sender has used up its credit, as far as it knew then.
    pub fn full(&mut self) {
        self.full = true;
    }

    /// The user took `length` bytes. The new limit to tell the peer, when it is time to. The window grows at the cost
    /// of `spare`, which all flows of a node share, and gives back to it.
    pub fn consume(&mut self, length: usize, spare: &mut u64) -> Option<u64> {
        self.consume_within(length, spare, u32::MAX)
    }

    /// The same where no more than `most` can be lent to the peer.
    pub fn consume_within(&mut self, length: usize, spare: &mut u64, most: u32) -> Option<u64> {
        self.held = self.held.saturating_sub(length.min(u32::MAX as usize) as u32);
        if self.ended {
            return None;
        }
        let waits = self.held == 0 && self.full;
        let used = self.received >= u64::from(self.window);
        if waits && used && self.window < MAX_WINDOW as u32 && u64::from(self.window) <= *spare {
            *spare -= u64::from(self.window);
            self.window *= 2;
        }
        let room = self.window.saturating_sub(self.held).min(self.room.saturating_add(most));
        // Where little can be lent that is better than nothing. A sender that takes itself to have no more credit, and has, was
        // obeyed without knowing it.
        let little = self.room == 0 && most < self.window;
        let enough = if little { FIRST_WINDOW as u32 / 2 } else { self.window / 2 };
        let unaware = waits && self.room > 0 && self.received <= FIRST_WINDOW;
        if room.saturating_sub(self.room) < enough && !unaware {
            return None;
        }
        let all_here = self.room == 0;
        self.room = room;
        if all_here && self.held > 0 && self.growth() > 0 {
            // All that was granted lies here before half of it was read. What is granted stays granted; from the next
            // time on it is less.
            self.window /= 2;
            *spare += u64::from(self.window);
        }
        Some(self.limit())
    }

    /// How much more may come.
    pub fn room(&self) -> usize {
        self.room as usize
    }

    /// Whether its peer may send nothing though there is a place for it.
    pub fn is_starving(&self) -> bool {
        self.room == 0 && !self.ended && self.held <= self.window / 2
    }

    /// Up to where the peer may send.
    fn limit(&self) -> u64 {
        self.received + u64::from(self.room)
    }

    /// What this flow's window has taken from the spare of its node.
    pub fn growth(&self) -> u64 {
        u64::from(self.window) - (u64::from(self.initial) << 10)
    }

    /// How many bytes have come, were consumed, and may come, and the window.
    pub fn position(&self) -> [u64; 4] {
        [self.received, self.received - u64::from(self.held), self.limit(), self.window.into()]
    }

    /// Bytes that came and were not consumed.
    pub fn held(&self) -> u64 {
        self.held.into()
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
        assert_eq!(incoming.receive(10, INITIAL_WINDOW as usize, false), Err(Violation::BeyondCredit));
        incoming.receive(10, 0, true).unwrap();
        assert_eq!(incoming.receive(10, 0, false), Err(Violation::AfterEnd));
    }

    /// A path in steps: what was sent arrives `delay` steps later, and so does credit. A reader that takes all at once in
    /// pieces of 4 KiB. The window after a while.
    fn window_over(delay: usize, rate: u64) -> u64 {
        let (mut out, mut incoming, mut spare) =
            (SendCredit::default(), RecvCredit::default(), GROWTH_OF_ALL);
        let (mut data, mut credit) = (std::collections::VecDeque::new(), std::collections::VecDeque::new());
        for _ in 0..20_000 {
            let length = (out.room() as u64).min(rate);
            data.push_back((out.send(length as usize, false), length as usize, out.is_full()));
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
                    granted = incoming.consume(piece, &mut spare).or(granted);
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
        let mut spare = GROWTH_OF_ALL;
        for _ in 0..10 {
            let length = incoming.limit() - at;
            incoming.receive(at, length as usize, false).unwrap();
            incoming.full();
            at += length;
            assert_eq!(incoming.consume(length as usize, &mut spare), Some(at + u64::from(incoming.window)));
        }
        assert_eq!(u64::from(incoming.window), MAX_WINDOW);
        assert_eq!(spare, GROWTH_OF_ALL - incoming.growth());

        let mut slow = RecvCredit::default();
        slow.receive(0, INITIAL_WINDOW as usize, false).unwrap();
        slow.full();
        for _ in 0..64 {
            slow.consume(1024, &mut spare);
        }
        assert_eq!(slow.growth(), 0);
        assert!(u64::from(slow.held + slow.room) <= INITIAL_WINDOW);
    }

    #[test]
    fn a_window_shrinks_again_when_its_reader_falls_behind() {
        let mut spare = GROWTH_OF_ALL;
        let mut incoming = RecvCredit::default();
        let mut at = 0;
        while u64::from(incoming.window) < MAX_WINDOW {
            let length = incoming.limit() - at;
            incoming.receive(at, length as usize, false).unwrap();
            incoming.full();
            at += length;
            incoming.consume(length as usize, &mut spare);
        }
        // From now on the sender keeps the window full, and the reader takes a little at a time.
        for _ in 0..100_000 {
            let length = incoming.limit() - at;
            incoming.receive(at, length as usize, false).unwrap();
            incoming.full();
            at += length;
            incoming.consume(4096, &mut spare);
        }
        assert_eq!((incoming.growth(), spare), (0, GROWTH_OF_ALL));
    }

    #[test]
    fn windows_grow_only_within_the_budget_of_the_node() {
        let mut spare = INITIAL_WINDOW;
        let mut flows = [RecvCredit::default(), RecvCredit::default()];
        for incoming in &mut flows {
            incoming.receive(0, INITIAL_WINDOW as usize, false).unwrap();
            incoming.full();
            incoming.consume(INITIAL_WINDOW as usize, &mut spare);
        }
        assert_eq!((flows[0].growth(), flows[1].growth(), spare), (INITIAL_WINDOW, 0, 0));
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
