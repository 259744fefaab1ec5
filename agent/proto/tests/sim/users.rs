//! Users of flows: callers, callees and readers. They check all data that nodes deliver.

use super::check::Check;
use super::end::End;
use super::ledger::{Lane, MARK, Outcome, Purpose, Request};
use super::place::{Happening, VISIT};
use super::plan::{Answer, Reader};
use super::world::{Job, Sabotage, World};
use offshoot_proto::node::Opening;
use offshoot_proto::{FlowKey, Handle, LinkId};

/// Maximum number of bytes that a writer gives to a node at once.
const PIECE: u64 = 256 << 10;

fn stream_of(flow: FlowKey) -> FlowKey {
    FlowKey {
        handle: Handle(flow.handle.0 + 1),
        ..flow
    }
}

fn main_of(flow: FlowKey) -> FlowKey {
    FlowKey {
        handle: Handle(flow.handle.0 - 1),
        ..flow
    }
}

impl World {
    /// Begins a request from `from` to `to`.
    pub(crate) fn ask(&mut self, from: u32, to: u32, size: u32, purpose: Purpose) {
        let size = size.max(8);
        let answer = Request {
            from,
            to,
            handle: 0,
            size,
            purpose,
            outcome: None,
            asked: self.now,
            settled: 0,
            delivered: false,
        };
        let expects = u64::from(answer.answer_size());
        let request = self.ledger.add(answer);
        let content = Lane { request, number: 0 }.content(0, size as usize);
        let mut opening = Opening::default();
        let service = match purpose {
            Purpose::Call(_) => Handle::CALL,
            Purpose::Visit(_) => VISIT,
            Purpose::Ask => Handle::ALLOCATE,
            Purpose::Stream { up, .. } => {
                opening.streams = 1;
                opening.answering = u8::from(up);
                Handle::EXEC
            }
            Purpose::Connect { child, .. } => {
                opening.new_context = Some(offshoot_proto::ContextId(child));
                Handle::CONNECT
            }
        };
        let Some(place) = self.place_mut(from) else {
            return;
        };
        let (flow, taken) = place.open(to, service, &content, opening);
        let mut end = End::new(request, true, true, Reader::Fast);
        end.expects = expects;
        end.says = Some(u64::from(size));
        end.sent = taken as u64;
        end.sent_end = taken == content.len();
        place.ends.insert(flow, end);
        if let Purpose::Stream { size, up, reader } = purpose {
            let mut end = End::new(request, true, false, reader);
            if up {
                end.expects = u64::from(size);
            } else {
                end.says = Some(u64::from(size));
            }
            place.ends.insert(stream_of(flow), end);
        }
        self.ledger.requests[request as usize].handle = flow.handle.0;
        if service == Handle::CALL {
            self.will_wait(from, from, flow.handle.0, to);
        }
        self.go_on(from, flow);
        self.go_on(from, stream_of(flow));
        self.settle(from);
    }

    /// Cancels a request at its caller.
    pub(crate) fn cancel(&mut self, request: u32) {
        let Request {
            from,
            to,
            handle,
            outcome,
            ..
        } = self.ledger.requests[request as usize];
        let peer = offshoot_proto::ContextId(to);
        let flow = FlowKey {
            peer,
            handle: Handle(handle),
            opener: true,
        };
        if outcome.is_some()
            || self
                .place(from)
                .is_none_or(|place| !place.ends.contains_key(&flow))
        {
            return;
        }
        self.give_up(from, flow);
        self.give_up_stream(from, flow, request);
        self.settle(from);
    }

    /// Cancels this end of a flow, if it is open.
    fn give_up(&mut self, at: u32, flow: FlowKey) {
        let keep = self.sabotaged(Sabotage::KeepFlow);
        let Some(place) = self.place_mut(at) else {
            return;
        };
        let Some(end) = place.ends.get_mut(&flow).filter(|end| !end.over) else {
            return;
        };
        end.over = true;
        end.by_us = true;
        place.unread -= std::mem::take(&mut end.unread);
        let (request, outcome) = (end.request, end.opener && end.main);
        if !keep {
            place.reset(flow);
        }
        if outcome {
            self.outcome(request, Outcome::Cancelled);
        }
    }

    /// Cancels the stream of a request, if it has one; the next number may be another flow's.
    fn give_up_stream(&mut self, at: u32, flow: FlowKey, request: u32) {
        if matches!(
            self.ledger.requests[request as usize].purpose,
            Purpose::Stream { .. }
        ) {
            self.give_up(at, stream_of(flow));
        }
    }

    /// Records the outcome of a request, which has only one.
    pub(crate) fn outcome(&mut self, request: u32, outcome: Outcome) {
        self.note("outcome", [u64::from(request), outcome as u64, 0]);
        self.ledger.requests[request as usize].settled = self.now;
        if let Some(before) = self.ledger.requests[request as usize]
            .outcome
            .replace(outcome)
        {
            self.fail(
                Check::OneOutcome,
                format!("request {request}: {before:?}, and then {outcome:?}"),
            );
        }
    }

    /// Handles an event of a node, with the bugs that a test has added.
    pub(crate) fn happen(&mut self, at: u32, happening: Happening) {
        match &happening {
            Happening::Data { flow, bytes, end }
                if self.sabotaged(Sabotage::DeliverTwice) && bytes.len() > 3 =>
            {
                let first = Happening::Data {
                    flow: *flow,
                    bytes: bytes.clone(),
                    end: false,
                };
                self.happened(at, first);
                return self.happened(
                    at,
                    Happening::Data {
                        flow: *flow,
                        bytes: bytes.clone(),
                        end: *end,
                    },
                );
            }
            Happening::Data { flow, bytes, end }
                if self.sabotaged(Sabotage::SwapBytes) && bytes.len() > 999 =>
            {
                let mut bytes = bytes.clone();
                bytes.swap(100, 900);
                return self.happened(
                    at,
                    Happening::Data {
                        flow: *flow,
                        bytes,
                        end: *end,
                    },
                );
            }
            Happening::Closed(..) if self.sabotaged(Sabotage::LoseClosed) => return,
            Happening::Closed(..) if self.sabotaged(Sabotage::CloseTwice) => {
                self.happened(at, happening.clone())
            }
            _ => {}
        }
        self.happened(at, happening);
    }

    pub(crate) fn happened(&mut self, at: u32, happening: Happening) {
        match happening {
            Happening::Opened {
                flow,
                service,
                child,
                bytes,
                end,
            } => {
                self.note(
                    "opened",
                    [u64::from(at), u64::from(flow.peer.0), u64::from(service.0)],
                );
                self.opened(at, flow, service, child, &bytes, end);
            }
            Happening::Data { flow, bytes, end } => self.data(at, flow, &bytes, end),
            Happening::Room(flow) => {
                self.note("room", [u64::from(at), u64::from(flow.peer.0), 0]);
                self.go_on(at, flow);
            }
            Happening::Closed(flow, reason) => {
                self.note(
                    "closed",
                    [u64::from(at), u64::from(flow.handle.0), reason as u64],
                );
                self.closed(at, flow);
            }
            Happening::Booted => {
                if let Some(place) = self.place_mut(at) {
                    place.booted = true;
                }
            }
            Happening::Hello(link) => self.hello(at, link),
            Happening::Shutdown => self.later(1000, Job::End { at }),
            Happening::Broken(link, reason, why) => self.broken(at, link, reason, &why),
            Happening::Pause(link, paused) => self.pause(at, link, paused),
            Happening::Log { from, bytes } => {
                self.note("log", [u64::from(from), bytes.len() as u64, 0]);
                self.check_forged(at, from, &bytes);
            }
            Happening::Other => {}
        }
    }

    fn check_forged(&mut self, at: u32, from: u32, bytes: &[u8]) {
        if bytes.starts_with(MARK) {
            self.totals.count("a forger's word in its own name");
            if !self.ledger.is_doubtful(from) {
                self.fail(
                    Check::Identity,
                    format!("a forged frame reached #{at} in the name of #{from}"),
                );
            }
        }
    }

    fn opened(
        &mut self,
        at: u32,
        flow: FlowKey,
        service: Handle,
        child: Option<(u32, LinkId)>,
        bytes: &[u8],
        end: bool,
    ) {
        let from = flow.peer.0;
        self.check_forged(at, from, bytes);
        let below = |one, other| one == other || self.ledger.is_below(one, other);
        let may = match service {
            Handle::ALLOCATE => below(from, at),
            VISIT => below(from, at) || below(at, from) || self.may_visit(from, at, bytes),
            _ => below(at, from),
        };
        if !may && !self.ledger.is_doubtful(from) {
            self.fail(
                Check::Authority,
                format!("#{at} obeys #{from}: service {}", service.0),
            );
        }
        let name = bytes
            .first_chunk::<8>()
            .map_or(u64::MAX, |name| u64::from_le_bytes(*name));
        let Some(request) = self.ledger.requests.get_mut(name as usize) else {
            // A forger's request in its own name is answered like any other.
            if service == Handle::ALLOCATE {
                self.grant(from);
            }
            if let Some(place) = self.place_mut(at) {
                place.send(flow, &[], true);
            }
            return;
        };
        let known = (request.from, request.to, request.handle) == (from, at, flow.handle.0);
        if !known || std::mem::replace(&mut request.delivered, true) {
            return self.fail(
                Check::OneOutcome,
                format!("#{at} gets the same request from #{from} again"),
            );
        }
        let (purpose, size) = (request.purpose, request.size);
        let Some(place) = self.place_mut(at) else {
            return;
        };
        let mut main = End::new(name as u32, false, true, Reader::Fast);
        main.expects = u64::from(size);
        place.ends.insert(flow, main);
        if let Purpose::Stream { size, up, reader } = purpose {
            let mut stream = End::new(name as u32, false, false, reader);
            if up {
                stream.says = Some(u64::from(size));
            } else {
                stream.expects = u64::from(size);
            }
            place.ends.insert(stream_of(flow), stream);
        }
        if let (Purpose::Connect { fate, .. }, Some((child, link))) = (purpose, child) {
            self.connect(at, flow, child, link, fate);
        }
        self.data(at, flow, bytes, end);
        self.go_on(at, stream_of(flow));
    }

    fn data(&mut self, at: u32, flow: FlowKey, bytes: &[u8], last: bool) {
        self.note(
            "data",
            [
                u64::from(at),
                u64::from(flow.peer.0) << 32 | u64::from(flow.handle.0),
                bytes.len() as u64,
            ],
        );
        self.check_forged(at, flow.peer.0, bytes);
        let hoard = self.sabotaged(Sabotage::ReadWithoutReading);
        let of = self
            .place(at)
            .and_then(|place| place.ends.get(&flow))
            .map(|end| end.request);
        let tainted = of.is_some_and(|request| self.is_tainted(request));
        let Some(place) = self.places[at as usize].as_deref_mut() else {
            return;
        };
        let Some(end) = place.ends.get_mut(&flow) else {
            place.consume(flow, bytes.len());
            return;
        };
        let request = end.request;
        if end.over && !end.by_us && !tainted {
            return self.fail(
                Check::OneOutcome,
                format!("#{at} gets bytes of request {request} after its end"),
            );
        }
        if end.over {
            return;
        }
        let fits = !end.got_end && end.incoming.fits(end.got, bytes);
        let whole = !last || end.got + bytes.len() as u64 == end.expects;
        let wrong = !fits || !whole;
        if wrong && !tainted {
            let what = format!(
                "at #{at} request {request} gets {} bytes at {} (end: {last})",
                bytes.len(),
                end.got
            );
            return self.fail(Check::InOrder, what);
        }
        end.got += bytes.len() as u64;
        end.got_end |= last;
        end.unread += bytes.len() as u64;
        place.unread += bytes.len() as u64;
        if hoard {
            // Reports everything kept as consumed.
            place.consume(flow, bytes.len());
        } else {
            match end.reader {
                Reader::Fast => self.read(at, flow, u64::MAX),
                Reader::Slow { .. } if end.unread == bytes.len() as u64 => {
                    self.later(1000, Job::Read { at, flow })
                }
                Reader::Slow { .. } => {}
                Reader::Stops { after } => self.read(at, flow, u64::from(after)),
            }
        }
        self.ended(at, flow);
    }

    /// Reads until `limit` bytes were read in all.
    fn read(&mut self, at: u32, flow: FlowKey, limit: u64) {
        let Some(place) = self.place_mut(at) else {
            return;
        };
        let Some(end) = place.ends.get_mut(&flow) else {
            return;
        };
        let piece = end.unread.min(limit.saturating_sub(end.read));
        end.unread -= piece;
        end.read += piece;
        place.unread -= piece;
        place.consume(flow, piece as usize);
    }

    pub(crate) fn read_slowly(&mut self, at: u32, flow: FlowKey) {
        let Some(end) = self.place(at).and_then(|place| place.ends.get(&flow)) else {
            return;
        };
        let Reader::Slow { per_ms } = end.reader else {
            return;
        };
        let limit = end.read + u64::from(per_ms.max(1));
        self.read(at, flow, limit);
        if self
            .place(at)
            .and_then(|place| place.ends.get(&flow))
            .is_some_and(|end| end.unread > 0)
        {
            self.later(1000, Job::Read { at, flow });
        }
        self.settle(at);
    }

    /// Handles the end of incoming bytes.
    fn ended(&mut self, at: u32, flow: FlowKey) {
        let Some(end) = self
            .place_mut(at)
            .and_then(|place| place.ends.get_mut(&flow))
        else {
            return;
        };
        if !end.got_end {
            return;
        }
        let (request, main, opener) = (end.request, end.main, end.opener);
        if !main || opener {
            end.over = true;
        }
        let purpose = self.ledger.requests[request as usize].purpose;
        match purpose {
            Purpose::Ask if main && opener => {
                self.outcome(request, Outcome::Value);
                self.has_numbers(at, request);
            }
            _ if main && opener => self.outcome(request, Outcome::Value),
            _ if !main && !opener => self.write_answer(at, main_of(flow)),
            Purpose::Call(Answer::Reply { ms, .. } | Answer::Refuse { ms })
            | Purpose::Visit(Answer::Reply { ms, .. } | Answer::Refuse { ms })
                if main =>
            {
                self.later(u64::from(ms) * 1000, Job::Answer { at, flow });
            }
            Purpose::Ask if main => {
                let from = self.ledger.requests[request as usize].from;
                if let Some(block) = self.grant(from) {
                    self.granted.insert(request, block);
                }
                self.write_answer(at, flow);
            }
            _ => {}
        }
    }

    pub(crate) fn answer(&mut self, at: u32, flow: FlowKey) {
        let Some(end) = self
            .place(at)
            .and_then(|place| place.ends.get(&flow))
            .filter(|end| !end.over)
        else {
            return;
        };
        match self.ledger.requests[end.request as usize].purpose {
            Purpose::Call(Answer::Refuse { .. }) | Purpose::Visit(Answer::Refuse { .. }) => {
                self.give_up(at, flow)
            }
            _ => self.write_answer(at, flow),
        }
        self.settle(at);
    }

    /// Begins the answer of a callee.
    pub(crate) fn write_answer(&mut self, at: u32, flow: FlowKey) {
        let Some(place) = self
            .places
            .get_mut(at as usize)
            .and_then(Option::as_deref_mut)
        else {
            return;
        };
        let Some(end) = place
            .ends
            .get_mut(&flow)
            .filter(|end| !end.over && end.says.is_none())
        else {
            return;
        };
        end.says = Some(u64::from(
            self.ledger.requests[end.request as usize].answer_size(),
        ));
        self.go_on(at, flow);
    }

    /// Writes as much as a writer may.
    fn go_on(&mut self, at: u32, flow: FlowKey) {
        let mut done = false;
        if let Some(place) = self
            .places
            .get_mut(at as usize)
            .and_then(Option::as_deref_mut)
        {
            while let Some(end) = place
                .ends
                .get(&flow)
                .filter(|end| !end.over && !end.sent_end)
            {
                let Some(says) = end.says else { return };
                let piece = (says - end.sent).min(PIECE);
                let last = end.sent + piece == says;
                let content = end.outgoing.content(end.sent, piece as usize);
                let Some(taken) = place.send(flow, &content, last) else {
                    return;
                };
                let Some(end) = place.ends.get_mut(&flow) else {
                    return;
                };
                end.sent += taken as u64;
                end.sent_end = last && taken as u64 == piece;
                done = end.sent_end;
                if (taken as u64) < piece {
                    return;
                }
            }
        }
        if done {
            self.wrote(at, flow);
        }
    }

    /// Handles a writer that has written everything.
    fn wrote(&mut self, at: u32, flow: FlowKey) {
        let Some(end) = self
            .place_mut(at)
            .and_then(|place| place.ends.get_mut(&flow))
        else {
            return;
        };
        let (main, opener) = (end.main, end.opener);
        end.over |= !main || (!opener && end.got_end);
        if !main && !opener {
            self.write_answer(at, main_of(flow));
        }
    }

    fn closed(&mut self, at: u32, flow: FlowKey) {
        let Some(place) = self.place_mut(at) else {
            return;
        };
        let Some(end) = place.ends.get_mut(&flow) else {
            return;
        };
        let (request, main, opener, by_us) = (end.request, end.main, end.opener, end.by_us);
        let was_over = std::mem::replace(&mut end.over, true);
        place.unread -= std::mem::take(&mut end.unread);
        if was_over && !by_us && !self.is_tainted(request) {
            self.fail(
                Check::OneOutcome,
                format!("at #{at} a flow of request {request} is closed after its end"),
            );
        }
        if was_over {
            return;
        }
        match (main, opener) {
            (true, true) => {
                if let Some(place) = self.place_mut(at) {
                    place.wanting.clear();
                }
                self.outcome(request, Outcome::Closed);
            }
            (true, false) => self.give_up_stream(at, flow, request),
            // Without its stream, the rest of the request makes no sense.
            (false, _)
                if self
                    .place(at)
                    .is_some_and(|place| place.knows(main_of(flow))) =>
            {
                self.give_up(at, main_of(flow));
            }
            _ => {}
        }
    }
}
