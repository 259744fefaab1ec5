//! Arrival and loss of links and agents: connect requests, bootstraps, cuts, ends.

use super::cable::{Cable, DOWN, Rewriter, State, UPWARD};
use super::check::Check;
use super::ledger::Outcome;
use super::place::{Place, UP};
use super::plan::Fate;
use super::world::{Job, Sabotage, World};
use offshoot_proto::Reason;
use offshoot_proto::{FlowKey, LinkId};

impl World {
    /// Handles a connect request at the parent.
    pub(crate) fn connect(&mut self, at: u32, flow: FlowKey, child: u32, link: LinkId, fate: Fate) {
        let Some((_, wire, waiting)) = self.orders.get_mut(&child) else {
            return;
        };
        *waiting = Some(flow);
        let cable = self.cables.len();
        let mut made = Cable::new(at, link, child, *wire);
        if self.sabotaged(Sabotage::DelayCalls) {
            made.rewriters[DOWN] = Some(Rewriter::delaying(9 << 16));
        }
        self.cables.push(made);
        let beat = self.beat as u32;
        let Some(place) = self.place_mut(at) else {
            return;
        };
        place.cables.insert(link, cable);
        place.name_child(link, child, flow.peer.0 != 0, beat);
        match fate {
            Fate::Up { ms } => self.later(u64::from(ms) * 1000, Job::ComeUp { cable }),
            Fate::Again { ms, then_ms } => {
                self.later(u64::from(ms) * 1000, Job::Restart { cable, then_ms });
            }
            Fate::Fails { ms } => self.later(u64::from(ms) * 1000, Job::FailHop { cable }),
            Fate::Hangs => {
                self.hanging.insert(child);
            }
        }
    }

    pub(crate) fn hello(&mut self, at: u32, link: LinkId) {
        let Some(cable) = self
            .place(at)
            .and_then(|place| place.cables.get(&link).copied())
        else {
            return;
        };
        if self.cables[cable].state != State::Connecting {
            return;
        }
        self.cables[cable].state = State::Up;
        let child = self.cables[cable].child;
        let (forget, beat) = (self.sabotaged(Sabotage::ForgetRoute), self.beat);
        if let Some(place) = self.place_mut(at) {
            place.link_up(link);
            place.beat(link, beat);
            if forget {
                place.forget_route(child, link);
            }
        }
        self.note("hello", [u64::from(at), u64::from(child), 0]);
        if self.sabotaged(Sabotage::BreakHonest) {
            self.broken(at, link, Reason::Lost, "sabotage");
        }
        if let Some(flow) = self.orders.get_mut(&child).and_then(|order| order.2.take()) {
            self.write_answer(at, flow);
        }
    }

    pub(crate) fn broken(&mut self, at: u32, link: LinkId, reason: Reason, why: &str) {
        let Some(cable) = self
            .place(at)
            .and_then(|place| place.cables.get(&link).copied())
        else {
            return;
        };
        let direction = usize::from(link != UP || at == 0);
        let child = self.cables[cable].child;
        let cable_is = &self.cables[cable];
        let other = if cable_is.child == at {
            cable_is.parent
        } else {
            child
        };
        let silent = reason == Reason::Silent && (cable_is.stood || self.place(other).is_none());
        let guilty = cable_is.damaged || silent || self.ledger.is_hostile(child);
        self.note(
            if reason == Reason::Silent {
                "silent"
            } else {
                "broken"
            },
            [u64::from(at), u64::from(child), 0],
        );
        if !guilty {
            self.fail(
                Check::Innocence,
                format!("#{at} ends the link of #{child}: {why}"),
            );
        }
        self.later(0, Job::Ended { cable, direction });
    }

    pub(crate) fn come_up(&mut self, at: usize) {
        let (parent, child) = (self.cables[at].parent, self.cables[at].child);
        if self.cables[at].state != State::Connecting || self.place(parent).is_none() {
            return;
        }
        self.note("up", [u64::from(child), 0, 0]);
        if self.places.len() <= child as usize {
            self.places.resize_with(child as usize + 1, || None);
        }
        let mut place = Place::agent(child);
        place.cables.insert(UP, at);
        self.places[child as usize] = Some(Box::new(place));
        self.cables[at].reading = true;
        if self.ledger.is_hostile(child) {
            self.cables[at].rewriters[UPWARD] = Some(Rewriter::default());
        }
        self.settle(child);
        self.schedule(at, DOWN);
    }

    /// Closes both ends of a link, which notice it at different times.
    pub(crate) fn cut(&mut self, at: usize, keep: u32, parent_ms: u32, child_ms: u32) {
        if self.cables[at].pipes[DOWN].closed {
            return;
        }
        for pipe in &mut self.cables[at].pipes {
            pipe.cut(keep);
        }
        self.later(
            u64::from(parent_ms) * 1000,
            Job::Ended {
                cable: at,
                direction: UPWARD,
            },
        );
        self.later(
            u64::from(child_ms) * 1000,
            Job::Ended {
                cable: at,
                direction: DOWN,
            },
        );
    }

    /// Has a parent notice the loss of a link, or give up a hop.
    pub(crate) fn lose(&mut self, at: usize) {
        let cable = &mut self.cables[at];
        let (parent, link, child, state) = (cable.parent, cable.link, cable.child, cable.state);
        if state == State::Gone {
            return;
        }
        cable.state = State::Gone;
        for pipe in &mut cable.pipes {
            pipe.cut(0);
        }
        self.hanging.remove(&child);
        self.later(
            1000,
            Job::Ended {
                cable: at,
                direction: DOWN,
            },
        );
        self.note("lost", [u64::from(parent), u64::from(child), state as u64]);
        let order = self.orders.get_mut(&child).and_then(|order| order.2.take());
        if let Some(flow) = order {
            self.write_answer(parent, flow);
        }
        let keep = self.sabotaged(Sabotage::KeepRoute);
        let Some(place) = self.place_mut(parent) else {
            return;
        };
        place.cables.remove(&link);
        place.lost(link, state == State::Connecting);
        if keep {
            place.keep_route(child, link);
        }
        self.check_lost(parent, link);
        self.settle(parent);
    }

    /// Ends an agent that has noticed the loss of its parent or was shut down. All its links are
    /// lost.
    pub(crate) fn end(&mut self, id: u32) {
        let Some(place) = self.place_mut(id) else {
            return;
        };
        place.lost(UP, false);
        self.note("end", [u64::from(id), 0, 0]);
        self.settle(id);
        let cables: Vec<_> = self
            .place(id)
            .map(|place| place.cables.clone())
            .unwrap_or_default()
            .into_iter()
            .collect();
        for (link, cable) in cables {
            if link != UP {
                self.lose(cable);
            }
        }
        let left = self.waiting_at(id);
        if let Some(request) = left.into_iter().find(|request| !self.is_tainted(*request)) {
            self.fail(
                Check::Settled,
                format!("#{id} ended, and request {request} got no answer"),
            );
        }
        self.vanish(id, 1);
    }

    /// Returns the requests for which users of a place wait.
    fn waiting_at(&self, id: u32) -> Vec<u32> {
        let Some(place) = self.place(id) else {
            return Vec::new();
        };
        let mut left: Vec<_> = place
            .ends
            .values()
            .filter(|end| end.opener && end.main && !end.over)
            .map(|end| end.request)
            .collect();
        left.sort_unstable();
        left
    }

    /// Removes a process; its neighbours notice that later.
    pub(crate) fn vanish(&mut self, id: u32, ms: u32) {
        for request in self.waiting_at(id) {
            self.outcome(request, Outcome::Orphaned);
        }
        let Some(place) = self.places.get_mut(id as usize).and_then(Option::take) else {
            return;
        };
        self.note("gone", [u64::from(id), 0, 0]);
        for (link, cable) in place.cables {
            let direction = if link == UP { UPWARD } else { DOWN };
            if link == UP {
                self.cables[cable].reading = false;
            } else {
                self.hanging.remove(&self.cables[cable].child);
            }
            for pipe in &mut self.cables[cable].pipes {
                pipe.closed = true;
            }
            self.later(u64::from(ms) * 1000, Job::Ended { cable, direction });
        }
    }
}
