//! Limits the number of hops that log in at once by the same route: further ones wait, and one
//! whose connection was dropped tries again later.

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

/// The most retries of a hop whose connection was dropped during the login.
const TRIES: u8 = 6;

/// The approximate pause before the first retry and the longest pause, in milliseconds.
const PAUSE: (u64, u64) = (500, 8000);

impl Children {
    /// Notes the route that the program of a hop has printed, and queues the hop.
    pub(crate) fn route_known(
        &mut self,
        reactor: &mut Reactor,
        core: &mut NodeState,
        link: LinkId,
        way: Vec<u8>,
    ) {
        let Some(child) = self
            .by_link
            .get_mut(&link)
            .filter(|child| child.admission == Admission::Asking)
        else {
            return;
        };
        (child.way, child.admission) = (way, Admission::Waiting);
        self.admit(reactor, core, link);
    }

    /// Starts a hop that waits or pauses, unless too many hops by the same route are under way.
    pub(crate) fn admit(&mut self, reactor: &mut Reactor, core: &mut NodeState, link: LinkId) {
        let Some(child) = self.by_link.get(&link) else {
            return;
        };
        let (platform, mode) = (child.boot.platform(), child.boot.mode());
        match child.admission {
            Admission::Pausing if !child.over => self.attempt(reactor, core, link, platform, mode),
            Admission::Waiting if !child.over => {
                let on_the_way = |(_, other): &&(LinkId, Child)| {
                    other.admission == Admission::Admitted
                        && !other.up
                        && !other.over
                        && other.way == child.way
                };
                let under_way = self.by_link.iter().filter(on_the_way).count();
                if child.way.is_empty() || under_way < child.order.recipe.at_once as usize {
                    // The time limit excludes the wait in the queue; a retry does not restart it.
                    if child.dropped.is_none() {
                        let time = Duration::from_millis(child.order.recipe.timeout_ms);
                        reactor.after(time, Timer::Connect(link, false));
                    }
                    if let Some(fd) = core.io.get(&link).and_then(|io| io.fd.as_ref()) {
                        // The program reads this line and nothing more. A new pipe has room for it.
                        let _ = sys::write(fd, b"\n");
                    }
                    if let Some(child) = self.by_link.get_mut(&link) {
                        child.admission = Admission::Admitted;
                    }
                    self.open_output(reactor, core, link, mode);
                }
            }
            // The hop has ended meanwhile, so its turn goes to the next one.
            _ => self.admit_next(reactor, link),
        }
    }

    /// Starts the next hop that waits for the route of this one, which is not under way any more.
    pub(crate) fn admit_next(&self, reactor: &mut Reactor, link: LinkId) {
        let Some(child) = self.by_link.get(&link) else {
            return;
        };
        let waits = |(_, other): &&(LinkId, Child)| {
            other.admission == Admission::Waiting && !other.over && other.way == child.way
        };
        let next = self.by_link.iter().find(waits).map(|(next, _)| *next);
        if let Some(next) = next {
            reactor.after(Duration::ZERO, Timer::Turn(next));
        }
    }

    /// Handles a connection that was dropped before the login: schedules a retry, or fails the hop.
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
        // A random part: hops that were dropped together must not return together.
        let pause = (PAUSE.0 << (times - 1)).min(PAUSE.1);
        let pause = pause / 2 + u64::from_le_bytes(sys::random()) % pause;
        reactor
            .shared
            .say(Level::INFO, format!("{}: {}", child.order.name, why.detail));
        child.dropped = Some(why);
        child.admission = Admission::Pausing;
        self.clear_attempt(reactor, core, link);
        reactor.after(Duration::from_millis(pause), Timer::Turn(link));
        self.admit_next(reactor, link);
    }
}
