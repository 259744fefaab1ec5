//! The invariants, with their bounds in one place: tighten them here.

use super::ledger::{Purpose, Request};
use super::plan::{Answer, Fate, Reader};
use super::world::World;

/// Bounds for all nodes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Maximum bytes that a node holds for its links, if less than the formula in `held`.
    pub held: u64,
    /// Maximum bytes of bulk data that a link carries between the queueing and the sending of a
    /// call.
    pub overtaken: u64,
    /// Maximum number of events of a plan; more count as endless.
    pub events: u64,
}

/// Bounds of every run, unless a test sets others.
pub(crate) const BOUNDS: Bounds = Bounds {
    held: u64::MAX,
    overtaken: 4 * 65_584,
    events: 3_000_000,
};
/// Number of events after which all places are checked in depth, apart from the check at rest.
pub(crate) const DEEP_EVERY: u64 = 4096;

/// The invariants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Check {
    /// A request has one outcome and nothing after it.
    OneOutcome,
    /// Bytes of a flow arrive once, in order and unchanged.
    InOrder,
    /// Nothing is delivered under a name that its sender may not use.
    Identity,
    /// Only ancestors are obeyed.
    Authority,
    /// No route leads over a lost link.
    RouteAndLink,
    /// Contexts with a route exist, and existing contexts have a route.
    RouteAndTruth,
    /// A node holds no more than its bound.
    Held,
    /// A call overtakes bulk data.
    Overtaking,
    /// At rest, nobody waits for anything that could have arrived.
    Settled,
    /// Finished flows and lost contexts are forgotten.
    Forgotten,
    /// No context loses an honest link because of another's violation.
    Innocence,
    /// Nothing panics.
    Panic,
    /// Every plan comes to rest.
    Endless,
}

/// A violated invariant.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub check: Check,
    pub what: String,
    /// Time in microseconds, and number of events.
    pub now: u64,
    pub event: u64,
}

impl World {
    /// Records a violation; the first one counts.
    pub(crate) fn fail(&mut self, check: Check, what: String) {
        if self.failure.is_none() {
            self.failure = Some(Failure {
                check,
                what,
                now: self.now,
                event: self.events,
            });
        }
    }

    /// Checks a place that has lost a link.
    pub(crate) fn check_lost(&mut self, id: u32, link: offshoot_proto::LinkId) {
        let Some(place) = self.place(id) else { return };
        if let Some((other, _)) = place.routes().into_iter().find(|(_, via)| *via == link) {
            self.fail(
                Check::RouteAndLink,
                format!("#{id} lost a link and keeps a route to #{other} over it"),
            );
        }
    }

    /// Checks every route of every place. Returns their number.
    pub(crate) fn check_deep(&mut self) -> u64 {
        let mut seen = 0;
        let mut found = None;
        for place in self.places.iter().flatten() {
            for (other, via) in place.routes() {
                seen += 1;
                if !place.cables.contains_key(&via) {
                    found = Some(format!(
                        "#{} has a route to #{other} over {via:?}, which is gone",
                        place.id
                    ));
                }
            }
        }
        if let Some(what) = found {
            self.fail(Check::RouteAndLink, what);
        }
        seen
    }

    /// Checks the tree at rest.
    pub(crate) fn check_rest(&mut self) {
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
                    let what = format!(
                        "at #{} {flow:?} of request {} is still open",
                        place.id, end.request
                    );
                    return Some((Check::Settled, what));
                }
                if end.over && place.knows(*flow) && !self.is_tainted(end.request) {
                    let what = format!(
                        "#{} still knows {flow:?} of request {}",
                        place.id, end.request
                    );
                    return Some((Check::Forgotten, what));
                }
            }
        }
        None
    }

    /// Returns true if a request may be open at rest.
    fn may_wait(&self, number: u32) -> bool {
        let request = &self.ledger.requests[number as usize];
        if self.is_tainted(number) {
            return true;
        }
        let slow = match request.purpose {
            Purpose::Call(Answer::Silent) | Purpose::Visit(Answer::Silent) => true,
            Purpose::Stream {
                reader: Reader::Stops { .. },
                ..
            } => {
                return self.both_there(request) || self.is_blocked(request);
            }
            Purpose::Connect {
                fate: Fate::Hangs, ..
            } => true,
            _ => false,
        };
        let slow = slow && self.both_there(request);
        request.outcome.is_none() && (slow || self.is_blocked(request))
    }

    /// Returns true if the callee is being connected, or is below a context that is.
    fn is_blocked(&self, request: &Request) -> bool {
        self.hanging_above(request.to)
    }

    /// Returns true if caller and callee exist and may talk.
    fn both_there(&self, request: &Request) -> bool {
        let (from, to) = (request.from, request.to);
        let related =
            from == to || self.ledger.is_below(from, to) || self.ledger.is_below(to, from);
        let may = related || self.ledger.paired(from, to).is_some_and(|(open, _)| open);
        may && self.place(from).is_some() && self.place(to).is_some()
    }

    /// Returns a wrong route at rest, when all ancestors of a context must know it over the right
    /// link, and no other context may.
    fn wrong_routes(&self) -> Option<(Check, String)> {
        for place in self.places.iter().flatten() {
            for (other, via) in place.routes() {
                let child = self.cables[place.cables[&via]].child;
                let there = self.place(other).is_some() || self.hanging_above(other);
                let right = other == child || self.ledger.is_below(other, child);
                let excused = || self.ledger.is_doubtful(other) || self.ledger.is_doubtful(child);
                let wrong = !there || !right;
                if wrong && !excused() {
                    let what = format!(
                        "#{} has a route to #{other} over the link of #{child}",
                        place.id
                    );
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

    /// Returns true if a forger may have interfered with a request.
    pub(crate) fn is_tainted(&self, number: u32) -> bool {
        self.ledger.is_tainted(number)
    }

    /// Returns true if `id` is being connected, or is below a context that is.
    fn hanging_above(&self, id: u32) -> bool {
        self.ledger
            .chain(id)
            .any(|other| self.hanging.contains(&other))
    }
}
