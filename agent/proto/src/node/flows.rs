//! The flows of a node: opening, sending with credit, receiving, and closing.

use crate::error::dead_letter::DeadLetter;
use crate::error::reason::Reason;
use crate::flow::FIRST_WINDOW;
use crate::flow::INITIAL_WINDOW;
use crate::flow::SendCredit;
use crate::flow::Violation;
use crate::id::ContextId;
use crate::id::FlowKey;
use crate::id::Handle;
use crate::id::LinkId;
use crate::node::dispatch::TEXT_LIMIT;
use crate::node::event::Event;
use crate::node::flow::Flow;
use crate::node::link::USED;
use crate::node::machine::Node;
use crate::node::machine::Opening;
use crate::routing::Verdict;
use crate::text::shortened;
use crate::wire::Flags;
use crate::wire::Frame;
use crate::wire::Header;
use crate::wire::Kind;
use crate::wire::MAX_PAYLOAD;
use crate::wire::RECYCLED;
use alloc::format;
use alloc::string::String;
use alloc::string::ToString;
use alloc::vec::Vec;
use offshoot_codec as codec;

impl Node {
    /// Opens a flow to a service with as much of the request as the first frame may carry. Returns
    /// the flow and the number of bytes sent.
    pub fn open(
        &mut self,
        dst: ContextId,
        service: Handle,
        request: &[u8],
        opening: Opening,
    ) -> (FlowKey, usize) {
        let handle = self.allocate(dst, 1 + u32::from(opening.streams));
        let flow = FlowKey {
            peer: dst,
            handle,
            opener: true,
        };
        // Contexts below obey this node; others limit what they accept unasked.
        let unasked = match self.router.link_down(dst) {
            None if dst != self.id() => FIRST_WINDOW,
            _ => INITIAL_WINDOW,
        };
        let taken = request.len().min(MAX_PAYLOAD).min(unasked as usize);
        let end = taken == request.len() && !opening.more;
        let outgoing = SendCredit::new(unasked);
        let mut state = Flow {
            streams: opening.streams,
            outgoing,
            ..Flow::default()
        };
        state.outgoing.send(taken, end);
        let full = state.outgoing.is_full();
        self.flows.insert(flow, state);
        for stream in 0..opening.streams {
            let mut state = Flow {
                outgoing: SendCredit::new(unasked),
                ..Flow::default()
            };
            if opening.answering & 1 << stream != 0 {
                state.outgoing.close();
            } else {
                state.incoming.close();
            }
            let handle = Handle(handle.0 + 1 + u32::from(stream));
            self.flows.insert(
                FlowKey {
                    peer: dst,
                    handle,
                    opener: true,
                },
                state,
            );
        }
        let header = Header {
            handle: service,
            reply_to: handle,
            flags: Flags::OPENER
                .with(Flags::END, end)
                .with(Flags::SECRET, opening.secret)
                .with(Flags::FULL, full),
            streams: opening.streams,
            answering: opening.answering,
            offset: opening.new_context.map_or(0, |id| u64::from(id.0)),
            ..Header::new(Kind::Open, self.id(), dst)
        };
        self.dispatch(None, Frame::new(header, request[..taken].to_vec()));
        (flow, taken)
    }

    /// Opens a flow that carries no bytes and is closed when `peer` is lost.
    pub fn watch(&mut self, peer: ContextId) -> FlowKey {
        let flow = FlowKey {
            peer,
            handle: self.allocate(peer, 1),
            opener: true,
        };
        let mut state = Flow::default();
        state.incoming.close();
        state.outgoing.close();
        self.flows.insert(flow, state);
        flow
    }

    /// Closes a flow of [`Node::watch`].
    pub fn unwatch(&mut self, flow: FlowKey) {
        self.drop_flow(flow);
    }

    /// Allocates `count` consecutive handles for new flows with `peer`, reusing closed ones after
    /// four billion.
    fn allocate(&mut self, peer: ContextId, count: u32) -> Handle {
        loop {
            if self.next_handle > u32::MAX - 16 {
                self.next_handle = Handle::FIRST_FLOW.0;
            }
            let first = self.next_handle;
            self.next_handle += count;
            let key = |handle| FlowKey {
                peer,
                handle: Handle(handle),
                opener: true,
            };
            if (first..first + count).all(|handle| !self.flows.contains(key(handle))) {
                return Handle(first);
            }
        }
    }

    /// Returns the number of bytes that may be sent on a flow now, `None` if it is closed. After 0,
    /// [`Event::Room`] follows.
    pub fn room(&mut self, flow: FlowKey) -> Option<usize> {
        let room = self.flows.get(flow).map(|state| state.outgoing.room())?;
        Some(if room > 0 && !self.may_send(flow) {
            0
        } else {
            room
        })
    }

    /// Returns true if a flow exists.
    pub fn knows(&self, flow: FlowKey) -> bool {
        self.flows.contains(flow)
    }

    /// Sends as many bytes as there is credit for, and the end of the flow after the last one if
    /// `end`. Returns the number of bytes sent, `None` if the flow is closed.
    pub fn send(&mut self, flow: FlowKey, bytes: &[u8], end: bool, secret: bool) -> Option<usize> {
        let mut taken = 0;
        loop {
            let left = bytes.len() - taken;
            if left > 0 && !self.may_send(flow) {
                return Some(taken)
                    .filter(|_| self.flows.get(flow).is_some_and(|of| !of.outgoing.ended()));
            }
            let state = self.flows.get_mut(flow)?;
            if state.outgoing.ended() {
                return None;
            }
            let piece = left.min(state.outgoing.room()).min(MAX_PAYLOAD);
            let last = end && taken + piece == bytes.len();
            if piece == 0 && !last {
                return Some(taken);
            }
            let offset = state.outgoing.send(piece, last);
            let full = state.outgoing.is_full();
            let header = Header {
                handle: flow.handle,
                flags: Flags::default()
                    .with(Flags::OPENER, flow.opener)
                    .with(Flags::END, last)
                    .with(Flags::SECRET, secret)
                    .with(Flags::FULL, full),
                offset,
                ..Header::new(Kind::Data, self.id(), flow.peer)
            };
            let payload = bytes[taken..taken + piece].to_vec();
            taken += piece;
            self.dispatch(None, Frame::new(header, payload));
            if last {
                self.forget_if_over(flow);
                return Some(taken);
            }
        }
    }

    /// Takes back the buffer of a flow's payload, for later payloads.
    pub fn reuse(&mut self, flow: FlowKey, mut payload: Vec<u8>) {
        if self.flows.get(flow).is_none_or(|state| state.secret) {
            offshoot_codec::zero(&mut payload);
        }
        if payload.capacity() >= RECYCLED && self.used.len() < USED {
            payload.clear();
            self.used.push(payload);
        }
    }

    /// Cancels a flow and tells the peer why.
    pub fn reset(&mut self, flow: FlowKey, reason: Reason, text: &str) {
        if self.drop_flow(flow).is_none() {
            return;
        }
        let letter = DeadLetter {
            reason,
            by: self.id(),
            text: text.into(),
        };
        let header = Header {
            handle: flow.handle,
            flags: Flags::default().with(Flags::OPENER, flow.opener),
            ..Header::new(Kind::Reset, self.id(), flow.peer)
        };
        let frame = Frame::new(header, codec::own(&letter));
        // A reset of a refused flow is attributed to the peer that opened it.
        let cause = self.router.link_to(flow.peer).filter(|_| !flow.opener);
        if let Verdict::Forward(link) = self.router.route(None, &frame.header) {
            // If the queue is full, the peer does not read its frames, and would not read this one.
            let _full = self.enqueue(cause, link, frame);
        } else {
            self.dispatch(None, frame);
        }
    }

    /// Removes a flow whose directions have both ended.
    pub(crate) fn forget_if_over(&mut self, flow: FlowKey) {
        if self
            .flows
            .get(flow)
            .is_some_and(|state| state.outgoing.ended() && state.incoming.ended())
        {
            self.drop_flow(flow);
        }
    }

    /// Removes and returns a flow, and gives its window back to the node.
    pub(crate) fn drop_flow(&mut self, flow: FlowKey) -> Option<Flow> {
        let state = self.flows.remove(flow)?;
        self.growth_left += state.incoming.growth();
        self.close_account(flow, &state);
        Some(state)
    }

    /// Closes flows whose peer or link is lost.
    pub(crate) fn close_flows(&mut self, flows: Vec<FlowKey>, letter: &DeadLetter) {
        for flow in flows {
            self.drop_flow(flow);
            self.events.push_back(Event::Closed {
                flow,
                letter: letter.clone(),
            });
        }
    }

    /// Closes a flow and, if this node has opened it, its additional flows.
    pub fn close(&mut self, flow: FlowKey, letter: DeadLetter) {
        let Some(state) = self.drop_flow(flow) else {
            return;
        };
        if flow.opener {
            self.close_streams(flow, state.streams, &letter);
        }
        self.events.push_back(Event::Closed { flow, letter });
    }

    /// Closes the additional flows of `first`.
    fn close_streams(&mut self, first: FlowKey, streams: u8, letter: &DeadLetter) {
        for stream in 1..=u32::from(streams) {
            let handle = Handle(first.handle.0.wrapping_add(stream));
            self.close(FlowKey { handle, ..first }, letter.clone());
        }
    }

    /// Handles a frame whose destination is this node.
    pub fn deliver(&mut self, from: Option<LinkId>, mut frame: Frame) {
        let header = frame.header;
        let end = header.flags.has(Flags::END);
        let flow = FlowKey {
            peer: header.src,
            handle: header.handle,
            opener: !header.flags.has(Flags::OPENER),
        };
        match header.kind {
            Kind::Open => self.deliver_open(from, frame),
            Kind::Data => {
                let Some(state) = self.flows.get_mut(flow) else {
                    return self.return_frame(from, &frame, Reason::NoHandle, "the flow is over");
                };
                let lent = state.lent();
                if let Err(violation) =
                    state
                        .incoming
                        .receive(header.offset, frame.payload.len(), end)
                {
                    return self.violated(flow, violation);
                }
                state.secret |= header.flags.has(Flags::SECRET);
                if header.flags.has(Flags::FULL) {
                    state.incoming.full();
                }
                let bytes = core::mem::take(&mut frame.payload);
                if !bytes.is_empty() || end {
                    self.events.push_back(Event::Data { flow, bytes, end });
                }
                if end {
                    self.whole(flow, lent);
                }
                self.forget_if_over(flow);
            }
            Kind::Credit => {
                let Some(state) = self.flows.get_mut(flow) else {
                    return;
                };
                match state.outgoing.grant(header.offset) {
                    Ok(true) => self.events.push_back(Event::Room(flow)),
                    Ok(false) => {}
                    Err(violation) => self.violated(flow, violation),
                }
            }
            Kind::Reset => {
                let letter = read_letter(&frame, header.src);
                self.close(flow, letter);
            }
            Kind::Dead => {
                // `arrive` has checked that the sender is on the path to the peer.
                let peer = ContextId(header.reply_to.0);
                let mut letter = read_letter(&frame, header.src);
                if from.is_some() && self.router.link_to(letter.by) != from {
                    letter.by = header.src;
                }
                if header.handle == Handle::NONE {
                    return self.close_flows(self.flows.with_peer(peer), &letter);
                }
                let flow = FlowKey {
                    peer,
                    handle: header.handle,
                    opener: header.flags.has(Flags::OPENER),
                };
                // An `Open` was returned. Its own flow may be cancelled meanwhile; its additional
                // flows are not.
                self.close_streams(flow, header.streams, &letter);
                self.close(flow, letter);
            }
            Kind::Log if self.router.up().is_none() => {
                let bytes = core::mem::take(&mut frame.payload);
                self.events.push_back(Event::Log {
                    from: header.src,
                    bytes,
                });
            }
            _ => {}
        }
    }

    /// Closes a flow whose peer violated its rules, and expels the peer if it is below.
    pub fn violated(&mut self, flow: FlowKey, violation: Violation) {
        let text = violation.to_string();
        self.reset(flow, Reason::Violation, &text);
        let letter = DeadLetter {
            reason: Reason::Violation,
            by: self.id(),
            text,
        };
        let why = format!("{}: {}", flow.peer, letter.text);
        self.events.push_back(Event::Closed { flow, letter });
        self.expel(flow.peer, &why);
    }
}

fn read_letter(frame: &Frame, by: ContextId) -> DeadLetter {
    let unreadable = DeadLetter {
        reason: Reason::Violation,
        by,
        text: String::new(),
    };
    let mut letter = codec::from_own(&frame.payload).unwrap_or(unreadable);
    letter
        .text
        .truncate(shortened(&letter.text, TEXT_LIMIT).len());
    letter
}
