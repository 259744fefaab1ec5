//! What waits to go out over one link: control first, then flows that have just begun, then the others in turn.
//!
//! Each flow is a lane. A lane that comes up with little goes before those that come with more or have had their turn, so
//! a small message overtakes bulk; after [`FRESH_RUN`] bytes of such the bulk gets its turn all the same. Lanes whose
//! context the neighbour has choked are set aside, in order, until it frees them.

use crate::collections::index_map::IndexMap;
use crate::collections::index_map::Slot;
use crate::id::ContextId;
use crate::id::Handle;
use crate::id::LinkId;
use crate::node::peer_chains::PeerLists;
use crate::wire::Flags;
use crate::wire::Frame;
use crate::wire::Kind;
use crate::wire::Lane;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// How many bytes a lane may send before it is the next one's turn.
const TURN: usize = 64 << 10;

/// The longest frame with which a lane begins before others.
const SMALL: usize = 16 << 10;

/// How many bytes of lanes that have just begun go before one that has waited.
const FRESH_RUN: usize = 256 << 10;

/// How many lanes that have just begun are remembered in memory that is kept.
const MANY: usize = 1024;

/// How many bytes of one context's log records wait for a link; more are dropped.
const LOG_LANE: usize = 256 << 10;

/// What tells one flow from another on a link: source, destination, handle, and which end speaks.
type FlowLane = (ContextId, ContextId, Handle, bool);

/// A frame, and the link whose neighbour has caused it.
pub struct Queued {
    pub from: Option<LinkId>,
    pub frame: Frame,
}

/// Frames of one flow, in order. Most lanes never hold more than the first, and there may be very many.
struct State {
    first: Option<Queued>,
    #[expect(clippy::box_collection, reason = "most lanes have none, and an empty queue is four words")]
    rest: Option<Box<VecDeque<Queued>>>,
    /// What waits; a link holds far less than this counts.
    bytes: u32,
    /// What it has sent in its turn.
    sent: u32,
    /// Whether it is set aside.
    aside: bool,
}

impl State {
    fn pop(&mut self) -> Option<Queued> {
        self.first.take().or_else(|| self.rest.as_mut()?.pop_front())
    }

    fn into_frames(self) -> impl Iterator<Item = Queued> {
        self.first.into_iter().chain(self.rest.into_iter().flat_map(|rest| *rest))
    }
}

/// What a neighbour does not take for now.
#[derive(Default)]
pub struct Paused {
    pub all: bool,
    pub some: IndexMap<ContextId, u32>,
}

impl Paused {
    pub fn holds(&self, dst: ContextId) -> bool {
        self.all || self.some.contains_key(&dst)
    }
}

/// The queue of one link.
#[derive(Default)]
pub struct SendQueue {
    control: VecDeque<Queued>,
    lanes: IndexMap<FlowLane, State>,
    /// The lanes by what comes from where.
    sources: PeerLists,
    fresh: VecDeque<FlowLane>,
    ring: VecDeque<FlowLane>,
    /// Lanes that are set aside, by where they lead.
    aside: PeerLists,
    run: usize,
    /// Bytes of control frames.
    pub urgent: usize,
    /// Bytes in lanes.
    pub bulk: usize,
    /// Of these, what is set aside.
    pub held: usize,
}

fn is_control(frame: &Frame) -> bool {
    let header = &frame.header;
    match header.kind.lane() {
        Lane::Control => true,
        Lane::Flow => false,
        // Frames for the new context, or on the flows that come with this one, follow on other lanes and must not come
        // first.
        Lane::Opening => header.handle == Handle::CONNECT || header.streams > 0,
    }
}

impl SendQueue {
    /// Takes a frame. Whether it is in a lane, and not before all of them. Log records beyond what may wait are dropped.
    pub fn push(&mut self, from: Option<LinkId>, frame: Frame) -> Pushed {
        let size = frame.size();
        let header = &frame.header;
        let handle = if header.kind == Kind::Open { header.reply_to } else { header.handle };
        let lane = (header.src, header.dst, handle, header.flags.has(Flags::OPENER));
        // A reset may not overtake what it ends.
        let follows = header.kind == Kind::Reset && self.lanes.contains_key(&lane);
        if header.kind == Kind::Dead && header.handle == Handle::NONE {
            // What the lost one has said goes before the news that it is lost.
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
                state.rest.get_or_insert_default().push_back(Queued { from, frame });
            }
            None => {
                let first = Some(Queued { from, frame });
                let state = State { first, rest: None, bytes: size as u32, sent: 0, aside: false };
                let place = self.lanes.add(lane, state);
                self.sources.add(lane.0, place);
                if size <= SMALL { self.fresh.push_back(lane) } else { self.ring.push_back(lane) }
            }
        }
        self.bulk += size;
        Pushed::Lane
    }

    /// Takes a frame that has to go before all others.
    pub fn push_first(&mut self, frame: Frame) {
        self.urgent += frame.size();
        self.control.push_front(Queued { from: None, frame });
    }

    /// The next frame that may go.
    pub fn pop(&mut self, choked: &Paused) -> Option<Queued> {
        if let Some(queued) = self.control.pop_front() {
            self.urgent -= queued.frame.size();
            return Some(queued);
        }
        if choked.all {
            return None;
        }
        loop {
            let fresh = !self.fresh.is_empty() && (self.run < FRESH_RUN || self.ring.is_empty());
            let turn = if fresh { &mut self.fresh } else { &mut self.ring };
            let lane = turn.pop_front()?;
            let Some((place, state)) = self.lanes.find(&lane) else { continue };
            // A lane that was promoted and begun anew may be named twice.
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
                    // What a burst of calls took is not kept for ever.
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

    /// Lets all that comes from a context go first.
    pub fn promote(&mut self, source: ContextId) {
        let theirs = self.sources.of(source).filter_map(|place| self.lanes.at(place));
        let lanes: Vec<FlowLane> = theirs.map(|(lane, _)| *lane).collect();
        // The oldest first.
        for lane in lanes.iter().rev() {
            let Some(state) = self.end(lane) else { continue };
            let bytes = state.bytes as usize;
            self.bulk -= bytes;
            self.held -= if state.aside { bytes } else { 0 };
            self.urgent += bytes;
            self.control.extend(state.into_frames());
        }
    }

    /// The neighbour takes what goes to a context again.
    pub fn freed(&mut self, dst: ContextId) {
        let places: Vec<Slot> = self.aside.of(dst).collect();
        // The oldest first.
        for place in places.into_iter().rev() {
            self.aside.remove(dst, place);
            let Some((lane, state)) = self.lanes.at_mut(place) else { continue };
            self.held -= state.bytes as usize;
            state.aside = false;
            self.ring.push_back(*lane);
        }
    }

    /// How many lanes there are.
    pub fn count(&self) -> usize {
        self.lanes.len()
    }

    /// How many bytes wait that the neighbour would take.
    pub fn ready(&self, choked: &Paused) -> usize {
        if choked.all { 0 } else { self.bulk - self.held }
    }

    /// All that waits, oldest of each lane first.
    pub fn drain(&mut self) -> Vec<Queued> {
        let mut all: Vec<Queued> = core::mem::take(&mut self.control).into_iter().collect();
        for (_, state) in self.lanes.drain() {
            all.extend(state.into_frames());
        }
        *self = SendQueue::default();
        all
    }
}

/// What became of a frame that was given to a link.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Pushed {
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
        let (handle, reply_to) =
            if kind == Kind::Open { (Handle::EXEC, Handle(handle)) } else { (Handle(handle), Handle::NONE) };
        Frame::new(Header { handle, reply_to, streams, ..header }, vec![0; length])
    }

    fn kinds(lanes: &mut SendQueue) -> Vec<Kind> {
        let choked = Paused::default();
        std::iter::from_fn(|| lanes.pop(&choked)).map(|queued| queued.frame.header.kind).collect()
    }

    #[test]
    fn a_lane_promoted_while_choked_and_restarted_is_counted_once() {
        let mut lanes = SendQueue::default();
        let mut choked = Paused::default();
        choked.some.insert(ContextId::ROOT, 0);
        let data = || frame(Kind::Data, 1000, 0, 500);
        for _ in 0..3 {
            // Set aside, promoted by news of its source's loss, and begun anew.
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
            assert_eq!((lanes.held, lanes.bulk, lanes.urgent, lanes.count()), (0, 0, 0, 0));
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
        let handles = std::iter::from_fn(|| lanes.pop(&choked)).map(|queued| queued.frame.header.handle.0);
        assert!(handles.eq(1000..1005));
    }

    #[test]
    fn no_stream_is_sent_before_the_request_that_opens_it() {
        // A long request and a short stream; and the other way round, when those that begin have had their run.
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
