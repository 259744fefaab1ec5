//! Record of the bytes that each context really sent, and therefore of those that may arrive.
//!
//! Honest bytes are below 0x80 and follow from sender, flow and offset; forged bytes are
//! [`FORGED`]. A link is forged on in one direction; only the contexts behind it, seen from where
//! the frame comes out, may be impersonated.

use super::world::Cable;
use offshoot_proto::flow::{INITIAL_WINDOW, MAX_WINDOW};
use offshoot_proto::node::Event;
use offshoot_proto::{ContextId, FlowKey, Handle};
use std::collections::{BTreeMap, BTreeSet};

/// The value of forged bytes.
pub(super) const FORGED: u8 = 0xEE;
/// The text of forged dead letters.
pub(super) const FORGED_TEXT: &str = "forged";

/// One end of a flow, as observed.
#[derive(Default)]
struct End {
    delivered: u64,
    consumed: u64,
    /// The end of the input has arrived.
    ended: bool,
    /// The flow was closed or cancelled here.
    closed: bool,
    sent: u64,
    sent_end: bool,
    /// This end never sends.
    mute: bool,
}

/// The record of a run.
#[derive(Default)]
pub(super) struct Record {
    ends: BTreeMap<(ContextId, FlowKey), End>,
    /// Parents of all contexts that were ever connected.
    parents: BTreeMap<ContextId, ContextId>,
    /// Parents at which contexts were requested.
    pub ordered: BTreeMap<ContextId, ContextId>,
    up: BTreeSet<ContextId>,
    /// Ids claimed by a forger, and contexts whose boot message was forged.
    tainted: BTreeSet<ContextId>,
    /// Links with forgeries: the child, and true for the upward direction.
    pub forged: BTreeSet<(ContextId, bool)>,
    /// Requests of each context to the root, streams included; it accepts 16 at a time.
    pub questions: BTreeMap<ContextId, usize>,
    /// Pairs that the root ever opened.
    pub paired: BTreeSet<(ContextId, ContextId)>,
    /// True if a forger opened a pair.
    pub forged_pairs: bool,
    /// Flows that are blocked and have not been told of room since.
    pub starved: BTreeSet<(ContextId, FlowKey)>,
    /// Ids granted by the root.
    handed_out: BTreeSet<ContextId>,
}

/// Returns counting bytes from an offset given by the seed; copied for speed.
fn honest(seed: u64, from: u64, length: usize) -> Vec<u8> {
    let start = (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32).wrapping_add(from) & 0x7F;
    let mut cycle: [u8; 128] = std::array::from_fn(|at| at as u8);
    cycle.rotate_left(start as usize);
    let mut bytes = cycle.repeat(length.div_ceil(128));
    bytes.truncate(length);
    bytes
}

/// Returns the first bytes of a request from a context, whose flow has no handle yet.
pub(super) fn opening(from: ContextId, length: usize) -> Vec<u8> {
    honest(u64::from(from.0), 0, length)
}

fn seed(at: ContextId, flow: FlowKey) -> u64 {
    u64::from(at.0) << 40 | u64::from(flow.handle.0) << 1 | u64::from(flow.opener)
}

/// Returns the flow as seen by its peer.
pub(super) fn mirrored(at: ContextId, flow: FlowKey) -> (ContextId, FlowKey) {
    (
        flow.peer,
        FlowKey {
            peer: at,
            handle: flow.handle,
            opener: !flow.opener,
        },
    )
}

impl Record {
    /// Returns the next bytes of `at` on a flow.
    pub(super) fn bytes(&self, at: ContextId, flow: FlowKey, length: usize) -> Vec<u8> {
        let sent = self.ends.get(&(at, flow)).map_or(0, |end| end.sent);
        honest(seed(at, flow), sent, length)
    }

    /// Asserts that an id is granted once.
    pub(super) fn handed_out(&mut self, id: ContextId) {
        assert!(self.handed_out.insert(id), "{id} is given out twice");
    }

    pub(super) fn opened_here(&mut self, at: ContextId, flow: FlowKey, streams: u8, answering: u8) {
        for stream in 0..=u32::from(streams) {
            let flow = FlowKey {
                handle: Handle(flow.handle.0.wrapping_add(stream)),
                ..flow
            };
            let mute = match stream {
                0 => false,
                _ if !flow.opener => self
                    .ends
                    .get(&mirrored(at, flow))
                    .is_some_and(|theirs| !theirs.mute),
                _ => answering & 1 << (stream - 1) != 0,
            };
            let before = self.ends.get(&(at, flow));
            // Bytes of a flow whose handle a forger reuses may still be in flight.
            let (sent, sent_end) =
                before.map_or((0, false), |before| (before.sent, before.sent_end));
            assert!(
                before.is_none() || !flow.opener,
                "a number of a flow is not used twice"
            );
            self.ends.insert(
                (at, flow),
                End {
                    mute,
                    sent,
                    sent_end,
                    ..End::default()
                },
            );
        }
    }

    pub(super) fn sent(&mut self, at: ContextId, flow: FlowKey, length: usize, end: bool) {
        let state = self.ends.entry((at, flow)).or_default();
        state.sent += length as u64;
        state.sent_end |= end;
    }

    pub(super) fn delivered(&self, at: ContextId, flow: FlowKey) -> u64 {
        self.ends.get(&(at, flow)).map_or(0, |end| end.delivered)
    }

    pub(super) fn held(&self, at: ContextId, flow: FlowKey) -> u64 {
        self.ends
            .get(&(at, flow))
            .map_or(0, |end| end.delivered - end.consumed)
    }

    pub(super) fn consumed(&mut self, at: ContextId, flow: FlowKey, length: usize) {
        if let Some(end) = self.ends.get_mut(&(at, flow)) {
            end.consumed += length as u64;
        }
    }

    pub(super) fn reset_here(&mut self, at: ContextId, flow: FlowKey) {
        self.ends.entry((at, flow)).or_default().closed = true;
    }

    /// Returns true if this child cannot connect here: its id was used, or it was requested
    /// elsewhere.
    pub(super) fn is_used(&self, child: ContextId, parent: ContextId) -> bool {
        self.parents.contains_key(&child)
            || self
                .ordered
                .get(&child)
                .is_some_and(|other| *other != parent)
    }

    pub(super) fn alive(&mut self, child: ContextId, parent: ContextId) {
        self.parents.insert(child, parent);
        self.up.insert(child);
        if !self.ordered.contains_key(&child) {
            self.tainted.insert(child);
        }
    }

    pub(super) fn dead(&mut self, context: ContextId) {
        self.up.remove(&context);
        self.parents.entry(context).or_insert(context);
    }

    fn below(&self, context: ContextId, top: ContextId) -> bool {
        let mut at = context;
        loop {
            match self.parents.get(&at) {
                _ if at == top => return true,
                Some(parent) if *parent != at => at = *parent,
                _ => return false,
            }
        }
    }

    /// Notes a forged claim on the link of `child` about the place or the loss of `context`.
    pub(super) fn claimed(&mut self, context: ContextId, child: ContextId) {
        if !self.is_solid(context) || self.below(context, child) {
            self.tainted.insert(context);
        }
    }

    /// Notes a forged boot message for `child`: from now on nothing that it or its descendants send
    /// or receive is checked.
    pub(super) fn renamed(&mut self, child: ContextId) {
        let below = self
            .parents
            .keys()
            .copied()
            .filter(|context| self.below(*context, child));
        let below: Vec<_> = below.collect();
        self.tainted.extend(below);
        self.forged.insert((child, true));
    }

    fn is_solid(&self, context: ContextId) -> bool {
        let exists = context == ContextId::ROOT || self.up.contains(&context);
        exists && !self.tainted.contains(&context)
    }

    /// Returns true if `at` may receive lies about `peer`: a forger is between them, or the peer's
    /// place is unknown.
    fn may_be_lied_to(&self, at: ContextId, peer: ContextId) -> bool {
        let between = |(child, up): &(ContextId, bool)| {
            self.below(peer, *child) == *up && self.below(at, *child) != *up
        };
        !self.is_solid(peer) || !self.is_solid(at) || self.forged.iter().any(between)
    }

    /// Returns true if these two may talk: one is an ancestor of the other, or the root has opened
    /// a path.
    fn may_talk(&self, one: ContextId, other: ContextId) -> bool {
        let related = self.below(one, other) || self.below(other, one);
        related || self.forged_pairs || self.paired.contains(&(one.min(other), one.max(other)))
    }

    /// Checks an event of a node.
    pub(super) fn event(&mut self, at: ContextId, event: &Event) {
        match event {
            Event::Opened {
                flow,
                streams,
                bytes,
                end,
                auth,
                ..
            } => {
                assert!(!flow.opener, "another opened it");
                if !self.may_be_lied_to(at, flow.peer) {
                    assert!(
                        self.may_talk(at, flow.peer),
                        "{at} is reached by {}",
                        flow.peer
                    );
                    assert_eq!(*auth, flow.peer, "no node acts on behalf of another");
                }
                self.opened_here(at, *flow, *streams, 0);
                self.arrived(at, *flow, bytes, *end, u64::from(flow.peer.0));
            }
            Event::Data { flow, bytes, end } => {
                let (peer, theirs) = mirrored(at, *flow);
                self.arrived(at, *flow, bytes, *end, seed(peer, theirs));
            }
            Event::Room(flow) => {
                self.starved.remove(&(at, *flow));
            }
            Event::Gone(contexts) => {
                for id in contexts {
                    assert!(
                        !self.is_solid(*id) || self.may_be_lied_to(at, *id),
                        "{at} lost {id}, which is up"
                    );
                }
            }
            Event::Closed { flow, letter } => {
                self.starved.remove(&(at, *flow));
                let state = self.ends.entry((at, *flow)).or_default();
                assert!(!state.closed, "{at}: {flow:?} ends twice: {letter:?}");
                state.closed = true;
                assert!(
                    letter.text != FORGED_TEXT || self.may_be_lied_to(at, flow.peer),
                    "{at}: {flow:?} was ended by a node that is not on its path"
                );
            }
            Event::Log { from, bytes } => {
                assert!(at == ContextId::ROOT, "records are for the root");
                let forged = bytes.contains(&FORGED);
                assert!(
                    !forged || self.may_be_lied_to(at, *from),
                    "a record in the name of {from}"
                );
            }
            _ => {}
        }
    }

    fn arrived(&mut self, at: ContextId, flow: FlowKey, bytes: &[u8], end: bool, seed: u64) {
        let lies = self.may_be_lied_to(at, flow.peer);
        let there = self
            .ends
            .get(&mirrored(at, flow))
            .map(|theirs| (theirs.sent, theirs.sent_end));
        let state = self.ends.entry((at, flow)).or_default();
        assert!(!state.closed, "{at}: {flow:?} is closed and brings more");
        assert!(!state.ended, "{at}: {flow:?} has ended and brings more");
        let offset = state.delivered;
        state.delivered += bytes.len() as u64;
        state.ended = end;
        let held = state.delivered - state.consumed;
        let most = if state.consumed == 0 {
            INITIAL_WINDOW
        } else {
            MAX_WINDOW
        };
        assert!(held <= most, "{at}: {flow:?} holds {held}");
        if lies {
            return;
        }
        let Some((sent, sent_end)) = there else {
            panic!("{at}: {flow:?} was never opened by its peer")
        };
        let delivered = offset + bytes.len() as u64;
        assert!(
            delivered <= sent,
            "{at}: {flow:?} brings more than was sent"
        );
        assert!(
            !end || sent_end && delivered == sent,
            "{at}: {flow:?} ends too early"
        );
        assert_eq!(
            honest(seed, offset, bytes.len()),
            bytes,
            "{at}: {flow:?} delivers bytes that were not sent"
        );
    }

    /// Checks that a link closed for a violation had a forgery on it or above it.
    pub(super) fn blamed(&self, by: ContextId, cable: &Cable) {
        let sure = self.is_solid(cable.child) && self.is_solid(cable.parent);
        let who = if by == cable.parent {
            cable.child
        } else {
            cable.parent
        };
        let forged = self
            .forged
            .iter()
            .any(|(child, _)| self.below(cable.child, *child));
        assert!(forged || !sure, "{by} blames {who} for what another did");
    }

    /// Returns the received and unconsumed bytes of all nodes.
    pub(super) fn unused(&self) -> impl Iterator<Item = (ContextId, FlowKey, usize)> + '_ {
        let held = |end: &End| {
            if end.closed {
                0
            } else {
                (end.delivered - end.consumed) as usize
            }
        };
        let ends = self
            .ends
            .iter()
            .map(move |((at, flow), end)| (*at, *flow, held(end)));
        ends.filter(|(_, _, held)| *held > 0)
    }

    /// Returns the flows on which `at` may send.
    pub(super) fn to_send(&self, at: ContextId) -> impl Iterator<Item = FlowKey> + '_ {
        let open = self
            .ends
            .iter()
            .filter(move |((here, _), end)| *here == at && !end.mute && !end.sent_end);
        open.map(|((_, flow), _)| *flow)
    }

    /// Returns the unfinished flows that `at` opened to a lost peer.
    pub(super) fn waiting_for_the_gone(&self, at: ContextId) -> impl Iterator<Item = FlowKey> + '_ {
        let gone = |peer: &ContextId| self.parents.contains_key(peer) && !self.up.contains(peer);
        let waiting = self.ends.iter().filter(move |((here, flow), end)| {
            *here == at && flow.opener && gone(&flow.peer) && !end.closed
        });
        waiting.map(|((_, flow), _)| *flow)
    }

    /// Returns true if the root may refuse another request of this context.
    pub(super) fn may_be_crowded(&self, context: ContextId) -> bool {
        self.questions
            .get(&context)
            .is_some_and(|asked| *asked > 16)
    }

    /// Returns the number of flows ever opened to this context.
    pub(super) fn flows_at(&self, context: ContextId) -> usize {
        self.ends
            .keys()
            .filter(|(at, flow)| *at == context && !flow.opener)
            .count()
    }

    /// Returns the connected contexts without forged boot messages.
    pub(super) fn untouched(&self) -> Vec<ContextId> {
        let touched = |context| {
            self.forged
                .iter()
                .any(|(child, _)| self.below(context, *child))
        };
        self.up
            .iter()
            .copied()
            .filter(|context| self.is_solid(*context) && !touched(*context))
            .collect()
    }
}
