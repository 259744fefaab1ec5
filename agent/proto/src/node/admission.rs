//! The admission of requests: which flows a peer may open to the services of a node, and how many.

use crate::error::reason::Reason;
use crate::flow::RecvCredit;
use crate::id::ContextId;
use crate::id::FlowKey;
use crate::id::Handle;
use crate::id::LinkId;
use crate::node::event::Event;
use crate::node::flow::Flow;
use crate::node::machine::Node;
use crate::node::machine::OFFENCES;
use crate::routing::Policy;
use crate::wire::Flags;
use crate::wire::Frame;
use crate::wire::Header;
use alloc::format;
use alloc::string::String;
use tracing::Level;

/// Maximum number of flows of one node.
const FLOWS_PER_NODE: usize = 1 << 20;

/// Maximum number of open requests of one link from contexts that are not obeyed. The node answers
/// them at once, so more indicate abuse.
const UNPRIVILEGED_FLOWS: u32 = 4096;

/// Maximum number of open requests of one context to services of the tree.
const UNPRIVILEGED_FLOWS_EACH: usize = 16;

/// Maximum number of open requests of one context to services of a program.
const OFFERED_EACH: usize = 256;

fn is_offered(service: Handle) -> bool {
    service >= Handle::FIRST_CUSTOM
}

impl Node {
    /// Checks that a flow to a service may be opened now. Returns the reason if not.
    fn admit(&mut self, from: Option<LinkId>, header: &Header) -> Result<(), (Reason, String)> {
        let service = || format!("service {}", header.handle.0);
        let Some(policy) = self.services.get(&header.handle) else {
            return Err((Reason::NoHandle, service()));
        };
        let link = from.and_then(|link| self.links.get(&link));
        if !self
            .router
            .permits(*policy, header.auth, link.and_then(|link| link.child))
        {
            self.tell_refusal(from, header.auth, &service());
            return Err((Reason::Refused, service()));
        }
        if let Some(link) =
            link.filter(|_| !self.router.permits(Policy::Ancestors, header.auth, None))
        {
            let offered = is_offered(header.handle);
            let most = if offered {
                OFFERED_EACH
            } else {
                UNPRIVILEGED_FLOWS_EACH
            };
            if link.unprivileged_flows >= UNPRIVILEGED_FLOWS
                || self.flows.requests_of(header.src, offered) >= most
            {
                return Err((Reason::QueueFull, "too many open requests".into()));
            }
        }
        Ok(())
    }

    /// Handles a request to open a flow.
    pub(crate) fn deliver_open(&mut self, from: Option<LinkId>, mut frame: Frame) {
        let header = frame.header;
        if let Err((reason, text)) = self.admit(from, &header) {
            self.return_frame(from, &frame, reason, &text);
            return self.count_refusal(header.src, header.auth);
        }
        // Contexts that are not obeyed may use services as well, within limits.
        let unprivileged = !self.router.permits(Policy::Ancestors, header.auth, None);
        let account = from.filter(|_| unprivileged);
        let first = FlowKey {
            peer: header.src,
            handle: header.reply_to,
            opener: false,
        };
        let key = |number: u8| FlowKey {
            handle: Handle(first.handle.0.wrapping_add(number.into())),
            ..first
        };
        let crowded = self.flows.len() + usize::from(header.streams) >= FLOWS_PER_NODE;
        let taken = (0..=header.streams.min(8)).any(|number| self.flows.contains(key(number)));
        let end = header.flags.has(Flags::END);
        let incoming = || {
            if unprivileged {
                RecvCredit::lent()
            } else {
                RecvCredit::default()
            }
        };
        let offered = is_offered(header.handle);
        let mut state = Flow {
            unprivileged: account,
            incoming: incoming(),
            offered,
            ..Flow::default()
        };
        let too_much = state.incoming.receive(0, frame.payload.len(), end).is_err();
        if header.streams > 8 || crowded || taken || too_much {
            self.return_frame(
                from,
                &frame,
                Reason::Violation,
                "a flow that cannot be opened",
            );
            return self.expel(
                header.src,
                &format!("{} opens flows that cannot be", header.src),
            );
        }
        if header.flags.has(Flags::FULL) {
            state.incoming.full();
        }
        let mut child = None;
        if header.handle == Handle::CONNECT {
            let id = ContextId(header.offset as u32);
            let Some(link) = self.add_child(id) else {
                return self.return_frame(
                    from,
                    &frame,
                    Reason::Refused,
                    &format!("the number {id} is in use"),
                );
            };
            child = Some((id, link));
        }
        if let Some(state) = account.and_then(|link| self.links.get_mut(&link)) {
            state.unprivileged_flows += 1 + u32::from(header.streams);
        }
        self.flows.insert(first, state);
        for stream in 0..header.streams {
            let mut state = Flow {
                unprivileged: account,
                incoming: incoming(),
                offered,
                ..Flow::default()
            };
            if header.answering & 1 << stream != 0 {
                state.incoming.close();
            } else {
                state.outgoing.close();
            }
            self.flows.insert(key(1 + stream), state);
        }
        let bytes = core::mem::take(&mut frame.payload);
        let Header {
            handle: service,
            auth,
            streams,
            ..
        } = header;
        self.events.push_back(Event::Opened {
            flow: first,
            service,
            auth,
            streams,
            child,
            bytes,
            end,
        });
    }

    /// Refuses a flow that its peer was not permitted to open, and logs that.
    pub fn refuse(&mut self, flow: FlowKey, auth: ContextId, what: &str) {
        self.tell_refusal(self.router.link_to(flow.peer), auth, what);
        self.reset(
            flow,
            Reason::Refused,
            &format!("{what} is for those above it"),
        );
        self.count_refusal(flow.peer, auth);
    }

    fn tell_refusal(&mut self, from: Option<LinkId>, auth: ContextId, what: &str) {
        let Some(state) = from.and_then(|link| self.links.get_mut(&link)) else {
            return;
        };
        // Limited, because a child could flood the log.
        state.refusals = state.refusals.saturating_add(1);
        if state.refusals < OFFENCES {
            self.say(Level::WARN, format!("refused {auth} {what}"));
        }
    }

    /// Expels a context that keeps opening flows after refusals. A correct peer reads its answers.
    fn count_refusal(&mut self, peer: ContextId, auth: ContextId) {
        if !self.router.permits(Policy::Ancestors, auth, None)
            && !self.flows.refused(peer, self.now)
        {
            self.expel(peer, "it keeps asking for what it is refused");
        }
    }
}
