//! Heartbeats: a ping in every interval, and the end of a link after three intervals without bytes.
//!
//! The owner supplies the time in milliseconds. Silence counts from the last byte received, so that
//! it is noticed after three intervals, whatever their phase. If the clock jumps ahead or the owner
//! has slept, that is no silence of the neighbour: it is asked again. A neighbour that has
//! announced a stop of its process is not asked.

use crate::error::reason::Reason;
use crate::id::ContextId;
use crate::id::LinkId;
use crate::node::event::Event;
use crate::node::keepalive::Keepalive;
use crate::node::keepalive::MISSED_HEARTBEATS;
use crate::node::machine::Node;
use crate::wire::Flags;
use crate::wire::Frame;
use crate::wire::Header;
use crate::wire::Kind;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;
use tracing::Level;

impl Node {
    /// Sets the time in milliseconds. Earlier values are ignored.
    pub fn set_time(&mut self, now: u64) {
        self.now = self.now.max(now);
    }

    /// Begins heartbeats on a link with an interval of `every` milliseconds; 0 means none.
    pub fn beat(&mut self, link: LinkId, every: u64) {
        let due = self.now + every;
        if let Some(state) = self.links.get_mut(&link).filter(|_| every > 0) {
            state.keepalive = Some(Keepalive {
                every,
                due,
                last: self.now,
                asked: 0,
            });
            self.heartbeat_queue.push(Reverse((due, link)));
        }
    }

    /// Announces to all neighbours that this process is about to be stopped, or that it continues.
    /// Stopped processes are not expected to answer.
    pub fn rest(&mut self, resting: bool) {
        for link in self.links.keys() {
            let flags = Flags::default().with(Flags::END, resting);
            let header = Header {
                flags,
                ..Header::new(Kind::Ping, self.id(), ContextId(0))
            };
            let _always_fits = self.enqueue(None, link, Frame::new(header, Vec::new()));
        }
    }

    /// Returns the time in milliseconds at which [`Node::expire`] is due.
    pub fn next_due(&self) -> Option<u64> {
        self.heartbeat_queue.peek().map(|Reverse((due, _))| *due)
    }

    /// Sends heartbeats that are due, and ends links that were silent for too long.
    pub fn expire(&mut self, now: u64) {
        self.set_time(now);
        let now = self.now;
        while let Some(Reverse((due, link))) = self
            .heartbeat_queue
            .peek()
            .copied()
            .filter(|entry| entry.0.0 <= now)
        {
            self.heartbeat_queue.pop();
            let Some(state) = self.links.get_mut(&link).filter(|state| !state.closing) else {
                continue;
            };
            if let Some(text) = state.child.and_then(|child| state.logs.tell(child)) {
                self.say(Level::WARN, text);
            }
            let Some(state) = self.links.get_mut(&link) else {
                continue;
            };
            let (resting, unheard) = (state.resting, state.resting || state.paused);
            let Some(keepalive) = state
                .keepalive
                .as_mut()
                .filter(|keepalive| keepalive.due == due)
            else {
                continue;
            };
            // A neighbour that is not read from cannot be heard.
            if unheard {
                keepalive.heard(now);
            }
            let (every, silent) = (keepalive.every, now - keepalive.last);
            if silent < every || now - due >= every {
                keepalive.asked = 0;
            } else if keepalive.asked + 1 == MISSED_HEARTBEATS {
                let why = format!(
                    "its heartbeat has stopped: nothing received for {}",
                    seconds(silent)
                );
                state.keepalive = None;
                state.closing = true;
                self.events.push_back(Event::Broken {
                    link,
                    reason: Reason::Silent,
                    why,
                });
                continue;
            }
            keepalive.asked += u8::from(silent >= every);
            // Counted from the last byte, so that delays of the owner do not add up.
            let next = keepalive.last + every * (u64::from(keepalive.asked) + 1);
            keepalive.due = if next > now { next } else { now + every };
            self.heartbeat_queue.push(Reverse((keepalive.due, link)));
            // Sent even if the neighbour was heard, because the neighbour needs to hear from this
            // node too, and its own pings may be queued behind other frames.
            if !resting {
                self.control(link, Kind::Ping, Vec::new());
            }
        }
    }
}

fn seconds(milliseconds: u64) -> String {
    match (milliseconds / 1000, milliseconds % 1000 / 100) {
        (whole, 0) => format!("{whole} s"),
        (whole, tenths) => format!("{whole}.{tenths} s"),
    }
}
