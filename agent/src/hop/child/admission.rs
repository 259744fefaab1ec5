//! Turns of hops: programs that have told which way they would go and wait for others on it, and
//! those that were dropped there and try again.

use crate::hop::child::Children;
use crate::hop::child::state::Admission;
use crate::hop::child::state::Child;
use crate::runtime::reactor::Reactor;
use crate::runtime::reactor::Timer;
use crate::runtime::state::NodeState;
use offshoot_proto::ConnectError;
use offshoot_proto::LinkId;
use offshoot_sys as sys;
use std::time::Duration;
use tracing::Level;

/// How often a hop is begun again that was dropped on its way.
const TRIES: u8 = 6;

/// About how long is waited before the first time, and the most that it grows to, in milliseconds.
const PAUSE: (u64, u64) = (500, 8000);

impl Children {
    /// The program of a hop has told which way it would go, and waits.
    pub(crate) fn would_go(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        link: LinkId,
        way: Vec<u8>,
    ) {
        let Some(child) = self
            .by_link
            .get_mut(&link)
            .filter(|child| child.turn == Admission::Asking)
        else {
            return;
        };
        (child.way, child.turn) = (way, Admission::Waiting);
        self.turn_due(reactor, core, link);
    }

    /// A hop that waits or pauses has its turn, unless too many are under way where it goes.
    pub(crate) fn turn_due(&mut self, reactor: &mut Reactor, core: &mut NodeState, link: LinkId) {
        let Some(child) = self.by_link.get(&link) else {
            return;
        };
        let (platform, mode) = (child.boot.platform(), child.boot.mode());
        match child.turn {
            Admission::Pausing if !child.over => self.attempt(reactor, core, link, platform, mode),
            Admission::Waiting if !child.over => {
                let on_the_way = |(_, other): &&(LinkId, Child)| {
                    other.turn == Admission::Taken
                        && !other.up
                        && !other.over
                        && other.way == child.way
                };
                let under_way = self.by_link.iter().filter(on_the_way).count();
                if child.way.is_empty() || under_way < child.order.recipe.at_once as usize {
                    // Its own time begins where it is its turn for the first time.
                    if child.dropped.is_none() {
                        let time = Duration::from_millis(child.order.recipe.timeout_ms);
                        reactor.after(time, Timer::Connect(link, false));
                    }
                    if let Some(fd) = core.io.get(&link).and_then(|io| io.fd.as_ref()) {
                        // It reads this line, and no further. A new pipe has room.
                        let _ = sys::write(fd, b"\n");
                    }
                    if let Some(child) = self.by_link.get_mut(&link) {
                        child.turn = Admission::Taken;
                    }
                    self.go(reactor, core, link, mode);
                }
            }
            // Somebody else waits as well.
            _ => self.next_turn(reactor, link),
        }
    }

    /// A hop is under way no more: another one that goes where it did has its turn.
    pub(crate) fn next_turn(&self, reactor: &mut Reactor, link: LinkId) {
        let Some(child) = self.by_link.get(&link) else {
            return;
        };
        let waits = |(_, other): &&(LinkId, Child)| {
            other.turn == Admission::Waiting && !other.over && other.way == child.way
        };
        let next = self.by_link.iter().find(waits).map(|(next, _)| *next);
        if let Some(next) = next {
            reactor.after(Duration::ZERO, Timer::Turn(next));
        }
    }

    /// A hop was dropped on its way to the host, before anybody logged in.
    pub(crate) fn drop_attempt(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        link: LinkId,
        why: Box<ConnectError>,
    ) {
        let Some(child) = self.by_link.get_mut(&link) else {
            return;
        };
        let times = child.boot.drop_attempt();
        if times > TRIES {
            return self.fail(reactor, core, link, *why);
        }
        // Those that were dropped together do not come again together.
        let pause = (PAUSE.0 << (times - 1)).min(PAUSE.1);
        let pause = pause / 2 + u64::from_le_bytes(sys::random()) % pause;
        reactor
            .shared
            .say(Level::INFO, format!("{}: {}", child.order.name, why.detail));
        child.dropped = Some(why);
        child.turn = Admission::Pausing;
        self.clear_attempt(reactor, core, link);
        reactor.after(Duration::from_millis(pause), Timer::Turn(link));
        self.next_turn(reactor, link);
    }
}
