//! Whether the neighbours are still there: asked at a steady pace, and given up after three silences.
//!
//! Time is what the owner says it is, in milliseconds. A clock that jumps ahead, or an owner that slept, costs one
//! question and not three: the next look is counted from when the last one was made.

use super::{Event, Node};
use crate::error::Reason;
use crate::id::LinkId;
use crate::wire::Kind;
use std::cmp::Reverse;

/// How many heartbeats may stay unanswered.
pub const MISSED_HEARTBEATS: u8 = 3;

/// The state of one link.
pub(super) struct Heart {
    every: u64,
    due: u64,
    /// Whether anything came since it was last looked at.
    pub heard: bool,
    missed: u8,
}

impl Node {
    /// Tells the node what time it is: milliseconds that never go back.
    pub fn set_time(&mut self, now: u64) {
        self.now = self.now.max(now);
    }

    /// Begins to look after a link, every so many milliseconds; never for 0.
    pub fn beat(&mut self, link: LinkId, every: u64) {
        let due = self.now + every;
        if let Some(state) = self.links.get_mut(&link).filter(|_| every > 0) {
            state.heart = Some(Heart { every, due, heard: true, missed: 0 });
            self.hearts.push(Reverse((due, link)));
        }
    }

    /// When [`Node::expire`] has something to do next.
    pub fn next_due(&self) -> Option<u64> {
        self.hearts.peek().map(|Reverse((due, _))| *due)
    }

    /// Looks after the links whose time has come.
    pub fn expire(&mut self, now: u64) {
        self.set_time(now);
        while let Some(Reverse((due, link))) =
            self.hearts.peek().copied().filter(|entry| entry.0.0 <= self.now)
        {
            self.hearts.pop();
            let Some(state) = self.links.get_mut(&link).filter(|state| !state.condemned) else { continue };
            if let Some(child) = state.child {
                state.logs.tell(child);
            }
            let paused = state.paused;
            let Some(heart) = state.heart.as_mut().filter(|heart| heart.due == due) else { continue };
            // Whoever is not read from cannot be heard.
            let heard = std::mem::take(&mut heart.heard) || paused;
            heart.missed = if heard { 0 } else { heart.missed + 1 };
            if heart.missed >= MISSED_HEARTBEATS {
                let silent = heart.every * u64::from(heart.missed);
                let why = format!("its heartbeat has stopped: nothing came for {}", seconds(silent));
                state.heart = None;
                state.condemned = true;
                self.events.push_back(Event::Broken { link, reason: Reason::Silent, why });
                continue;
            }
            heart.due = self.now + heart.every;
            self.hearts.push(Reverse((heart.due, link)));
            self.control(link, Kind::Ping, Vec::new());
        }
    }
}

fn seconds(milliseconds: u64) -> String {
    if milliseconds.is_multiple_of(1000) {
        format!("{} s", milliseconds / 1000)
    } else {
        format!("{milliseconds} ms")
    }
}
