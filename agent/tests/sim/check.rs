//! What must hold, and how much of it. The bounds are in one place: tighten them here.

use super::ledger::Purpose;
use super::place::UP;
use super::plan::{Answer, Fate, Reader};
use super::world::World;

/// What the nodes are held to.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes that one node holds: queued for its links, on the way out, half a frame that came, and what its users have
    /// not read. For now what the credit of the flows in a plan allows.
    pub held: u64,
    /// Frames of bulk that may go over a link between a call's being queued for it and its being sent.
    pub overtaken: u64,
    /// Events that one plan may take before it counts as one that never ends.
    pub events: u64,
}

/// The bounds that every run is held to unless a test says otherwise.
pub const BOUNDS: Bounds = Bounds { held: 64 << 20, overtaken: 4, events: 3_000_000 };
/// All places are looked at in depth after so many events, and whenever nothing is left to do.
pub const DEEP_EVERY: u64 = 4096;

/// Promises that are known not to be kept yet. Each has a plan in `simulator.rs` that shows it, ignored until it is
/// mended; then `false` here and no `ignore` there.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Who asks something of a context below before it has heard of it asks upwards. If it hears of it before the dead
    /// letter is back, it takes that for a lie, and waits for ever.
    pub asked_before_known: bool,
    /// An order to connect leaves its route at every node that it passes. If it is returned, they stay.
    pub returned_order_leaves_routes: bool,
    /// The news that a context is gone overtakes bulk of it that waits for the same link. Each such frame then counts as
    /// an offence, and enough of them end the link of an honest relay.
    pub news_overtake_bulk: bool,
    /// Some offences are counted against the link that a frame came over although a relay cannot know them for what they
    /// are: so a hostile context two hops down has the link of an honest relay ended.
    pub relays_pay: bool,
    /// A node takes a child's word for any number that it does not know. So a claim of a context elsewhere is believed by
    /// all on the way up to the first common ancestor.
    pub claims_are_believed: bool,
}

impl Known {
    /// All is held against the nodes.
    pub const NOTHING: Known = Known {
        asked_before_known: false,
        returned_order_leaves_routes: false,
        news_overtake_bulk: false,
        relays_pay: false,
        claims_are_believed: false,
    };
}

/// See [`Known`].
pub const KNOWN: Known = Known {
    asked_before_known: true,
    returned_order_leaves_routes: true,
    news_overtake_bulk: true,
    relays_pay: true,
    claims_are_believed: true,
};

/// The promises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Check {
    /// A request has one outcome and nothing after it.
    OneOutcome,
    /// Bytes of a flow arrive once and in order, unchanged.
    InOrder,
    /// Nothing is delivered in a name that its sender has no right to.
    Identity,
    /// Only ancestors are obeyed.
    Authority,
    /// No route leads over a link that is gone.
    RouteAndLink,
    /// What has a route is there, and what is there has a route.
    RouteAndTruth,
    /// A node holds so much and no more.
    Held,
    /// A call overtakes bulk.
    Overtaking,
    /// When nothing moves any more, nobody waits for what could have come.
    Settled,
    /// What is over is forgotten.
    Forgotten,
    /// Nobody loses an honest link over another's deeds.
    Innocence,
    /// Nothing panics.
    Panic,
    /// Whatever is begun comes to rest.
    Endless,
}

/// A promise that was broken.
#[derive(Clone, Debug)]
pub struct Failure {
    pub check: Check,
    pub what: String,
    /// When, in microseconds, and after how many events.
    pub now: u64,
    pub event: u64,
}

impl World {
    /// Notes that a promise was broken; the first one counts.
    pub fn fail(&mut self, check: Check, what: String) {
        if self.failure.is_none() {
            self.failure = Some(Failure { check, what, now: self.now, event: self.events });
        }
    }

    /// After everything that happened at a place.
    pub fn check_place(&mut self, id: u32) {
        let held = self.held(id);
        self.totals.most_held = self.totals.most_held.max(held);
        if held > self.bounds.held {
            self.fail(Check::Held, format!("#{id} holds {held} bytes"));
        }
    }

    fn held(&self, id: u32) -> u64 {
        let Some(place) = self.place(id) else { return 0 };
        let mut held = place.queued_sum as u64 + place.unread;
        // Places with very many links are those of the test of size; what lies in the cables is small.
        for (link, cable) in place.cables.iter().take(64) {
            let cable = &self.cables[*cable];
            let own = usize::from(*link == UP && id != 0);
            held += cable.out[own].rest() as u64;
            let incoming = &cable.pipes[1 - own];
            held += incoming.read - incoming.whole.min(incoming.read);
        }
        held
    }

    /// After a place has lost a link.
    pub fn check_lost(&mut self, id: u32, link: offshoot_agent::id::LinkId) {
        let Some(place) = self.place(id) else { return };
        if let Some((other, _)) = place.routes().into_iter().find(|(_, via)| *via == link) {
            self.fail(
                Check::RouteAndLink,
                format!("#{id} lost a link and keeps a route to #{other} over it"),
            );
        }
    }

    /// Now and then: every route of every place. How many that were.
    pub fn check_deep(&mut self) -> u64 {
        let mut seen = 0;
        let mut found = None;
        for place in self.places.iter().flatten() {
            for (other, via) in place.routes() {
                seen += 1;
                if !place.cables.contains_key(&via) {
                    found =
                        Some(format!("#{} has a route to #{other} over {via:?}, which is gone", place.id));
                }
            }
        }
        if let Some(what) = found {
            self.fail(Check::RouteAndLink, what);
        }
        seen
    }

    /// When nothing is left to do.
    pub fn check_rest(&mut self) {
        self.check_deep();
        if self.failure.is_some() {
            return;
        }
        let found = self.unsettled().or_else(|| self.wrong_routes());
        if let Some((check, what)) = found {
            self.fail(check, what);
        }
    }

    fn unsettled(&self) -> Option<(Check, String)> {
        for (number, request) in self.ledger.requests.iter().enumerate() {
            if request.outcome.is_none() && !self.may_wait(number as u32) {
                return Some((
                    Check::Settled,
                    format!(
                        "request {number} of #{} to #{} ({:?}) has no outcome",
                        request.from, request.to, request.purpose
                    ),
                ));
            }
        }
        for place in self.places.iter().flatten() {
            let mut ends: Vec<_> = place.ends.iter().collect();
            ends.sort_unstable_by_key(|(flow, _)| **flow);
            for (flow, end) in ends {
                if !end.over && !self.may_wait(end.request) {
                    let what = format!("at #{} {flow:?} of request {} is still open", place.id, end.request);
                    return Some((Check::Settled, what));
                }
                if end.over && place.knows(*flow) && !self.is_tainted(end.request) {
                    let what = format!("#{} still knows {flow:?} of request {}", place.id, end.request);
                    return Some((Check::Forgotten, what));
                }
            }
        }
        None
    }

    /// Whether a request may rightly still be open when nothing moves any more.
    fn may_wait(&self, number: u32) -> bool {
        let request = &self.ledger.requests[number as usize];
        if self.is_tainted(number) || request.blind && self.known.asked_before_known {
            return true;
        }
        let slow = match request.purpose {
            Purpose::Call(Answer::Silent) => true,
            Purpose::Stream { reader: Reader::Stops { .. }, .. } => return true,
            Purpose::Connect { fate: Fate::Hangs, .. } => true,
            _ => false,
        };
        let blocked = || self.ledger.chain(request.to).any(|id| self.hanging.contains(&id));
        request.outcome.is_none() && (slow || blocked())
    }

    /// At rest every context that is there is known to its ancestors, over the right link, and nobody else is.
    fn wrong_routes(&self) -> Option<(Check, String)> {
        for place in self.places.iter().flatten() {
            for (other, via) in place.routes() {
                let child = self.cables[place.cables[&via]].child;
                let there = self.place(other).is_some() || self.hanging_above(other);
                let right = other == child || self.ledger.is_below(other, child);
                let excused = || {
                    self.known.returned_order_leaves_routes && !self.ledger.was_ordered_there(other)
                        || self.is_misled(place.id, other)
                        || self.ledger.is_doubtful(other)
                        || self.ledger.is_doubtful(child)
                };
                let wrong = !there || !right;
                if wrong && !excused() {
                    let what = format!("#{} has a route to #{other} over the link of #{child}", place.id);
                    return Some((Check::RouteAndTruth, what));
                }
            }
            if self.ledger.is_doubtful(place.id) || !place.booted {
                continue;
            }
            let mut below = place.id;
            for ancestor in self.ledger.chain(place.id).skip(1) {
                let way = self.place(ancestor).and_then(|other| {
                    other
                        .way_to(place.id)
                        .and_then(|link| other.cables.get(&link))
                        .map(|at| self.cables[*at].child)
                });
                if way != Some(below) {
                    return Some((
                        Check::RouteAndTruth,
                        format!("#{ancestor} has no route to #{} over #{below}", place.id),
                    ));
                }
                below = ancestor;
            }
        }
        None
    }

    /// Whether a forger may have claimed `id` where nobody knew better.
    pub fn is_misled(&self, at: u32, id: u32) -> bool {
        self.known.claims_are_believed && self.claimed.contains(&id) && !self.ledger.is_below(id, at)
    }

    /// Whether a forger may have had its hands in a request.
    pub fn is_tainted(&self, number: u32) -> bool {
        let request = &self.ledger.requests[number as usize];
        self.ledger.is_tainted(number) || self.is_misled(request.from, request.to)
    }

    /// Whether `id` waits to be connected, perhaps by one that itself waits.
    fn hanging_above(&self, id: u32) -> bool {
        self.ledger.chain(id).any(|other| self.hanging.contains(&other))
    }
}
