//! Access for fuzz targets to parts of the agent that are not pure; compiled with the feature
//! `testing` only.

use crate::broker;
use crate::channel::pipe::{Reader, Writer};
use crate::channel::{Receiver, Sender};
use crate::context::Context;
use crate::context::disclosures::DisclosureLog;
use crate::context::transfer;
use crate::runtime::handle::NodeHandle;
use crate::runtime::image_store::Images;
use crate::runtime::role::NodeRole;
use offshoot_proto::node::{Event, Node};
use offshoot_proto::routing::Origin;
use offshoot_proto::wire::Header;
use offshoot_proto::{ContextId, Error, Handle};
use std::sync::Arc;

/// Hands a log record to a root.
pub fn log_arrived(bytes: &[u8]) {
    crate::log::root::arrived("fuzz", ContextId(7), bytes);
}

/// A root that decodes messages and acts on none: it has no broker.
pub struct Reading(Context);

/// The number of types that a message can be decoded as.
pub const READINGS: usize = 6;

/// The outcome of decoding a message.
#[derive(Debug)]
pub struct Read {
    /// The contexts in the message.
    pub contexts: Result<Vec<ContextId>, Error>,
    /// The headers of the frames that were sent, with the lengths of their payloads.
    pub sent: Vec<(Header, usize)>,
    /// The services of the root itself that were opened.
    pub opened: Vec<Handle>,
}

impl Default for Reading {
    fn default() -> Self {
        let images = Images::found(Box::new(|_| Err(Error::ShutDown)));
        let shared = NodeHandle::new(Node::root(), images).expect("the system has descriptors");
        broker::dispatch::serve(&shared, &NodeRole::Root);
        shared.lock().node.show_frames(true);
        Self(Context::new(&shared, ContextId::ROOT, "controller".into()))
    }
}

impl Reading {
    /// Adds a context as a child of another, with its name if there is one.
    pub fn add(&self, id: ContextId, parent: ContextId, name: Option<&str>) {
        let mut core = self.0.node().lock();
        if parent == ContextId::ROOT {
            let link = core.node.add_child(id).expect("it is new");
            core.node.link_up(link);
        } else {
            let link = core.node.router.link_down(parent).expect("it is there");
            assert!(core.node.router.add(id, link, parent), "it is new");
        }
        if let Some(name) = name {
            core.names.insert(id, name.into());
        }
    }

    /// Records that this process has disclosed the context `of` to `who`.
    pub fn tell(&self, who: ContextId, of: ContextId) {
        let memory = DisclosureLog::of(&self.0);
        memory.tell(&self.0.node().lock(), who, of, None);
    }

    /// Decodes a message from a context as one of the [`READINGS`] types, and drops the value.
    pub fn read(&self, how: usize, from: ContextId, bytes: &[u8]) -> Read {
        let message = Arc::new(bytes.to_vec());
        let from = (Origin::of(from), "whoever says it");
        let ids = |contexts: Vec<Context>| contexts.iter().map(Context::id).collect();
        let contexts =
            match how {
                0 => transfer::decode_incoming(&self.0, from, &message, 0)
                    .map(|context| ids(vec![context])),
                1 => transfer::decode_incoming::<Sender<u8>>(&self.0, from, &message, 0)
                    .map(|_| Vec::new()),
                2 => transfer::decode_incoming::<Receiver<u8>>(&self.0, from, &message, 0)
                    .map(|_| Vec::new()),
                3 => transfer::decode_incoming::<Writer>(&self.0, from, &message, 0)
                    .map(|_| Vec::new()),
                4 => transfer::decode_incoming::<Reader>(&self.0, from, &message, 0)
                    .map(|_| Vec::new()),
                _ => transfer::decode_incoming::<Vec<(Context, Option<Sender<u8>>)>>(
                    &self.0, from, &message, 0,
                )
                .map(|all| ids(all.into_iter().map(|(context, _)| context).collect())),
            };
        let mut core = self.0.node().lock();
        let links = core
            .node
            .router
            .below()
            .map(|(_, link)| link)
            .collect::<Vec<_>>();
        for link in links {
            core.node.transmit(link, &mut Vec::new(), usize::MAX);
        }
        let (mut sent, mut opened) = (Vec::new(), Vec::new());
        while let Some(event) = core.node.poll_event() {
            match event {
                Event::Opened { service, .. } => opened.push(service),
                Event::Frame(frame) => sent.push((frame.header, frame.length)),
                _ => {}
            }
        }
        Read {
            contexts,
            sent,
            opened,
        }
    }
}
