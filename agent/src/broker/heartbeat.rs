//! Whether the other end of a link is still there: asked at a steady pace, and given up after three silences.

use super::{Broker, Timer};
use crate::id::LinkId;
use crate::wire::Kind;
use std::sync::Arc;
use std::time::Duration;

/// How many heartbeats may stay unanswered.
const MISSED_HEARTBEATS: u8 = 3;

/// The state of one link.
pub(super) struct Heart {
    every: Duration,
    /// Whether anything came since it was last looked at.
    pub heard: bool,
    missed: u8,
}

impl Broker {
    pub(super) fn start_heart(&mut self, link: LinkId, seconds: u32) {
        if seconds > 0 {
            let every = Duration::from_secs(seconds.into());
            self.hearts.insert(link, Heart { every, heard: true, missed: 0 });
            self.after(every, Timer::Heartbeat(link));
        }
    }

    pub(super) fn heartbeat(&mut self, link: LinkId) {
        let Some(heart) = self.hearts.get_mut(&link) else { return };
        heart.missed = if std::mem::take(&mut heart.heard) { 0 } else { heart.missed + 1 };
        let (every, missed) = (heart.every, heart.missed);
        let shared = Arc::clone(&self.shared);
        if missed >= MISSED_HEARTBEATS {
            self.hearts.remove(&link);
            let mut core = shared.lock();
            self.link_broken(&mut core, link, "its heartbeat has stopped");
            shared.release(core);
            return;
        }
        shared.with(|core| core.node.control(link, Kind::Ping, Vec::new()));
        self.after(every, Timer::Heartbeat(link));
    }
}
