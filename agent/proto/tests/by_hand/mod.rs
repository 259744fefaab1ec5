//! A tree of nodes in one thread, driven by hand, for tests of single rules. The simulator runs
//! whole lives of trees.

#![allow(dead_code)] // Each test program uses its part of it.

use offshoot_proto::Reason;
use offshoot_proto::log::Filter;
use offshoot_proto::message::boot::BootInfo;
use offshoot_proto::node::{Event, Node, Opening};
use offshoot_proto::routing::Policy;
use offshoot_proto::wire::{Decoder, Header, Kind, encode};
use offshoot_proto::{ContextId, FlowKey, Handle, LinkId};
use std::collections::HashMap;

/// A context with its events.
pub(crate) struct Place {
    pub node: Node,
    pub events: Vec<Event>,
}

/// A tree, indexed by context number.
pub(crate) struct Tree {
    pub places: HashMap<ContextId, Place>,
    /// Each parent with its link, and the child at the other end, whose only link leads up.
    pub cables: Vec<(ContextId, LinkId, ContextId)>,
    /// Contexts that are not up yet: parent, link, and child.
    pub connecting: Vec<(ContextId, LinkId, ContextId)>,
    /// Decoded frames of each child to its parent, and their number.
    sent: HashMap<ContextId, (Decoder, u32)>,
    /// Log messages of the nodes.
    #[allow(dead_code, reason = "not every test looks at it")]
    pub said: Vec<String>,
}

pub(crate) const UP: LinkId = LinkId(0);

fn services(node: &mut Node) {
    for service in [Handle::CALL, Handle::CONNECT] {
        node.serve(service, Policy::Ancestors);
    }
}

impl Tree {
    pub(crate) fn new() -> Self {
        let mut node = Node::root();
        services(&mut node);
        node.serve(Handle::ALLOCATE, Policy::Descendants);
        let places = HashMap::from([(
            ContextId::ROOT,
            Place {
                node,
                events: Vec::new(),
            },
        )]);
        Self {
            places,
            cables: Vec::new(),
            connecting: Vec::new(),
            sent: HashMap::new(),
            said: Vec::new(),
        }
    }

    pub(crate) fn node(&mut self, id: u32) -> &mut Node {
        &mut self
            .places
            .get_mut(&ContextId(id))
            .expect("the test made it")
            .node
    }

    /// Has the root order `parent` to connect `child`.
    pub(crate) fn order(&mut self, parent: u32, child: u32) -> FlowKey {
        let opening = Opening {
            new_context: Some(ContextId(child)),
            secret: true,
            ..Opening::default()
        };
        self.node(0)
            .open(ContextId(parent), Handle::CONNECT, b"recipe", opening)
            .0
    }

    /// Carries bytes until nothing moves.
    pub(crate) fn settle(&mut self) {
        loop {
            let mut moved = false;
            let ids: Vec<_> = self.places.keys().copied().collect();
            for id in ids {
                let place = self.places.get_mut(&id).expect("it is there");
                while let Some(event) = place.node.poll_event() {
                    if let Event::Opened {
                        child: Some((child, link)),
                        ..
                    } = &event
                    {
                        self.connecting.push((id, *link, *child));
                    }
                    match event {
                        Event::Say(_, text) => self.said.push(text),
                        event => place.events.push(event),
                    }
                    moved = true;
                }
                place.node.take_dirty();
            }
            for index in 0..self.cables.len() {
                let (parent, link, child) = self.cables[index];
                moved |= self.carry(parent, link, child, UP);
                moved |= self.carry(child, UP, parent, link);
            }
            if !moved {
                return;
            }
        }
    }

    pub(crate) fn carry(
        &mut self,
        from: ContextId,
        over: LinkId,
        to: ContextId,
        into: LinkId,
    ) -> bool {
        let mut bytes = Vec::new();
        if let Some(place) = self.places.get_mut(&from) {
            place.node.transmit(over, &mut bytes, 4096);
        }
        if over == UP {
            let (decoder, count) = self.sent.entry(from).or_default();
            let mut left = &bytes[..];
            while let Ok(Some(_)) = decoder.next_frame(&mut left) {
                *count += 1;
            }
        }
        if let Some(place) = self.places.get_mut(&to) {
            place.node.receive(into, &bytes);
        }
        !bytes.is_empty()
    }

    /// Brings up the agent of a context that is being connected.
    pub(crate) fn bring_up(&mut self, child: u32) {
        let child = ContextId(child);
        let at = self
            .connecting
            .iter()
            .position(|(_, _, other)| *other == child)
            .expect("it was ordered");
        let (parent, link, _) = self.connecting.remove(at);
        let parent_node = &mut self.places.get_mut(&parent).expect("it is there").node;
        let mut ancestors = vec![parent];
        ancestors.extend_from_slice(parent_node.router.ancestors());
        parent_node.boot(
            link,
            &BootInfo {
                id: child,
                ancestors,
                name: "test".into(),
                filter: Filter::default(),
                heartbeat: 0,
            },
        );
        let (mut node, _) = Node::agent();
        services(&mut node);
        node.control(UP, Kind::Hello, Vec::new());
        self.places.insert(
            child,
            Place {
                node,
                events: Vec::new(),
            },
        );
        self.cables.push((parent, link, child));
        self.settle();
        self.places
            .get_mut(&parent)
            .expect("it is there")
            .node
            .link_up(link);
        self.settle();
    }

    /// Returns a tree in which each pair (parent, child) is connected.
    pub(crate) fn grown(pairs: &[(u32, u32)]) -> Self {
        let mut tree = Self::new();
        for &(parent, child) in pairs {
            tree.order(parent, child);
            tree.settle();
            tree.bring_up(child);
        }
        for place in tree.places.values_mut() {
            place.events.clear();
        }
        tree
    }

    pub(crate) fn events(&mut self, id: u32) -> Vec<Event> {
        std::mem::take(
            &mut self
                .places
                .get_mut(&ContextId(id))
                .expect("it is there")
                .events,
        )
    }

    /// Answers all requests to context `id` with the same bytes.
    pub(crate) fn echo(&mut self, id: u32) {
        for event in self.events(id) {
            if let Event::Opened { flow, bytes, .. } = event {
                self.node(id).send(flow, &bytes, true, false);
            }
        }
        self.settle();
    }

    pub(crate) fn call(&mut self, from: u32, to: u32) -> FlowKey {
        self.node(from)
            .open(ContextId(to), Handle::CALL, b"hello", Opening::default())
            .0
    }

    pub(crate) fn reasons(&mut self, id: u32) -> Vec<(FlowKey, Reason, ContextId)> {
        let closed = |event: Event| match event {
            Event::Closed { flow, letter } => Some((flow, letter.reason, letter.by)),
            _ => None,
        };
        self.events(id).into_iter().filter_map(closed).collect()
    }

    pub(crate) fn answers(&mut self, id: u32) -> Vec<(FlowKey, Vec<u8>)> {
        let data = |event: Event| match event {
            Event::Data {
                flow,
                bytes,
                end: true,
            } => Some((flow, bytes)),
            _ => None,
        };
        self.events(id).into_iter().filter_map(data).collect()
    }

    /// Sends a forged frame over the link of `child` to its parent, like a hostile agent.
    pub(crate) fn forge(&mut self, child: u32, header: Header, payload: &[u8]) {
        let (parent, link, _) = *self
            .cables
            .iter()
            .find(|(_, _, id)| *id == ContextId(child))
            .expect("it is connected");
        let (_, sequence) = self.sent.entry(ContextId(child)).or_default();
        let mut bytes = Vec::new();
        encode(&header, payload, *sequence, &mut bytes);
        *sequence += 1;
        self.places
            .get_mut(&parent)
            .expect("it is there")
            .node
            .receive(link, &bytes);
        self.settle();
    }
}
