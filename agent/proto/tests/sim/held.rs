//! Maximum number of bytes that a node may hold, as a formula of its own constants.
//!
//! For each link: the bytes at which it pauses its neighbours ([`HIGH`]), the bytes of its own
//! flows ([`OWN`]), and the bytes in transit when it pauses ([`FLIGHT`]). For its readers: the
//! first window of each flow, and the growth of all windows. Bytes attributed to children
//! ([`ATTRIBUTED_TO_ALL`], and [`ATTRIBUTED_EACH`] for each link) come on top only if a neighbour
//! ignores the request to pause, or the request is delayed. Bytes from a parent are bounded by the
//! credit of its flows only; no plan has that many flows.

use super::check::Check;
use super::place::UP;
use super::world::{BATCH, World};
use offshoot_proto::flow::{GROWTH_OF_ALL, INITIAL_WINDOW};
use offshoot_proto::node::{ATTRIBUTED_EACH, ATTRIBUTED_TO_ALL, HIGH, OWN};

/// Maximum number of bytes that arrive between a request to pause and its effect: in each direction
/// a batch from the node, with a frame that exceeds it, and a full pipe; and an incomplete frame.
pub(crate) const FLIGHT: usize = 2 * (2 * BATCH + 65_536) + 65_536;

impl World {
    /// Checks a place after every event.
    pub(crate) fn check_place(&mut self, id: u32) {
        let (held, bound) = (self.held(id), self.may_hold(id));
        if self.ledger.is_hostile(id) {
            return;
        }
        self.totals.most_held = self.totals.most_held.max(held);
        let unread = self.place(id).map_or(0, |place| place.unread);
        self.totals.most_at_one = self.totals.most_at_one.max(held + unread);
        self.totals.most_of_bound = self.totals.most_of_bound.max(held * 100 / bound);
        if held > bound.min(self.bounds.held) {
            self.fail(Check::Held, format!("#{id} holds {held} bytes of {bound}"));
        }
        let Some(place) = self
            .place(id)
            .filter(|place| place.unread > GROWTH_OF_ALL.min(self.bounds.held))
        else {
            return;
        };
        let flows = place.ends.values().filter(|end| end.unread > 0).count() as u64;
        let (unread, bound) = (place.unread, flows * INITIAL_WINDOW + GROWTH_OF_ALL);
        if unread > bound.min(self.bounds.held) {
            self.fail(
                Check::Held,
                format!("the readers of #{id} hold {unread} bytes of {bound}"),
            );
        }
    }

    /// Returns the bytes held for the links of a place: queued, on the way out, and incomplete
    /// frames.
    pub(crate) fn held(&self, id: u32) -> u64 {
        let Some(place) = self.place(id) else {
            return 0;
        };
        let mut held = place.queued_sum as u64;
        // Only the test of size has places with more links; their cables hold little.
        for (link, cable) in place.cables.iter().take(64) {
            let cable = &self.cables[*cable];
            let own = usize::from(*link == UP && id != 0);
            held += cable.out[own].rest() as u64;
            let incoming = &cable.pipes[1 - own];
            held += incoming.read - incoming.whole.min(incoming.read);
        }
        held
    }

    fn may_hold(&self, id: u32) -> u64 {
        let Some(place) = self.place(id) else {
            return 0;
        };
        let links = place.cables.len().max(1);
        let caused = if self.rough {
            ATTRIBUTED_TO_ALL + links * ATTRIBUTED_EACH
        } else {
            0
        };
        (links * (HIGH + OWN + FLIGHT) + caused) as u64
    }
}
