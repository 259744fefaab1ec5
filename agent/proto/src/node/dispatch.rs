//! Frames on their way through a node: acceptance, forwarding, return, and news of lost contexts.

use crate::error::dead_letter::DeadLetter;
use crate::error::reason::Reason;
use crate::id::ContextId;
use crate::id::FlowKey;
use crate::id::Handle;
use crate::id::LinkId;
use crate::message::boot::BootInfo;
use crate::message::routes::RouteNews;
use crate::node::event::Event;
use crate::node::event::ShownFrame;
use crate::node::machine::Node;
use crate::node::machine::OFFENCES;
use crate::node::rate_limit::{LOG_BURST, LOG_RATE};
use crate::routing::Policy;
use crate::routing::Verdict;
use crate::text::shortened;
use crate::wire::Flags;
use crate::wire::Frame;
use crate::wire::Giver;
use crate::wire::Header;
use crate::wire::Kind;
use crate::wire::Scope;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use offshoot_codec as codec;
use tracing::Level;

/// Maximum number of contexts named in one `Route` frame.
const NEWS: usize = 8192;

/// Maximum length in bytes of a reason's text in a frame.
pub(crate) const TEXT_LIMIT: usize = 4096;

impl Node {
    /// Takes received bytes of a link. Returns true if they may contain a secret.
    pub fn receive(&mut self, link: LinkId, mut bytes: &[u8]) -> bool {
        let mut secret = false;
        if let Some(keepalive) = self
            .links
            .get_mut(&link)
            .and_then(|state| state.keepalive.as_mut())
        {
            keepalive.heard(self.now);
        }
        loop {
            let Some(state) = self.links.get_mut(&link).filter(|state| !state.closing) else {
                return secret;
            };
            secret |= state.decoder.is_secret();
            match state.decoder.next_frame_in(&mut bytes, &mut self.used) {
                Ok(Some(frame)) => {
                    secret |= frame.header.flags.has(Flags::SECRET);
                    if self.shows_frames {
                        let (header, length) = (frame.header, frame.payload.len());
                        let shown = ShownFrame {
                            came: true,
                            link,
                            header,
                            length,
                        };
                        self.events.push_back(Event::Frame(shown));
                    }
                    self.arrive(link, frame);
                }
                Ok(None) => return secret | state.decoder.is_secret(),
                Err(error) => {
                    self.end_link(link, Reason::Lost, error.to_string());
                    return secret;
                }
            }
        }
    }

    /// Requests the end of a link with [`Event::Broken`]. Later frames of the link are ignored.
    pub(crate) fn end_link(&mut self, link: LinkId, reason: Reason, why: String) {
        let Some(state) = self.links.get_mut(&link) else {
            return;
        };
        if !core::mem::replace(&mut state.closing, true) {
            self.events.push_back(Event::Broken { link, reason, why });
        }
    }

    /// Counts a protocol violation of a link, logs it, and ends the link after [`OFFENCES`] of
    /// them.
    pub(crate) fn offence(&mut self, link: LinkId, what: &str, header: &Header) {
        let Some(state) = self.links.get_mut(&link) else {
            return;
        };
        state.offences += 1;
        let (count, who) = (
            state.offences,
            state.child.or(self.router.ancestors().first().copied()),
        );
        let who = who.map_or_else(|| "the parent".into(), |who| who.to_string());
        if count == OFFENCES {
            self.end_link(
                link,
                Reason::Violation,
                format!("{who} keeps sending {what}"),
            );
        } else {
            let Header { src, auth, dst, .. } = header;
            let text =
                format!("dropped {what} from the link of {who}: from {src} for {auth} to {dst}");
            self.say(Level::WARN, text);
        }
    }

    fn arrive(&mut self, link: LinkId, mut frame: Frame) {
        let header = frame.header;
        let Some(state) = self.links.get(&link) else {
            return;
        };
        if state.child.is_some() && !state.said_hello && header.kind != Kind::Hello {
            return self.offence(link, "a frame before its greeting", &header);
        }
        if let Scope::Link(giver) = header.kind.scope() {
            let parents = state.child.is_none();
            if giver != Giver::Either && parents != (giver == Giver::Parent) {
                return self.offence(link, "an order or news that is not its to give", &header);
            }
            return self.arrive_local(link, frame);
        }
        // The authority applies to the neighbour only; contexts behind it did not authenticate.
        if let Some(authority) = state.authority.filter(|_| state.child == Some(header.src)) {
            frame.header.auth = header.src;
            if !self.router.believes(link, &frame.header) {
                return self.offence(link, "a frame in another's name", &header);
            }
            frame.header.auth = authority;
        } else if !self.router.believes(link, &header) {
            return self.offence(link, "a frame in another's name", &header);
        }
        match header.kind {
            Kind::Dead if state.child.is_some() => {
                let about = ContextId(header.reply_to.0);
                match self.router.link_down(about) {
                    Some(way) if way == link => {}
                    // The context was lost a moment ago, and everyone concerned was told.
                    None if about != self.id() && !self.router.ancestors().contains(&about) => {
                        return;
                    }
                    _ => {
                        return self.offence(
                            link,
                            "a dead letter about one that is not behind it",
                            &header,
                        );
                    }
                }
            }
            Kind::Log if !self.may_log(link) => return,
            _ => {}
        }
        self.dispatch(Some(link), frame);
    }

    /// Returns true if a child may send one more log record now. Reports dropped ones first.
    fn may_log(&mut self, link: LinkId) -> bool {
        let now = self.now;
        let Some(state) = self.links.get_mut(&link) else {
            return false;
        };
        let Some(child) = state.child else {
            return true;
        };
        if !state.logs.take(now, LOG_BURST, LOG_RATE) {
            state.logs.dropped = state.logs.dropped.saturating_add(1);
            return false;
        }
        if let Some(text) = state.logs.tell(child) {
            self.say(Level::WARN, text);
        }
        true
    }

    fn arrive_local(&mut self, link: LinkId, mut frame: Frame) {
        let payload = &frame.payload;
        match frame.header.kind {
            Kind::Route => self.route_news(link, &frame),
            Kind::Boot => match codec::from_own::<BootInfo>(payload) {
                Ok(boot) => {
                    self.router.become_context(boot.id, boot.ancestors.clone());
                    self.events.push_back(Event::Boot(boot));
                }
                Err(error) => self.end_link(link, Reason::Violation, format!("boot: {error}")),
            },
            kind @ (Kind::Choke | Kind::Free) => self.handle_choke(link, kind, payload),
            Kind::Grant => {
                let (Some(first), Some(owner)) = (id_at(payload, 0), id_at(payload, 4)) else {
                    return;
                };
                if let Some(link) = self.router.link_down(owner) {
                    self.grants.learn(first, owner, link);
                    let payload = core::mem::take(&mut frame.payload);
                    self.control(link, Kind::Grant, payload);
                }
            }
            Kind::Pair => {
                let id = |at| id_at(payload, at);
                if let (Some(one), Some(other), Some(open)) = (id(0), id(4), payload.get(8)) {
                    self.pair(one, other, *open == 1);
                }
            }
            Kind::Expel => {
                if let Ok((id, why)) = codec::from_own::<(ContextId, String)>(payload) {
                    self.expel(id, &why);
                }
            }
            Kind::Hello => {
                let Some(state) = self.links.get_mut(&link) else {
                    return;
                };
                if core::mem::replace(&mut state.said_hello, true) {
                    return self.offence(link, "a second greeting", &frame.header);
                }
                let bytes = core::mem::take(&mut frame.payload);
                self.events.push_back(Event::Control {
                    link,
                    kind: Kind::Hello,
                    bytes,
                });
            }
            kind => {
                let bytes = core::mem::take(&mut frame.payload);
                if kind == Kind::Filter {
                    self.pass_filter(&bytes);
                } else if let (Kind::Ping, Some(state)) = (kind, self.links.get_mut(&link)) {
                    state.resting = frame.header.flags.has(Flags::END);
                }
                self.events.push_back(Event::Control { link, kind, bytes });
            }
        }
    }

    fn route_news(&mut self, link: LinkId, frame: &Frame) {
        match codec::from_own(&frame.payload) {
            Ok(RouteNews::Added(id, parent)) => {
                // Either the connect request has passed this node, or the number was granted to a
                // context behind the link. The parent must be behind the same link.
                let known = self.router.link_down(id) == Some(link);
                let theirs =
                    self.router.link_down(parent) == Some(link) && self.grants.is_granted(id, link);
                if known || (theirs && self.router.add(id, link, parent)) {
                    self.tell_parent(&RouteNews::Added(id, parent));
                } else {
                    self.offence(link, "a route that is another's", &frame.header);
                }
            }
            Ok(RouteNews::Gone {
                mut contexts,
                reason,
                text,
            }) => {
                let neighbour = self.links.get(&link).and_then(|state| state.child);
                contexts.retain(|id| Some(*id) != neighbour && self.router.remove(*id, link));
                contexts.sort_unstable();
                self.freed(link, contexts.iter().copied());
                self.gone(contexts, reason, &text);
            }
            Err(_) => self.offence(link, "route news that cannot be read", &frame.header),
        }
    }

    /// Sends route news to the parent, if there is one.
    pub(crate) fn tell_parent(&mut self, news: &RouteNews) {
        if let Some(up) = self.router.up() {
            let payload = codec::own(news);
            self.control(up, Kind::Route, payload);
        }
    }

    /// Closes every flow with the lost contexts (sorted) and passes the news on.
    fn gone(&mut self, contexts: Vec<ContextId>, reason: Reason, text: &str) {
        if contexts.is_empty() {
            return;
        }
        let text = shortened(text, TEXT_LIMIT);
        self.router.lost.remember(&contexts, reason, text);
        let letter = DeadLetter {
            reason,
            by: self.id(),
            text: text.into(),
        };
        for id in &contexts {
            self.close_flows(self.flows.with_peer(*id), &letter);
            self.grants.ended(*id);
            // Frames from the lost context must precede the news of its loss.
            if let Some(up) = self.router.up().and_then(|up| self.links.get_mut(&up)) {
                up.queue.promote(*id);
            }
        }
        for part in contexts.chunks(NEWS) {
            self.tell_parent(&RouteNews::Gone {
                contexts: part.to_vec(),
                reason,
                text: text.into(),
            });
        }
        for (survivor, lost) in self.router.remove_pairs(&contexts) {
            self.part(survivor, lost, reason, text);
        }
        self.events.push_back(Event::Gone(contexts));
    }

    /// Tells a context below that another one, which it has talked to past this node, is lost.
    pub fn part(&mut self, survivor: ContextId, lost: ContextId, reason: Reason, text: &str) {
        let letter = DeadLetter {
            reason,
            by: self.id(),
            text: text.into(),
        };
        let header = Header {
            reply_to: Handle(lost.0),
            ..Header::new(Kind::Dead, self.id(), survivor)
        };
        self.dispatch(None, Frame::new(header, codec::own(&letter)));
    }

    /// Ends the link of a context that violated the protocol, at whatever node below it is.
    pub fn expel(&mut self, id: ContextId, why: &str) {
        let Some(link) = self.router.link_down(id) else {
            return;
        };
        if self
            .links
            .get(&link)
            .is_some_and(|state| state.child == Some(id))
        {
            return self.end_link(link, Reason::Violation, why.into());
        }
        let why = shortened(why, TEXT_LIMIT).to_owned();
        self.control(link, Kind::Expel, codec::own(&(id, why)));
    }

    /// Handles the loss of a link. Contexts behind it are gone, and queued frames are returned with
    /// `reason`.
    pub fn link_lost(&mut self, link: LinkId, reason: Reason, text: &str) {
        let Some(mut state) = self.links.remove(&link) else {
            return;
        };
        if let Some(text) = state.child.and_then(|child| state.logs.tell(child)) {
            self.say(Level::WARN, text);
        }
        let contexts = self.router.remove_link(link);
        self.bytes_attributed -= state.bytes_attributed;
        for queued in state.take_all() {
            if let Some(from) = queued.from {
                self.discharge(from, queued.frame.size());
            }
            self.return_frame(queued.from, &queued.frame, reason, text);
        }
        for throttled in &state.throttled {
            self.control(throttled.link, Kind::Free, Vec::new());
            let mut names = Vec::new();
            for (id, _) in throttled.some.iter() {
                names.extend_from_slice(&id.0.to_le_bytes());
            }
            if !names.is_empty() {
                self.control(throttled.link, Kind::Free, names);
            }
        }
        if state.child.is_none() {
            let letter = DeadLetter {
                reason: Reason::Lost,
                by: self.id(),
                text: text.into(),
            };
            self.close_flows(self.flows.keys(), &letter);
        }
        self.gone(contexts, reason, text);
        self.grants.link_ended(link);
    }

    /// Delivers, forwards or returns a frame from the link `from`, or from this node if `None`.
    pub fn dispatch(&mut self, from: Option<LinkId>, frame: Frame) {
        let header = frame.header;
        match self.router.route(from, &header) {
            Verdict::Here => self.deliver(from, frame),
            Verdict::Return(reason) => {
                let (reason, text) = match self.router.lost.why(header.dst) {
                    Some((why, text)) if reason == Reason::NoRoute => (why, text.to_owned()),
                    _ => (reason, format!("on the way to {}", header.dst)),
                };
                // A hop from a context that is gone: messages to the new context, which this node
                // may have sent already, fail for the same reason.
                if let Some(id) = self.connected_by(&header).filter(|_| from.is_none()) {
                    self.router.lost.remember(&[id], reason, &text);
                }
                self.return_frame(from, &frame, reason, &text);
            }
            Verdict::Forward(link) => {
                // Ancestors learn the route of a new context from the connect request itself, so
                // that frames for it can follow at once.
                let new = self
                    .connected_by(&header)
                    .filter(|_| Some(link) != self.router.up());
                let known = new.is_some_and(|id| self.router.link_down(id).is_some());
                if new.is_some_and(|id| !self.router.add(id, link, header.dst)) {
                    return self.return_frame(
                        from,
                        &frame,
                        Reason::Refused,
                        "its number is in use",
                    );
                }
                if let Some(from) = from {
                    self.router.note(from, link, &header);
                }
                if let Some((frame, text)) = self.enqueue(from, link, frame) {
                    if let Some(id) = new.filter(|_| !known) {
                        self.router.remove(id, link);
                    }
                    self.return_frame(from, &frame, Reason::QueueFull, text);
                }
            }
        }
    }

    /// Returns the new context of a connect request, if its sender may connect here. A forged
    /// request changes no routes.
    fn connected_by(&self, header: &Header) -> Option<ContextId> {
        let order = header.kind == Kind::Open && header.handle == Handle::CONNECT;
        let may = order && self.router.permits(Policy::Ancestors, header.auth, None);
        Some(ContextId(header.offset as u32)).filter(|id| may && id.0 != 0)
    }

    /// Returns a frame to its source as a `Dead` frame, unless it ends a flow itself. `cause` is
    /// the link that it came over.
    pub(crate) fn return_frame(
        &mut self,
        cause: Option<LinkId>,
        frame: &Frame,
        reason: Reason,
        text: &str,
    ) {
        let header = &frame.header;
        let handle = match header.kind {
            Kind::Open => header.reply_to,
            Kind::Data => header.handle,
            _ => return,
        };
        if let Some(id) = self
            .connected_by(header)
            .filter(|id| self.router.link_down(*id).is_none())
        {
            // Nodes on the path have added a route for the new context.
            let text = shortened(text, TEXT_LIMIT).to_owned();
            self.tell_parent(&RouteNews::Gone {
                contexts: vec![id],
                reason,
                text,
            });
        }
        let letter = DeadLetter {
            reason,
            by: self.id(),
            text: shortened(text, TEXT_LIMIT).into(),
        };
        let flow = FlowKey {
            peer: header.dst,
            handle,
            opener: header.flags.has(Flags::OPENER),
        };
        if header.src == self.id() {
            return self.close(flow, letter);
        }
        let dead = Header {
            handle,
            flags: Flags::default().with(Flags::OPENER, flow.opener),
            reply_to: Handle(header.dst.0),
            streams: header.streams,
            ..Header::new(Kind::Dead, self.id(), header.src)
        };
        let dead = Frame::new(dead, codec::own(&letter));
        if let Verdict::Forward(link) = self.router.route(None, &dead.header) {
            // If the queue is full, the source does not read its frames, and would not read this
            // one.
            let _full = self.enqueue(cause, link, dead);
        }
    }
}

fn id_at(payload: &[u8], at: usize) -> Option<ContextId> {
    let id = payload.get(at..at + 4)?;
    Some(ContextId(u32::from_le_bytes([id[0], id[1], id[2], id[3]])))
}
