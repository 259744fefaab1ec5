//! Execution of a plan: step by step, then until nothing moves, then until nothing is left.

use super::cable::{State, UPWARD};
use super::check::{BOUNDS, Bounds, Check, Failure};
use super::ledger::{MARK, Outcome, Purpose};
use super::place::{Happening, UP};
use super::plan::{Forgery, Step};
use super::world::{BEAT, Sabotage, Totals, World};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Options of a run.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    /// Decides where reads are cut.
    pub seed: u64,
    pub sabotage: Option<Sabotage>,
    /// True if every line of the trace is kept.
    pub record: bool,
    pub bounds: Bounds,
    /// Heartbeat interval in milliseconds; 0 for none.
    pub beat: u64,
}

impl Options {
    pub(crate) fn of(seed: u64) -> Self {
        Self {
            seed,
            sabotage: None,
            record: false,
            bounds: BOUNDS,
            beat: BEAT,
        }
    }
}

/// Result of a run.
pub(crate) struct Run {
    pub failure: Option<Failure>,
    pub events: u64,
    pub sum: u64,
    pub lines: Vec<String>,
    pub totals: Totals,
    /// Outcome of each request, and its time in microseconds.
    pub requests: Vec<(Option<Outcome>, u64)>,
}

/// Executes a plan.
pub(crate) fn run(plan: &[Step], options: Options) -> Run {
    let mut world = World::new(options.seed, options.sabotage, options.record);
    world.bounds = options.bounds;
    world.beat = options.beat;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        for step in plan {
            world.step(step);
        }
        world.finish();
    }));
    if outcome.is_err() {
        world.fail(Check::Panic, "something panicked, see above".into());
    }
    Run {
        failure: world.failure,
        events: world.events,
        sum: world.trace.sum(),
        lines: world.trace.lines().to_vec(),
        totals: world.totals,
        requests: world
            .ledger
            .requests
            .iter()
            .map(|request| {
                (
                    request.outcome,
                    request.settled.saturating_sub(request.asked),
                )
            })
            .collect(),
    }
}

impl World {
    /// Executes one step, if it still makes sense.
    pub(crate) fn step(&mut self, step: &Step) {
        if self.failure.is_some() {
            return;
        }
        if self.try_step(step) {
            *self.totals.steps.entry(step.name()).or_default() += 1;
        } else {
            *self.totals.steps.entry("passed over").or_default() += 1;
        }
    }

    fn ready(&self, id: u32) -> bool {
        self.place(id).is_some_and(|place| place.booted)
    }

    fn try_step(&mut self, step: &Step) -> bool {
        let named = self.named(step);
        let step = &named;
        match *step {
            Step::Connect { by, child, .. } => {
                if !self.ready(by) || child == 0 || self.names.contains_key(&child) {
                    return false;
                }
                self.names.insert(child, child);
                self.start(step);
            }
            Step::Pair { one, other, open }
                if self.place(one).is_some() && self.place(other).is_some() =>
            {
                return self.pair(one, other, open);
            }
            Step::Visit {
                from,
                to,
                size,
                answer,
            } if self.ready(from) => {
                self.ask(from, to, size, Purpose::Visit(answer));
            }
            Step::Jump { at } if self.ready(at) => return self.jump(at),
            Step::Call {
                from,
                to,
                size,
                answer,
            } if self.ready(from) => {
                self.ask(from, to, size, Purpose::Call(answer));
            }
            Step::Stream {
                from,
                to,
                size,
                up,
                reader,
            } if self.ready(from) => {
                self.ask(from, to, 64, Purpose::Stream { size, up, reader });
            }
            Step::Ask { from } if self.ready(from) => self.ask(from, 0, 8, Purpose::Ask),
            Step::Log { from, size } if self.ready(from) => {
                if let Some(place) = self.place_mut(from) {
                    place.log(vec![b'.'; size as usize]);
                }
                self.settle(from);
            }
            Step::Cancel { back } => {
                let count = self.ledger.requests.len() as u32;
                if back >= count {
                    return false;
                }
                self.cancel(count - 1 - back);
            }
            Step::Vanish { child, ms } if child != 0 && self.place(child).is_some() => {
                self.vanish(child, ms)
            }
            Step::Forge { at, times, frame } if self.ready(at) && self.ledger.is_hostile(at) => {
                return self.forge(at, times, &frame);
            }
            Step::Wait { ms } => self.run(Some(self.now + u64::from(ms) * 1000)),
            Step::Cut { child, .. }
            | Step::Shutdown { child }
            | Step::Stall { child, .. }
            | Step::Corrupt { child, .. }
            | Step::Truncate { child, .. } => {
                let Some(cable) = self.cable_of(child) else {
                    return false;
                };
                self.harm(cable, step);
            }
            _ => return false,
        }
        true
    }

    /// Damages, stalls or cuts a link.
    fn harm(&mut self, at: usize, step: &Step) {
        match *step {
            Step::Cut {
                keep,
                parent_ms,
                child_ms,
                ..
            } => self.cut(at, keep, parent_ms, child_ms),
            Step::Shutdown { .. } => {
                let (parent, link) = (self.cables[at].parent, self.cables[at].link);
                if let Some(place) = self.place_mut(parent) {
                    place.shut_down(link);
                }
                self.settle(parent);
            }
            Step::Stall { up, ms, .. } => {
                let (now, beat) = (self.now, self.beat);
                let cable = &mut self.cables[at];
                let longest = cable.pipes[usize::from(up)].stall(now, now + u64::from(ms) * 1000);
                self.rough = true;
                cable.stood |= longest > beat * 1000 * 3 / 2;
            }
            Step::Corrupt { up, bit, .. } => {
                self.cables[at].pipes[usize::from(up)].flip = Some(bit)
            }
            Step::Truncate { up, bytes, .. } => {
                self.cables[at].pipes[usize::from(up)].drop += bytes
            }
            _ => {}
        }
    }

    fn forge(&mut self, at: u32, times: u32, frame: &Forgery) -> bool {
        let Some(cable) = self
            .cable_of(at)
            .filter(|cable| self.cables[*cable].state == State::Up)
        else {
            return false;
        };
        self.rough = true;
        for _ in 0..times {
            self.cables[cable].forge(frame, MARK);
        }
        self.note(
            "forge",
            [u64::from(at), u64::from(frame.kind), u64::from(times)],
        );
        if self.sabotaged(Sabotage::BelieveForger) {
            self.happened(
                0,
                Happening::Log {
                    from: frame.src,
                    bytes: MARK.to_vec(),
                },
            );
        }
        self.pump(cable, UPWARD);
        true
    }

    /// Waits until nothing moves, then takes the tree down.
    fn finish(&mut self) {
        self.rest();
        if self.failure.is_none() {
            self.check_rest();
        }
        let links: Vec<_> = self
            .place(0)
            .map(|root| root.cables.values().copied().collect())
            .unwrap_or_default();
        for cable in links {
            if self.failure.is_none() {
                self.lose(cable);
            }
        }
        self.run(None);
        if self.failure.is_some() {
            return;
        }
        if let Some(left) = self.places.iter().flatten().find(|place| place.id != 0) {
            let what = format!(
                "#{} outlives the tree (up: {})",
                left.id,
                left.cables.contains_key(&UP)
            );
            return self.fail(Check::Settled, what);
        }
        let mut requests = self.ledger.requests.iter().enumerate();
        let waits = requests.find(|(_, request)| request.outcome.is_none() && request.to != 0);
        if let Some((number, request)) = waits {
            let what = format!(
                "request {number} ({:?}) waits although the tree is gone",
                request.purpose
            );
            return self.fail(Check::Settled, what);
        }
        let held = self.place(0).map_or(0, |root| root.queued_sum);
        if held > 0 {
            self.fail(
                Check::Forgotten,
                format!("a root without links has {held} bytes queued"),
            );
        }
    }
}
