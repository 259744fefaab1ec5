//! The tree, the virtual clock and the agenda.

use super::cable::{Cable, DOWN, State, UPWARD};
use super::check::{BOUNDS, Bounds, Check, DEEP_EVERY, Failure};
use super::ledger::Ledger;
use super::place::{Place, UP};
use super::plan::{Fate, Wire};
use super::rng::Rng;
use super::trace::Trace;
use offshoot_proto::{FlowKey, LinkId};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// Number of bytes that a node is asked for at a time, and the maximum that is read at a time.
pub(crate) const BATCH: usize = 64 << 10;
/// Time in microseconds after which each end of a damaged link notices the damage, if there are no
/// heartbeats.
const SILENCE: u64 = 10_000_000;
/// Default heartbeat interval in milliseconds.
pub(crate) const BEAT: u64 = 500;

/// An entry of the agenda.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Job {
    Carry {
        cable: usize,
        direction: usize,
    },
    /// The reader of a direction sees its end.
    Ended {
        cable: usize,
        direction: usize,
    },
    ComeUp {
        cable: usize,
    },
    Restart {
        cable: usize,
        then_ms: u32,
    },
    FailHop {
        cable: usize,
    },
    Silence {
        cable: usize,
    },
    Answer {
        at: u32,
        flow: FlowKey,
    },
    Read {
        at: u32,
        flow: FlowKey,
    },
    End {
        at: u32,
    },
    Beat {
        at: u32,
    },
}

/// A deliberate bug, to test the checks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sabotage {
    DeliverTwice,
    SwapBytes,
    LoseClosed,
    CloseTwice,
    BelieveForger,
    ObeyAnyone,
    KeepRoute,
    ForgetRoute,
    ReadWithoutReading,
    DelayCalls,
    KeepFlow,
    BreakHonest,
    NeverRest,
}

/// Totals of a run.
#[derive(Default, Clone, Debug)]
pub(crate) struct Totals {
    pub steps: BTreeMap<&'static str, u64>,
    pub happened: BTreeMap<&'static str, u64>,
    pub most_held: u64,
    /// Including bytes that its readers did not read.
    pub most_at_one: u64,
    /// The same in percent of the bound.
    pub most_of_bound: u64,
    pub most_overtaken: u64,
    pub bytes: u64,
}

impl Totals {
    pub(crate) fn count(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }
}

/// A running tree.
pub(crate) struct World {
    pub now: u64,
    pub events: u64,
    agenda: BinaryHeap<Reverse<(u64, u64, Job)>>,
    sequence: u64,
    pub places: Vec<Option<Box<Place>>>,
    pub cables: Vec<Cable>,
    pub ledger: Ledger,
    /// Orders for children: fate, wire, and the flow that waits for the answer.
    pub orders: BTreeMap<u32, (Fate, Wire, Option<FlowKey>)>,
    /// Children whose connect hangs forever.
    pub hanging: BTreeSet<u32>,
    /// Numbers of the names in the plan.
    pub names: BTreeMap<u32, u32>,
    /// Grants of the root, by request.
    pub granted: BTreeMap<u32, (u32, u32)>,
    /// Heartbeat interval in milliseconds, and whether there are heartbeats.
    pub beat: u64,
    pub beating: bool,
    /// Number of events other than bytes that move over links.
    loud: u64,
    /// True if a context may have ignored a request to pause: a forger, or one that received it
    /// late.
    pub rough: bool,
    pub rng: Rng,
    pub trace: Trace,
    pub totals: Totals,
    pub bounds: Bounds,
    pub failure: Option<Failure>,
    pub sabotage: Option<Sabotage>,
    deep_due: u64,
}

impl World {
    pub(crate) fn new(seed: u64, sabotage: Option<Sabotage>, record: bool) -> Self {
        Self {
            now: 0,
            events: 0,
            agenda: BinaryHeap::new(),
            sequence: 0,
            places: vec![Some(Box::new(Place::root(
                sabotage == Some(Sabotage::ObeyAnyone),
            )))],
            cables: Vec::new(),
            ledger: Ledger::default(),
            orders: BTreeMap::new(),
            hanging: BTreeSet::new(),
            names: BTreeMap::new(),
            granted: BTreeMap::new(),
            beat: BEAT,
            beating: true,
            loud: 0,
            rough: false,
            rng: Rng::new(seed),
            trace: Trace::new(record),
            totals: Totals::default(),
            bounds: BOUNDS,
            failure: None,
            sabotage,
            deep_due: DEEP_EVERY,
        }
    }

    pub(crate) fn place(&self, id: u32) -> Option<&Place> {
        self.places.get(id as usize)?.as_deref()
    }

    pub(crate) fn place_mut(&mut self, id: u32) -> Option<&mut Place> {
        self.places.get_mut(id as usize)?.as_deref_mut()
    }

    /// Returns the link of a context to its parent, if the agent is up.
    pub(crate) fn cable_of(&self, child: u32) -> Option<usize> {
        self.place(child)?
            .cables
            .get(&UP)
            .copied()
            .filter(|_| child != 0)
    }

    pub(crate) fn sabotaged(&self, by: Sabotage) -> bool {
        self.sabotage == Some(by)
    }

    pub(crate) fn later(&mut self, after: u64, job: Job) {
        self.sequence += 1;
        self.agenda
            .push(Reverse((self.now + after, self.sequence, job)));
    }

    /// Lets time pass until `until`, or until nothing is left to do.
    pub(crate) fn run(&mut self, until: Option<u64>) {
        while self.failure.is_none() {
            let Some(Reverse((due, _, _))) = self.agenda.peek() else {
                break;
            };
            if until.is_some_and(|until| *due > until) {
                break;
            }
            let Some(Reverse((due, _, job))) = self.agenda.pop() else {
                break;
            };
            self.now = due;
            self.events += 1;
            if self.events > self.bounds.events {
                self.fail(
                    Check::Endless,
                    format!("it goes on after {} events: {job:?}", self.events),
                );
            }
            if self.sabotaged(Sabotage::NeverRest) && matches!(job, Job::Carry { .. }) {
                self.later(1, job);
            }
            self.perform(job);
            if self.events >= self.deep_due {
                let seen = self.check_deep();
                self.deep_due = self.events + DEEP_EVERY.max(seen);
            }
        }
        self.now = self.now.max(until.unwrap_or(0));
    }

    fn perform(&mut self, job: Job) {
        match job {
            Job::Carry { cable, direction } => self.carry(cable, direction),
            Job::Ended {
                cable,
                direction: DOWN,
            } => {
                let (child, reading) = (self.cables[cable].child, self.cables[cable].reading);
                if reading {
                    self.end(child);
                }
            }
            Job::Ended { cable, .. } => self.lose(cable),
            Job::ComeUp { cable } => self.come_up(cable),
            Job::Restart { cable, then_ms } => {
                let (parent, link) = (self.cables[cable].parent, self.cables[cable].link);
                if self.cables[cable].state == State::Connecting && self.place(parent).is_some() {
                    self.note("restart", [cable as u64, 0, 0]);
                    self.cables[cable].restart();
                    if let Some(place) = self.place_mut(parent) {
                        place.restart(link);
                    }
                    self.later(u64::from(then_ms) * 1000, Job::ComeUp { cable });
                    self.settle(parent);
                }
            }
            Job::FailHop { cable } => self.lose(cable),
            Job::Silence { cable } => self.cut(cable, 0, 0, 0),
            Job::Answer { at, flow } => self.answer(at, flow),
            Job::Read { at, flow } => self.read_slowly(at, flow),
            Job::End { at } => self.end(at),
            Job::Beat { at } => {
                let (ms, beating) = (self.now / 1000, self.beating);
                if let Some(place) = self.place_mut(at).filter(|_| beating) {
                    place.beat_at = None;
                    place.expire(ms);
                    self.settle(at);
                }
            }
        }
    }

    pub(crate) fn note(&mut self, what: &'static str, numbers: [u64; 3]) {
        self.totals.count(what);
        self.loud += u64::from(what != "carry");
        self.trace.note(self.now, what, numbers);
    }

    /// Handles all events of a node, and writes its output.
    pub(crate) fn settle(&mut self, id: u32) {
        let ms = self.now / 1000;
        loop {
            let Some(place) = self.place_mut(id) else {
                return;
            };
            place.set_time(ms);
            if let Some(happening) = place.next() {
                self.happen(id, happening);
                continue;
            }
            let dirty = place.dirty();
            for link in &dirty {
                place.weigh(*link);
            }
            self.check_place(id);
            if dirty.is_empty() {
                return self.schedule_beat(id);
            }
            for link in dirty {
                let cable = self
                    .place(id)
                    .and_then(|place| place.cables.get(&link).copied());
                if let Some(cable) = cable {
                    self.pump(cable, if link == UP && id != 0 { UPWARD } else { DOWN });
                }
            }
        }
    }

    fn schedule_beat(&mut self, at: u32) {
        let (now, beating) = (self.now, self.beating);
        let Some(place) = self.place_mut(at).filter(|_| beating) else {
            return;
        };
        if let Some(due) = place.next_due()
            && place.beat_at.is_none_or(|before| before > due)
        {
            place.beat_at = Some(due);
            self.later((due * 1000).saturating_sub(now), Job::Beat { at });
        }
    }

    /// Lets time pass until only heartbeats happen, then without heartbeats until nothing is left.
    pub(crate) fn rest(&mut self) {
        let window = 6 * self.beat * 1000;
        while self.beating && window > 0 && self.failure.is_none() {
            let before = self.loud;
            self.run(Some(self.now + window));
            let soon = self.now + window;
            let more = self.agenda.iter().any(|Reverse((due, _, job))| match job {
                Job::Beat { .. } => false,
                Job::Carry { .. } => *due > soon,
                _ => true,
            });
            if self.loud == before && !more {
                break;
            }
        }
        self.beating = false;
        self.run(None);
    }

    /// Pauses or resumes reading of a link.
    pub(crate) fn pause(&mut self, at: u32, link: LinkId, paused: bool) {
        let Some(cable) = self
            .place(at)
            .and_then(|place| place.cables.get(&link).copied())
        else {
            return;
        };
        let direction = if link == UP && at != 0 { DOWN } else { UPWARD };
        self.note(
            if paused { "pause" } else { "resume" },
            [u64::from(at), cable as u64, 0],
        );
        self.cables[cable].pipes[direction].paused = paused;
        self.schedule(cable, direction);
    }

    /// Returns the place that writes into a direction, and its link.
    fn writer(&self, cable: usize, direction: usize) -> (u32, LinkId) {
        let cable = &self.cables[cable];
        if direction == DOWN {
            (cable.parent, cable.link)
        } else {
            (cable.child, UP)
        }
    }

    /// Moves bytes of a node into the pipe, as far as there is room.
    pub(crate) fn pump(&mut self, at: usize, direction: usize) {
        let (writer, link) = self.writer(at, direction);
        let mut damaged = false;
        while let Some(place) = self
            .places
            .get_mut(writer as usize)
            .and_then(Option::as_deref_mut)
        {
            let cable = &mut self.cables[at];
            let room = cable.pipes[direction].room();
            if room == 0 {
                break;
            }
            if cable.out[direction].rest() == 0 {
                cable.out[direction].bytes.clear();
                cable.out[direction].at = 0;
                place.transmit(link, &mut cable.out[direction].bytes, BATCH);
                place.weigh(link);
                let had = !cable.out[direction].bytes.is_empty();
                let overtaken = cable.look(direction);
                self.totals.most_overtaken = self.totals.most_overtaken.max(overtaken);
                if overtaken > self.bounds.overtaken {
                    let what =
                        format!("a call from #{writer} waited for {overtaken} bytes of bulk");
                    self.fail(Check::Overtaking, what);
                    return;
                }
                if !had {
                    break;
                }
            }
            let cable = &mut self.cables[at];
            let out = &mut cable.out[direction];
            let piece = room.min(out.rest());
            damaged |= cable.pipes[direction].write(self.now, &out.bytes[out.at..out.at + piece]);
            out.at += piece;
        }
        if damaged && !std::mem::replace(&mut self.cables[at].damaged, true) {
            self.note("damaged", [at as u64, direction as u64, 0]);
            if !self.beating || self.beat == 0 {
                self.later(SILENCE, Job::Silence { cable: at });
            }
        }
        self.schedule(at, direction);
    }

    pub(crate) fn schedule(&mut self, at: usize, direction: usize) {
        let now = self.now;
        let pipe = &mut self.cables[at].pipes[direction];
        if let Some(ready) = pipe.ready_at()
            && !std::mem::replace(&mut pipe.scheduled, true)
        {
            self.later(
                ready.saturating_sub(now),
                Job::Carry {
                    cable: at,
                    direction,
                },
            );
        }
    }

    /// Reads a direction, in pieces of varying size.
    fn carry(&mut self, at: usize, direction: usize) {
        let limit = match self.rng.below(10) {
            0 => self.rng.between(1, 100),
            1..6 => self.rng.between(1, 3000),
            _ => BATCH as u64,
        };
        let now = self.now;
        let cable = &mut self.cables[at];
        let pipe = &mut cable.pipes[direction];
        pipe.scheduled = false;
        let reader = if direction == DOWN {
            cable.child
        } else {
            cable.parent
        };
        let link = if direction == DOWN { UP } else { cable.link };
        let there = if direction == DOWN {
            cable.reading
        } else {
            cable.state != State::Gone
        };
        if !there || pipe.paused || self.places.get(reader as usize).is_none_or(Option::is_none) {
            return;
        }
        if pipe.stalled_until <= now {
            let bytes = pipe.take(now, limit as usize);
            if !bytes.is_empty() {
                let sum = offshoot_proto::wire::sum_of(&bytes[..bytes.len().min(200)]);
                self.totals.bytes += bytes.len() as u64;
                self.note(
                    "carry",
                    [
                        (at * 2 + direction) as u64,
                        bytes.len() as u64,
                        u64::from(sum),
                    ],
                );
                if let Some(place) = self.place_mut(reader) {
                    place.set_time(now / 1000);
                    place.receive(link, &bytes);
                }
                self.arrived(at, direction, reader);
                self.settle(reader);
                self.pump(at, direction);
            }
        }
        self.schedule(at, direction);
    }

    /// Moves calls that have arrived to the queue of their next link.
    fn arrived(&mut self, at: usize, direction: usize, reader: u32) {
        let pipe = &mut self.cables[at].pipes[direction];
        let mut calls = Vec::new();
        while let Some(mark) = pipe
            .marks
            .front()
            .copied()
            .filter(|mark| mark.end <= pipe.read)
        {
            pipe.marks.pop_front();
            pipe.whole = mark.end;
            calls.extend(mark.call.filter(|(_, _, dst)| *dst != reader));
        }
        for (src, handle, dst) in calls {
            self.will_wait(reader, src, handle, dst);
        }
    }

    /// Records that a call is queued at a place for the link to `dst`.
    pub(crate) fn will_wait(&mut self, at: u32, src: u32, handle: u32, dst: u32) {
        let Some(place) = self.place(at) else { return };
        let Some(cable) = place
            .way_to(dst)
            .and_then(|link| place.cables.get(&link).copied())
        else {
            return;
        };
        let direction = usize::from(self.cables[cable].child == at);
        let cable = &mut self.cables[cable];
        if cable.state == State::Up {
            cable.waiting[direction].insert((src, handle), cable.bulk[direction]);
        }
    }
}
