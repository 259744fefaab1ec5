//! Back-pressure between neighbours.
//!
//! A node keeps reading a link even if a context behind another link is slow, because the frames of
//! all other contexts arrive over the same link. Instead it asks the neighbours that send frames
//! for the slow context to pause them (`Choke`), who ask their own neighbours in turn, back to the
//! nodes where the flows begin. When the link has drained it resumes them (`Free`). A node
//! therefore queues at most [`HIGH`] for a link, plus the frames in transit. Its own flows stop
//! earlier, at [`OWN`].
//!
//! A child that ignores `Choke`, or requests more answers than it reads, is not read from while
//! more than [`ATTRIBUTED`] bytes are queued because of it. That works without its cooperation. The
//! parent is always read from.

use crate::collections::index_map::IndexMap;
use crate::id::ContextId;
use crate::id::FlowKey;
use crate::id::LinkId;
use crate::node::event::Event;
use crate::node::machine::Node;
use crate::node::send_queue::Pushed;
use crate::node::throttled_peer::ThrottledPeer;
use crate::wire::Frame;
use crate::wire::Kind;
use alloc::vec;
use alloc::vec::Vec;

/// Bytes queued for a link from which on neighbours are paused.
pub const HIGH: usize = 1 << 20;

/// Bytes queued for a link down to which paused neighbours are resumed.
pub(crate) const LOW: usize = 256 << 10;

/// Bytes queued for a link from which on flows of this node wait.
pub const OWN: usize = 256 << 10;

/// Maximum number of bytes that may be queued because of one child before it is not read from.
pub const ATTRIBUTED: usize = 2 << 20;

/// Bytes queued because of all children from which on each child is limited to [`ATTRIBUTED_EACH`].
pub const ATTRIBUTED_TO_ALL: usize = 16 << 20;

/// Limit for each child in bytes while [`ATTRIBUTED_TO_ALL`] is exceeded.
pub const ATTRIBUTED_EACH: usize = 64 << 10;

/// Maximum number of contexts named in one frame.
const NAMES: usize = 8192;

fn names(contexts: &[ContextId]) -> impl Iterator<Item = Vec<u8>> {
    contexts.chunks(NAMES).map(|some| {
        let mut payload = Vec::new();
        for id in some {
            payload.extend_from_slice(&id.0.to_le_bytes());
        }
        payload
    })
}

impl Node {
    /// Queues a frame for a link, attributed to the neighbour at `from`. Returns the frame and the
    /// reason if the queue is full.
    pub(crate) fn enqueue(
        &mut self,
        from: Option<LinkId>,
        link: LinkId,
        frame: Frame,
    ) -> Option<(Frame, &'static str)> {
        let log = frame.header.kind == Kind::Log;
        let (size, dst, local) = (
            frame.size(),
            frame.header.dst,
            frame.header.src == self.id(),
        );
        let ending = matches!(frame.header.kind, Kind::Credit | Kind::Reset | Kind::Dead);
        let state = self.links.get_mut(&link)?;
        // A child asks for its answers, so the answers count against the child until it reads them.
        let from = if ending && state.child.is_some() && state.up {
            Some(link)
        } else {
            from
        };
        let pushed = match state.push(from, frame) {
            Ok(pushed) => pushed,
            Err(_) if log => Pushed::Dropped,
            Err(frame) => {
                let text = if state.up {
                    "its link is full"
                } else {
                    "it is still connecting"
                };
                return Some((frame, text));
            }
        };
        if self.dirty.last() != Some(&link) {
            self.dirty.push(link);
        }
        if pushed == Pushed::Dropped {
            state.lost_logs = state.lost_logs.saturating_add(1);
            return None;
        }
        if let Some(from) = from {
            self.charge(from, size);
            if pushed == Pushed::Lane && !local {
                self.throttle(from, link, dst);
            }
        }
        None
    }

    fn charge(&mut self, from: LinkId, size: usize) {
        let Some(state) = self.links.get_mut(&from) else {
            return;
        };
        let Some(_) = state.child else { return };
        state.bytes_attributed += size;
        self.bytes_attributed += size;
        let limit = if self.bytes_attributed > ATTRIBUTED_TO_ALL {
            ATTRIBUTED_EACH
        } else {
            ATTRIBUTED
        };
        if state.bytes_attributed > limit && !state.paused {
            state.paused = true;
            self.events.push_back(Event::Pause(from));
        }
    }

    /// Stops attributing `size` bytes to the neighbour at `from`, because their frame was sent.
    pub(crate) fn discharge(&mut self, from: LinkId, size: usize) {
        let Some(state) = self
            .links
            .get_mut(&from)
            .filter(|state| state.child.is_some())
        else {
            return;
        };
        state.bytes_attributed -= size;
        self.bytes_attributed -= size;
        if state.paused && state.bytes_attributed < ATTRIBUTED_EACH / 2 {
            state.paused = false;
            if let Some(keepalive) = &mut state.keepalive {
                keepalive.heard(self.now);
            }
            self.events.push_back(Event::Resume(from));
        }
    }

    /// Pauses frames from `from` to `dst` if too much is queued for `link`.
    fn throttle(&mut self, from: LinkId, link: LinkId, dst: ContextId) {
        let Some(state) = self.links.get_mut(&link) else {
            return;
        };
        let crowded = state.queue.ready(&state.choked) > HIGH;
        if !crowded && !state.choked.holds(dst) {
            return;
        }
        let whole = self.router.up() == Some(link) && (crowded || state.choked.all);
        let known = state
            .throttled
            .iter()
            .position(|throttled| throttled.link == from);
        if known.is_some_and(|at| {
            state.throttled[at].all || state.throttled[at].some.contains_key(&dst)
        }) {
            return;
        }
        let mut some = if whole { Vec::new() } else { vec![dst] };
        if !whole && crowded && known.is_none() {
            some.extend(self.router.behind(link));
        } else if !whole && known.is_none() {
            some.extend(state.choked.some.iter().map(|(id, _)| *id));
        }
        let at = known.unwrap_or(state.throttled.len());
        if known.is_none() {
            state.throttled.push(ThrottledPeer {
                link: from,
                all: false,
                some: IndexMap::default(),
                open: Vec::new(),
            });
        }
        state.may_resume = true;
        let throttled = &mut state.throttled[at];
        throttled.all |= whole;
        for id in &some {
            throttled.some.insert(*id, 0);
            if !state.choked.some.contains_key(id) {
                throttled.look_at(*id);
            }
        }
        if whole {
            return self.control(from, Kind::Choke, Vec::new());
        }
        for payload in names(&some) {
            self.control(from, Kind::Choke, payload);
        }
    }

    /// Resumes flows and neighbours that waited for `link`, if it has drained.
    pub(crate) fn resume_waiting(&mut self, link: LinkId) {
        let Some(state) = self.links.get_mut(&link).filter(|state| state.may_resume) else {
            return;
        };
        let choked = &state.choked;
        if choked.all || state.queue.ready(choked) > LOW {
            return;
        }
        state.may_resume = false;
        let waiting = core::mem::take(&mut state.waiting);
        crate::collections::steps::count(waiting.len());
        for flow in waiting {
            if choked.holds(flow.peer) {
                self.flows.block(flow);
            } else if let Some(of) = self.flows.get_mut(flow) {
                of.waits = false;
                self.events.push_back(Event::Room(flow));
            }
        }
        let mut orders = Vec::new();
        for throttled in &mut state.throttled {
            if core::mem::take(&mut throttled.all) {
                orders.push((throttled.link, Vec::new()));
            }
            let mut go = Vec::new();
            crate::collections::steps::count(throttled.open.len());
            for id in core::mem::take(&mut throttled.open) {
                if choked.holds(id) {
                    throttled.some.insert(id, 0);
                } else {
                    throttled.some.remove(&id);
                    go.push(id);
                }
            }
            orders.extend(names(&go).map(|payload| (throttled.link, payload)));
        }
        state.throttled.retain(|throttled| throttled.some.len() > 0);
        for (neighbour, payload) in orders {
            self.control(neighbour, Kind::Free, payload);
        }
    }

    /// Handles a `Choke` or `Free` from a neighbour.
    pub(crate) fn handle_choke(&mut self, link: LinkId, kind: Kind, payload: &[u8]) {
        let Some(state) = self.links.get_mut(&link) else {
            return;
        };
        let ids = payload
            .chunks_exact(4)
            .map(|id| ContextId(u32::from_le_bytes([id[0], id[1], id[2], id[3]])));
        if payload.is_empty() {
            state.choked.all = kind == Kind::Choke;
        }
        if kind == Kind::Choke {
            // Contexts that are not reached over this link would only take memory.
            for id in ids.filter(|id| self.router.link_to(*id) == Some(link)) {
                state.choked.some.insert(id, 0);
            }
        } else {
            self.freed(link, ids);
        }
    }

    /// Handles that a neighbour accepts frames to these contexts again, or that the contexts are
    /// gone.
    pub fn freed(&mut self, link: LinkId, ids: impl Iterator<Item = ContextId>) {
        let Some(state) = self.links.get_mut(&link) else {
            return;
        };
        for id in ids {
            if state.choked.some.remove(&id).is_some() {
                state.queue.freed(id);
                state.waiting.extend(self.flows.unblock(id));
                state
                    .throttled
                    .iter_mut()
                    .for_each(|throttled| throttled.look_at(id));
            }
        }
        state.may_resume = true;
        self.dirty.push(link);
        self.resume_waiting(link);
    }

    /// Returns true if a flow of this node may send over its link now. Otherwise [`Event::Room`]
    /// follows.
    pub(crate) fn may_send(&mut self, flow: FlowKey) -> bool {
        let Some(link) = self.router.link_to(flow.peer) else {
            return true;
        };
        let Some(state) = self.links.get_mut(&link) else {
            return true;
        };
        let blocked = state.choked.some.contains_key(&flow.peer);
        if !blocked && !state.choked.all && state.queue.ready(&state.choked) <= OWN {
            return true;
        }
        if let Some(of) = self.flows.get_mut(flow).filter(|of| !of.waits) {
            of.waits = true;
            if blocked {
                self.flows.block(flow);
            } else {
                state.waiting.push(flow);
                state.may_resume = true;
            }
        }
        false
    }
}
