//! The send queue of one link: control frames first, then new flows, then the other flows in turn.
//!
//! Each flow is a lane. A lane that begins with a short frame goes before lanes that have begun
//! with more or have had their turn, so that a small message overtakes bulk data; bulk data gets a
//! turn at least every [`FRESH_RUN`] bytes. Lanes to contexts that the neighbour has paused are set
//! aside, in order, until it resumes them.

use crate::collections::index_map::IndexMap;
use crate::id::ContextId;
use crate::id::Handle;
use crate::id::LinkId;
use crate::node::peer_lists::PeerLists;
use crate::wire::Flags;
use crate::wire::Frame;
use crate::wire::Kind;
use crate::wire::Lane;
use alloc::boxed::Box;
use alloc::collections::VecDeque;

/// Bytes that a lane may send in its turn.
const TURN: usize = 64 << 10;

/// Maximum size in bytes of a frame with which a lane begins as new.
const SMALL: usize = 16 << 10;

/// Bytes of new lanes that go before a waiting one.
const FRESH_RUN: usize = 256 << 10;

/// Number of new lanes for which memory is kept.
const MANY: usize = 1024;

/// Maximum number of bytes of one context's log records in the queue; more are dropped.
const LOG_LANE: usize = 256 << 10;

/// Identity of a flow on a link: source, destination, handle, and true if the opener sends.
type FlowLane = (ContextId, ContextId, Handle, bool);

/// A frame with its origin.
pub(crate) struct Queued {
    /// Link whose neighbour has caused the frame; `None` for this node.
    pub from: Option<LinkId>,
    /// Frame.
    pub frame: Frame,
}

/// Frames of one flow, in order. Most of very many lanes hold one frame only.
struct State {
    first: Option<Queued>,
    #[expect(
        clippy::box_collection,
        reason = "most lanes have none, and an empty queue is four words"
    )]
    rest: Option<Box<VecDeque<Queued>>>,
    /// Bytes in the lane. The limits of a link keep this far below 4 GiB.
    bytes: u32,
    /// Bytes sent in the current turn.
    sent: u32,
    /// True if the lane is set aside.
    aside: bool,
}

impl State {
    fn pop(&mut self) -> Option<Queued> {
        self.first
            .take()
            .or_else(|| self.rest.as_mut()?.pop_front())
    }

    /// Moves all frames to the end of `queue`.
    fn move_to(self, queue: &mut VecDeque<Queued>) {
        queue.extend(self.first);
        if let Some(mut rest) = self.rest {
            queue.append(&mut rest);
        }
    }
}

/// Destinations that a neighbour has paused.
#[derive(Default)]
pub(crate) struct Paused {
    /// True if all destinations are paused.
    pub all: bool,
    /// Paused destinations; the values are not used.
    pub some: IndexMap<ContextId, u32>,
}

impl Paused {
    /// Returns true if frames to `dst` are paused.
    pub(crate) fn holds(&self, dst: ContextId) -> bool {
        self.all || self.some.contains_key(&dst)
    }
}

/// The queue of one link.
#[derive(Default)]
pub(crate) struct SendQueue {
    control: VecDeque<Queued>,
    lanes: IndexMap<FlowLane, State>,
    /// Lanes by source.
    sources: PeerLists,
    fresh: VecDeque<FlowLane>,
    ring: VecDeque<FlowLane>,
    /// Lanes that are set aside, by destination.
    aside: PeerLists,
    run: usize,
    /// Bytes of control frames.
    pub urgent: usize,
    /// Bytes in lanes.
    pub bulk: usize,
    /// Bytes in lanes that are set aside.
    pub held: usize,
}

fn is_control(frame: &Frame) -> bool {
    let header = &frame.header;
    match header.kind.lane() {
        Lane::Control => true,
        Lane::Flow => false,
        // Frames for the new context, or on the additional flows, follow in other lanes and must
        // not overtake the request.
        Lane::Opening => header.handle == Handle::CONNECT || header.streams > 0,
    }
}

impl SendQueue {
    /// Queues a frame. Drops log records beyond the limit.
    pub(crate) fn push(&mut self, from: Option<LinkId>, frame: Frame) -> Pushed {
        let size = frame.size();
        let header = &frame.header;
        let handle = if header.kind == Kind::Open {
            header.reply_to
        } else {
            header.handle
        };
        let lane = (
            header.src,
            header.dst,
            handle,
            header.flags.has(Flags::OPENER),
        );
        // A reset must not overtake the data of its flow.
        let follows = header.kind == Kind::Reset && self.lanes.contains_key(&lane);
        if header.kind == Kind::Dead && header.handle == Handle::NONE {
            // Frames from the lost context must precede the news of its loss.
            self.promote(ContextId(header.reply_to.0));
        }
        if is_control(&frame) && !follows {
            self.urgent += size;
            self.control.push_back(Queued { from, frame });
            return Pushed::Control;
        }
        let log = header.kind == Kind::Log;
        match self.lanes.get_mut(&lane) {
            Some(state) if log && state.bytes as usize + size > LOG_LANE => return Pushed::Dropped,
            Some(state) => {
                state.bytes += size as u32;
                self.held += if state.aside { size } else { 0 };
                state
                    .rest
                    .get_or_insert_default()
                    .push_back(Queued { from, frame });
            }
            None => {
                let first = Some(Queued { from, frame });
                let state = State {
                    first,
                    rest: None,
                    bytes: size as u32,
                    sent: 0,
                    aside: false,
                };
                let place = self.lanes.add(lane, state);
                self.sources.add(lane.0, place);
                if size <= SMALL {
                    self.fresh.push_back(lane)
                } else {
                    self.ring.push_back(lane)
                }
            }
        }
        self.bulk += size;
        Pushed::Lane
    }

    /// Queues a frame before all others.
    pub(crate) fn push_first(&mut self, frame: Frame) {
        self.urgent += frame.size();
        self.control.push_front(Queued { from: None, frame });
    }

    /// Removes and returns the next frame that may be sent.
    pub(crate) fn pop(&mut self, choked: &Paused) -> Option<Queued> {
        if let Some(queued) = self.control.pop_front() {
            self.urgent -= queued.frame.size();
            return Some(queued);
        }
        if choked.all {
            return None;
        }
        loop {
            let fresh = !self.fresh.is_empty() && (self.run < FRESH_RUN || self.ring.is_empty());
            let turn = if fresh {
                &mut self.fresh
            } else {
                &mut self.ring
            };
            let lane = turn.pop_front()?;
            let Some((place, state)) = self.lanes.find(&lane) else {
                continue;
            };
            // A lane that was promoted and refilled may be listed twice.
            if state.aside {
                continue;
            }
            if choked.holds(lane.1) {
                self.held += state.bytes as usize;
                state.aside = true;
                self.aside.add(lane.1, place);
                continue;
            }
            let Some(queued) = state.pop() else { continue };
            let size = queued.frame.size();
            state.bytes -= size as u32;
            state.sent += size as u32;
            self.bulk -= size;
            self.run = if fresh { self.run + size } else { 0 };
            if state.bytes == 0 {
                self.end(&lane);
                if self.lanes.len() == 0 && self.fresh.capacity() > MANY {
                    // Releases the memory of a burst of calls.
                    self.fresh = VecDeque::new();
                }
            } else if fresh || state.sent >= TURN as u32 {
                state.sent = 0;
                self.ring.push_back(lane);
            } else {
                self.ring.push_front(lane);
            }
            return Some(queued);
        }
    }

    fn end(&mut self, lane: &FlowLane) -> Option<State> {
        let (place, state) = self.lanes.take(lane)?;
        self.sources.remove(lane.0, place);
        if state.aside {
            self.aside.remove(lane.1, place);
        }
        Some(state)
    }

    /// Moves all frames from a context before other flows.
    pub(crate) fn promote(&mut self, source: ContextId) {
        // Oldest first.
        for place in self.sources.of(source).into_iter().rev() {
            let lane = self.lanes.at(place).map(|(lane, _)| *lane);
            let Some(state) = lane.and_then(|lane| self.end(&lane)) else {
                continue;
            };
            let bytes = state.bytes as usize;
            self.bulk -= bytes;
            self.held -= if state.aside { bytes } else { 0 };
            self.urgent += bytes;
            state.move_to(&mut self.control);
        }
    }

    /// Resumes lanes to a context.
    pub(crate) fn freed(&mut self, dst: ContextId) {
        // Oldest first.
        for place in self.aside.of(dst).into_iter().rev() {
            self.aside.remove(dst, place);
            let Some((lane, state)) = self.lanes.at_mut(place) else {
                continue;
            };
            self.held -= state.bytes as usize;
            state.aside = false;
            self.ring.push_back(*lane);
        }
    }

    /// Returns the number of lanes.
    pub(crate) fn count(&self) -> usize {
        self.lanes.len()
    }

    /// Returns the number of bytes in lanes that are not paused.
    pub(crate) fn ready(&self, choked: &Paused) -> usize {
        if choked.all { 0 } else { self.bulk - self.held }
    }

    /// Removes and returns all frames, those of each lane in order.
    pub(crate) fn drain(&mut self) -> VecDeque<Queued> {
        let mut all = core::mem::take(&mut self.control);
        for (_, state) in self.lanes.drain() {
            state.move_to(&mut all);
        }
        *self = Self::default();
        all
    }
}

/// Outcome of queueing a frame.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Pushed {
    Control,
    Lane,
    Dropped,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Header;

    fn frame(kind: Kind, handle: u32, streams: u8, length: usize) -> Frame {
        let header = Header::new(kind, ContextId(3), ContextId::ROOT);
        let (handle, reply_to) = if kind == Kind::Open {
            (Handle::EXEC, Handle(handle))
        } else {
            (Handle(handle), Handle::NONE)
        };
        Frame::new(
            Header {
                handle,
                reply_to,
                streams,
                ..header
            },
            vec![0; length],
        )
    }

    fn kinds(lanes: &mut SendQueue) -> Vec<Kind> {
        let choked = Paused::default();
        std::iter::from_fn(|| lanes.pop(&choked))
            .map(|queued| queued.frame.header.kind)
            .collect()
    }

    #[test]
    fn a_lane_promoted_while_choked_and_restarted_is_counted_once() {
        let mut lanes = SendQueue::default();
        let mut choked = Paused::default();
        choked.some.insert(ContextId::ROOT, 0);
        let data = || frame(Kind::Data, 1000, 0, 500);
        for _ in 0..3 {
            // Set aside, promoted by news of its source's loss, and started again.
            lanes.push(None, data());
            assert!(lanes.pop(&choked).is_none());
            assert_eq!(lanes.held, data().size());
            lanes.promote(ContextId(3));
            assert_eq!((lanes.held, lanes.bulk), (0, 0));
            lanes.push(None, data());
            lanes.push(None, data());
            lanes.freed(ContextId::ROOT);
            let ready = lanes.ready(&Paused::default());
            assert_eq!((lanes.held, ready), (0, 2 * data().size()));
            assert_eq!(kinds(&mut lanes).len(), 3);
            assert_eq!(
                (lanes.held, lanes.bulk, lanes.urgent, lanes.count()),
                (0, 0, 0, 0)
            );
        }
    }

    #[test]
    fn choked_frames_resume_in_order_of_arrival() {
        let (mut lanes, mut choked) = (SendQueue::default(), Paused::default());
        choked.some.insert(ContextId::ROOT, 0);
        for handle in 0..5 {
            lanes.push(None, frame(Kind::Data, 1000 + handle, 0, 500));
        }
        assert!(lanes.pop(&choked).is_none());
        choked.some.remove(&ContextId::ROOT);
        lanes.freed(ContextId::ROOT);
        choked.all = true;
        assert!(lanes.pop(&choked).is_none() && lanes.ready(&choked) == 0);
        choked.all = false;
        let handles =
            std::iter::from_fn(|| lanes.pop(&choked)).map(|queued| queued.frame.header.handle.0);
        assert!(handles.eq(1000..1005));
    }

    #[test]
    fn no_stream_is_sent_before_the_request_that_opens_it() {
        // A long request and a short stream; and the other way round, when those that begin have
        // had their run.
        for (fresh, request, stream) in [(0, 2 * SMALL, 7), (FRESH_RUN / SMALL + 1, 7, 2 * SMALL)] {
            let mut lanes = SendQueue::default();
            for handle in 0..fresh {
                lanes.push(None, frame(Kind::Data, 5000 + handle as u32, 0, SMALL - 48));
            }
            assert_eq!(kinds(&mut lanes).len(), fresh);
            lanes.push(None, frame(Kind::Open, 1000, 1, request));
            lanes.push(None, frame(Kind::Data, 1001, 0, stream));
            assert_eq!(kinds(&mut lanes), [Kind::Open, Kind::Data]);
            lanes.push(None, frame(Kind::Open, 1002, 1, request));
            lanes.push(None, frame(Kind::Reset, 1003, 0, 9));
            assert_eq!(kinds(&mut lanes), [Kind::Open, Kind::Reset]);
        }
    }
}
