//! Actions other than calls: connects with their numbers, pairs, clock jumps.

use super::ledger::Purpose;
use super::plan::{Forgery, OF_ITS_OWN, Step};
use super::world::World;

/// Time in microseconds after which nothing passes between a pair that was closed.
const CLOSING: u64 = 5_000_000;

impl World {
    /// Returns the number of a name in the plan. Names that were never connected are returned
    /// unchanged, and are no context's number.
    pub(crate) fn number(&self, name: u32) -> u32 {
        self.names.get(&name).copied().unwrap_or(name)
    }

    /// Returns the step with numbers in place of names. The child of a connect keeps its name.
    pub(crate) fn named(&self, step: &Step) -> Step {
        let of = |name: &mut u32| *name = self.number(*name);
        let mut step = step.clone();
        match &mut step {
            Step::Connect { by, parent, .. } => {
                of(by);
                of(parent);
            }
            Step::Call { from, to, .. }
            | Step::Visit { from, to, .. }
            | Step::Stream { from, to, .. } => {
                of(from);
                of(to);
            }
            Step::Pair { one, other, .. } => {
                of(one);
                of(other);
            }
            Step::Ask { from: one } | Step::Log { from: one, .. } | Step::Jump { at: one } => {
                of(one)
            }
            Step::Cut { child, .. }
            | Step::Vanish { child, .. }
            | Step::Shutdown { child }
            | Step::Stall { child, .. }
            | Step::Corrupt { child, .. }
            | Step::Truncate { child, .. } => of(child),
            Step::Forge {
                at,
                frame:
                    Forgery {
                        dst,
                        src,
                        auth,
                        offset,
                        ..
                    },
                ..
            } => {
                of(at);
                of(dst);
                of(src);
                of(auth);
                *offset = match *offset {
                    own @ OF_ITS_OWN.. if own < OF_ITS_OWN + 64 => {
                        u64::from(self.ledger.block_of(*at).unwrap_or(0)) + (own - OF_ITS_OWN)
                    }
                    small @ 0..512 => u64::from(self.number(small as u32)),
                    other => other,
                };
            }
            Step::Cancel { .. } | Step::Wait { .. } => {}
        }
        step
    }

    /// Sends a connect request as soon as there is a number for the new context.
    pub(crate) fn start(&mut self, step: &Step) {
        let Step::Connect {
            by,
            parent,
            child: name,
            fate,
            wire,
            hostile,
        } = *step
        else {
            return;
        };
        let mut child = name;
        if by != 0 {
            let Some(place) = self.place_mut(by) else {
                return;
            };
            match place.pool.pop_front() {
                Some(number) => child = number,
                None => {
                    place.wanting.push(step.clone());
                    if place.wanting.len() == 1 {
                        self.ask(by, 0, 8, Purpose::Ask);
                    }
                    return;
                }
            }
        }
        self.names.insert(name, child);
        if self.ledger.order(parent, child, hostile) {
            self.orders.insert(child, (fate, wire, None));
            self.ask(by, parent, 200, Purpose::Connect { child, fate });
        }
    }

    /// Has the root grant numbers to a context, if it may have more.
    pub(crate) fn grant(&mut self, owner: u32) -> Option<(u32, u32)> {
        let (first, count) = self.place_mut(0)?.grant(owner)?;
        self.ledger.blocks.insert(first, owner);
        self.note("grant", [u64::from(owner), u64::from(first), 0]);
        Some((first, count))
    }

    /// Handles the root's reply: numbers, unless there were none.
    pub(crate) fn has_numbers(&mut self, at: u32, request: u32) {
        let block = self.granted.remove(&request);
        let Some(place) = self.place_mut(at) else {
            return;
        };
        let wanting = std::mem::take(&mut place.wanting);
        let Some((first, count)) = block else { return };
        place.pool.extend(first..first + count);
        for step in wanting {
            self.start(&step);
        }
    }

    /// Has the root open or close the path between two contexts that are not each other's
    /// ancestors.
    pub(crate) fn pair(&mut self, one: u32, other: u32, open: bool) -> bool {
        let related =
            one == other || self.ledger.is_below(one, other) || self.ledger.is_below(other, one);
        let Some(root) = self.place_mut(0).filter(|_| !related) else {
            return false;
        };
        if root.way_to(one).is_none() || root.way_to(other).is_none() {
            return false;
        }
        root.pair(one, other, open);
        let now = self.now;
        self.ledger.pair(one, other, open, now);
        self.settle(0);
        true
    }

    /// Returns true if a visit to an unrelated context may have been delivered: the path is open,
    /// or was when the visit began or shortly after.
    pub(crate) fn may_visit(&self, from: u32, to: u32, bytes: &[u8]) -> bool {
        let name = bytes
            .first_chunk::<8>()
            .map_or(u64::MAX, |name| u64::from_le_bytes(*name));
        let asked = self
            .ledger
            .requests
            .get(name as usize)
            .map_or(self.now, |request| request.asked);
        self.ledger
            .paired(from, to)
            .is_some_and(|(open, since)| open || asked < since + CLOSING)
    }

    /// Advances a clock by an hour, unless the neighbours had no chance to answer since the last
    /// time.
    pub(crate) fn jump(&mut self, at: u32) -> bool {
        let (ms, beat) = (self.now / 1000, self.beat);
        let Some(place) = self.place_mut(at) else {
            return false;
        };
        if place.jumped.is_some_and(|before| ms < before + 4 * beat) {
            return false;
        }
        place.jumped = Some(ms);
        place.ahead += 3_600_000;
        place.expire(ms);
        self.settle(at);
        true
    }
}
