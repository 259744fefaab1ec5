//! The ways of a node: what comes over a link and may, where it goes on to, what is returned, and who is gone.

use super::{Boot, Event, Node, OFFENCES};
use crate::codec;
use crate::error::{DeadLetter, Reason};
use crate::id::{ContextId, FlowKey, Handle, LinkId};
use crate::router::Verdict;
use crate::wire::{Flags, Frame, Header, Kind, WireError};
use serde::{Deserialize, Serialize};

/// What a `Route` frame says.
#[derive(Serialize, Deserialize, Debug)]
pub(super) enum RouteNews {
    Added(ContextId),
    Gone { contexts: Vec<ContextId>, text: String },
}

impl Node {
    /// Takes bytes of a link as they came.
    pub fn receive(&mut self, link: LinkId, bytes: &[u8]) {
        let Some(state) = self.links.get_mut(&link) else { return };
        state.decoder.extend(bytes);
        loop {
            let Some(state) = self.links.get_mut(&link) else { return };
            match state.decoder.next_frame() {
                Ok(Some(frame)) => self.arrive(link, frame),
                Ok(None) => return,
                Err(error) => return self.broken(link, error),
            }
        }
    }

    pub(super) fn broken(&mut self, link: LinkId, error: WireError) {
        self.events.push_back(Event::Broken { link, why: error.to_string() });
    }

    pub(super) fn offence(&mut self, link: LinkId, what: &str, header: &Header) {
        let Some(state) = self.links.get_mut(&link) else { return };
        state.offences += 1;
        let (count, who) = (state.offences, state.child.unwrap_or(ContextId::ROOT));
        if count == OFFENCES {
            self.events.push_back(Event::Broken { link, why: format!("{who} keeps sending {what}") });
        } else if count < OFFENCES {
            let Header { src, auth, dst, .. } = header;
            tracing::warn!("dropped {what} from the link of {who}: from {src} for {auth} to {dst}");
        }
    }

    pub(super) fn arrive(&mut self, link: LinkId, frame: Frame) {
        let header = frame.header;
        if header.kind.is_link_local() {
            return self.arrive_local(link, frame);
        }
        if !self.router.believes(link, &header) {
            return self.offence(link, "a frame in another's name", &header);
        }
        self.dispatch(Some(link), frame);
    }

    pub(super) fn arrive_local(&mut self, link: LinkId, mut frame: Frame) {
        let from_parent = self.router.up() == Some(link);
        match frame.header.kind {
            Kind::Route if !from_parent => self.route_news(link, &frame),
            Kind::Boot | Kind::Shutdown if !from_parent => {
                self.offence(link, "an order that only a parent gives", &frame.header);
            }
            Kind::Boot => match codec::from_bytes::<Boot>(&frame.payload) {
                Ok(boot) => {
                    self.router.become_context(boot.id, boot.ancestors.clone());
                    self.events.push_back(Event::Boot(boot));
                }
                Err(error) => self.events.push_back(Event::Broken { link, why: format!("boot: {error}") }),
            },
            Kind::Hello | Kind::Route if from_parent => {
                self.offence(link, "news that only a child has", &frame.header);
            }
            kind => {
                let bytes = std::mem::take(&mut frame.payload);
                self.events.push_back(Event::Control { link, kind, bytes });
            }
        }
    }

    pub(super) fn route_news(&mut self, link: LinkId, frame: &Frame) {
        match codec::from_bytes(&frame.payload) {
            Ok(RouteNews::Added(id)) => {
                if self.router.add(id, link) {
                    self.tell_parent(&RouteNews::Added(id));
                } else {
                    self.offence(link, "a route that is another's", &frame.header);
                }
            }
            Ok(RouteNews::Gone { contexts, text }) => {
                let gone: Vec<_> = contexts.into_iter().filter(|id| self.router.remove(*id, link)).collect();
                self.gone(gone, text);
            }
            Err(_) => self.offence(link, "route news that cannot be read", &frame.header),
        }
    }

    pub(super) fn tell_parent(&mut self, news: &RouteNews) {
        if let (Some(up), Ok(payload)) = (self.router.up(), codec::to_bytes(news)) {
            self.control(up, Kind::Route, payload);
        }
    }

    /// Ends every flow with the contexts that are gone and passes the news on.
    pub(super) fn gone(&mut self, contexts: Vec<ContextId>, text: String) {
        if contexts.is_empty() {
            return;
        }
        self.close_flows(&text, |key| contexts.contains(&key.peer));
        self.tell_parent(&RouteNews::Gone { contexts: contexts.clone(), text });
        self.events.push_back(Event::Gone(contexts));
    }

    /// A link is no more. Everything behind it is gone; what waited for it is returned with `reason`.
    pub fn link_lost(&mut self, link: LinkId, reason: Reason, text: &str) {
        let Some(mut state) = self.links.remove(&link) else { return };
        let contexts = self.router.remove_link(link);
        for frame in state.take_all() {
            self.return_frame(&frame, reason, text);
        }
        if state.child.is_none() {
            self.close_flows(text, |_| true);
        }
        self.gone(contexts, text.into());
    }

    pub(super) fn enqueue(&mut self, link: LinkId, frame: Frame) {
        let Some(state) = self.links.get_mut(&link) else { return };
        if let Err(frame) = state.push(frame) {
            return self.return_frame(&frame, Reason::QueueFull, "it is still connecting");
        }
        if self.dirty.last() != Some(&link) {
            self.dirty.push(link);
        }
    }

    pub(super) fn dispatch(&mut self, from: Option<LinkId>, frame: Frame) {
        let header = frame.header;
        match self.router.route(from, header.dst) {
            Verdict::Here => self.deliver(from, frame),
            Verdict::Return(reason) => {
                self.return_frame(&frame, reason, &format!("on the way to {}", header.dst))
            }
            Verdict::Forward(link) => {
                // The ancestors of a context to be learn its route from the order itself, so that frames for it can
                // follow at once.
                if header.kind == Kind::Open
                    && header.handle == Handle::CONNECT
                    && header.offset != 0
                    && Some(link) != self.router.up()
                    && !self.router.add(ContextId(header.offset as u32), link)
                {
                    return self.return_frame(&frame, Reason::Refused, "its number is in use");
                }
                self.enqueue(link, frame);
            }
        }
    }

    /// Sends a frame back as a dead letter, unless it is itself an ending.
    pub(super) fn return_frame(&mut self, frame: &Frame, reason: Reason, text: &str) {
        let header = &frame.header;
        let handle = match header.kind {
            Kind::Open => header.reply_to,
            Kind::Data => header.handle,
            _ => return,
        };
        let letter = DeadLetter { reason, by: self.id(), text: text.into() };
        let flow = FlowKey { peer: header.dst, handle, opener: header.flags.has(Flags::OPENER) };
        if header.src == self.id() {
            return self.close(flow, letter);
        }
        let dead = Header {
            handle,
            flags: Flags::default().with(Flags::OPENER, flow.opener),
            reply_to: Handle(header.dst.0),
            ..Header::new(Kind::Dead, self.id(), header.src)
        };
        self.dispatch(None, Frame { header: dead, payload: codec::to_bytes(&letter).unwrap_or_default() });
    }
}
