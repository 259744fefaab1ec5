//! How much a node may hold, as a formula of its own constants.
//!
//! For each of its links: what makes it ask its neighbours to hold back ([`HIGH`]), what its own
//! flows may add ([`OWN`]), and what was on its way when it asked ([`FLIGHT`]). For its readers:
//! the first window of each flow, and what all windows may have grown. Only where somebody does not
//! hold back, or the order to do so stands still on its way, what children may cause comes on top
//! ([`CAUSED_BY_ALL`], and [`CAUSED_EACH`] for each link). What a parent sends meanwhile is bounded
//! by the credit of its flows alone; no plan has so many.

use super::check::Check;
use super::place::UP;
use super::world::{BATCH, World};
use offshoot_proto::flow::{GROWTH_OF_ALL, INITIAL_WINDOW};
use offshoot_proto::node::{CAUSED_BY_ALL, CAUSED_EACH, HIGH, OWN};

/// What may come over a link from the moment that its neighbour is asked to hold back until it
/// does: on each of the two ways a batch that has left the node, with a frame that is longer than
/// it, and a full pipe; and half a frame.
pub const FLIGHT: usize = 2 * (2 * BATCH + 65_536) + 65_536;

impl World {
    /// After everything that happened at a place.
    pub fn check_place(&mut self, id: u32) {
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

    /// What waits for the links of a place: queued, on the way out, and half a frame that came.
    pub fn held(&self, id: u32) -> u64 {
        let Some(place) = self.place(id) else {
            return 0;
        };
        let mut held = place.queued_sum as u64;
        // Places with very many links are those of the test of size; what lies in the cables is
        // small.
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
            CAUSED_BY_ALL + links * CAUSED_EACH
        } else {
            0
        };
        (links * (HIGH + OWN + FLIGHT) + caused) as u64
    }
}
