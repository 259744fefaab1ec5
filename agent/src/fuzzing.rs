//! The messages that only agents speak, opened to the fuzz targets; compiled with the feature `fuzzing` alone.
//!
//! Their types stay private: a fuzz target has bytes, and asks what becomes of them. It holds no logic of its own.

use crate::broker::{self, Chain, Connected, Head, Hello};
use crate::channel::{Partial, Receiver, RecvError, Sender};
use crate::codec;
use crate::connect::ConnectRequest;
use crate::connect::dialogue::Rule;
use crate::context::Context;
use crate::error::{ConnectError, DeadLetter, Error, Reason};
use crate::hub::{self, Role};
use crate::id::{ContextId, Handle};
use crate::images::Images;
use crate::log::LogRecord;
use crate::node::{Boot, Event, Node, RouteNews};
use crate::program::{DetachOrder, End, Order, SignalOrder, Tie};
use crate::remote;
use crate::secret::Secret;
use crate::shared::Shared;
use crate::stock::Facts;
use crate::stream::{Reader, Writer};
use crate::told::{Memory, Origin};
use crate::travel;
use crate::wire::Header;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Reads bytes as a message and writes what was read.
pub type Again = fn(&[u8]) -> Option<Vec<u8>>;

/// Every message that travels, by name.
pub const MESSAGES: &[(&str, Again)] = &[
    ("hello", own::<Hello>),
    ("boot", own::<Boot>),
    ("connect", own::<ConnectRequest>),
    ("connected", own::<Connected>),
    ("order", own::<Order>),
    ("exit", own::<End>),
    ("dead letter", own::<DeadLetter>),
    ("error", own::<Error>),
    ("connect error", own::<ConnectError>),
    ("rule", own::<Rule>),
    ("secret", own::<Secret>),
    ("context", own::<ContextId>),
    ("facts", again::<Facts>),
    ("strings", own::<Vec<String>>),
    ("log record", own::<LogRecord>),
    ("detach", own::<DetachOrder>),
    ("signal", own::<SignalOrder>),
    ("news", own::<RouteNews>),
    ("expel", own::<(ContextId, String)>),
];

fn again<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<Vec<u8>> {
    let value: T = codec::from_bytes(bytes).ok()?;
    Some(codec::to_bytes(&value).expect("what was read can be written"))
}

/// The same for what the tree reads in a way of its own: both ways read the same, or neither does.
fn own<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<Vec<u8>> {
    let written = again::<T>(bytes);
    let own = codec::from_own::<T>(bytes).ok().map(|value| codec::to_bytes(&value).expect("it was read"));
    assert_eq!(own, written, "one way reads what the other does not");
    written
}

/// How many entries of its maps, tables and lists the nodes of this thread have looked at so far.
#[must_use]
pub fn steps() -> u64 {
    crate::steps::counted()
}

/// A hello's bytes.
pub fn hello(build: u64, process: u32, machine: &str, version: &str) -> Vec<u8> {
    let functions = vec![u64::from(process); 3];
    let hello = Hello { build, process, machine: machine.into(), version: version.into(), functions };
    codec::to_bytes(&hello).expect("a hello can be written")
}

/// The bytes of an answer to a connect.
pub fn connected(process: u32, machine: &str, attempts: u8) -> Vec<u8> {
    let functions = vec![u64::from(process); 3];
    let connected = Connected { process, machine: machine.into(), attempts, functions };
    codec::to_bytes(&connected).expect("an answer can be written")
}

/// The bytes of an order to run a program.
pub fn order(argv: Vec<Vec<u8>>, env: Vec<(Vec<u8>, Vec<u8>)>, directory: Option<Vec<u8>>) -> Vec<u8> {
    let order = Order {
        argv,
        env,
        clear_env: false,
        directory,
        tie: Tie::Free("backup".into()),
        end_all: false,
        wait_streams: 1000,
        grace: 400,
    };
    codec::to_bytes(&order).expect("an order can be written")
}

/// The bytes of an order to let a program go.
pub fn detach(program: Handle, name: &str) -> Vec<u8> {
    codec::to_bytes(&DetachOrder { program, name: name.into() }).expect("an order can be written")
}

/// The news of a context that came to be.
pub fn added(id: ContextId, parent: ContextId) -> Vec<u8> {
    codec::to_bytes(&RouteNews::Added(id, parent)).expect("news can be written")
}

/// The news of contexts that are no more.
pub fn gone(contexts: Vec<ContextId>, reason: Reason, text: &str) -> Vec<u8> {
    codec::to_bytes(&RouteNews::Gone { contexts, reason, text: text.into() }).expect("news can be written")
}

/// The sum of the first 44 bytes of a header that is the frame of that number on its link.
pub fn header_sum(header: &[u8], sequence: u32) -> u32 {
    crate::wire::header_sum(header, sequence)
}

/// The bytes of a call.
pub fn call(name: &str, arguments: &[u8]) -> Vec<u8> {
    let left_ms = (!arguments.is_empty()).then_some(1000);
    [&Head { name, cast: false, left_ms }.encode(), arguments].concat()
}

/// What a root does with a log record.
pub fn log_arrived(bytes: &[u8]) {
    crate::log::arrived("fuzz", ContextId(7), bytes);
}

/// The bytes of a log record.
pub fn log_record(target: &str, text: &str) -> Vec<u8> {
    crate::log::LogRecord::of(tracing::Level::INFO, target, text).encode()
}

/// A reply as the one who waits for it reads it.
///
/// # Errors
/// What the reply says, or that it says nothing.
pub fn reply(bytes: &[u8]) -> Result<Vec<String>, Error> {
    remote::read_value("fuzz", bytes)
}

/// The reply with a value.
pub fn value(value: &Vec<String>) -> Vec<u8> {
    remote::value(value)
}

/// The reply with an error.
pub fn failed(error: &Error) -> Vec<u8> {
    remote::failed(error)
}

/// The kinds of the records of a chain: a call, the end of a failure, a call that is given up.
pub const CHAIN_KINDS: [u8; 3] = [broker::CALL, broker::RESET, broker::CANCEL];
/// The kinds of the records of a channel that a receiver is told: a value, an error of a sender's, the loss of one.
pub const CHANNEL_KINDS: [u8; 3] = [hub::VALUE, hub::FAILED, hub::LOST];

/// A record of a chain or a channel.
pub fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    broker::record(kind, content)
}

/// Takes the next record off the front of what has come.
///
/// # Errors
/// When it is longer than `limit`.
pub fn take_record(
    bytes: &mut Vec<u8>,
    at: &mut usize,
    limit: usize,
) -> Result<Option<(u8, Vec<u8>)>, usize> {
    broker::take_record(bytes, at, limit)
}

/// What an end of a channel says first, as its hub reads it: whether it receives, the key, and which copy.
#[must_use]
pub fn greeting(bytes: &[u8]) -> Option<(bool, u64, u64)> {
    hub::greeting(bytes).map(|(role, key, copy)| (role == Role::Reader, key, copy))
}

/// What an end of a channel says first.
pub fn greet(receives: bool, key: u64, copy: u64) -> Vec<u8> {
    let role = if receives { Role::Reader } else { Role::Writer };
    hub::Address { context: ContextId::ROOT, number: 256, key }.greeting(role, copy)
}

/// What a receiver has of its messages.
#[derive(Default)]
pub struct Receiving(Partial);

impl Receiving {
    /// Bytes that have come, or nothing more comes, or an error says why.
    pub fn take(&mut self, chunk: Result<Option<Vec<u8>>, Error>) -> usize {
        self.0.take(chunk)
    }

    /// The next message, or why there is none; nothing where more has to come first.
    pub fn receive(&mut self) -> Option<Result<Vec<u8>, RecvError>> {
        self.0.next().map(|received| received.map(|(_, content)| content))
    }
}

/// What a chain has of its calls, where they run.
pub struct Called(Chain);

impl Default for Called {
    fn default() -> Called {
        Called(Chain::new(ContextId::ROOT))
    }
}

impl Called {
    /// Bytes that have come.
    ///
    /// # Errors
    /// When a record is longer than any may be.
    pub fn take(&mut self, bytes: &[u8]) -> Result<bool, usize> {
        self.0.take(bytes, false, 0)
    }

    /// The records that wait, with the number of each and its kind, and how many bytes they are taken to be.
    pub fn waiting(&self) -> (impl Iterator<Item = (u32, u8, &[u8])>, usize) {
        self.0.waiting()
    }
}

/// A root that reads what others say, and does nothing of it: it has no broker.
pub struct Reading(Context);

/// What a message is read as.
pub const READINGS: usize = 6;

/// What came of reading a message: the contexts that it gave, the frames that went out with the lengths of what they carry, and the
/// services of the root itself that were opened.
#[derive(Debug)]
pub struct Read {
    /// The contexts.
    pub contexts: Result<Vec<ContextId>, Error>,
    /// The frames.
    pub sent: Vec<(Header, usize)>,
    /// The services.
    pub opened: Vec<Handle>,
}

impl Default for Reading {
    fn default() -> Reading {
        let images = Images::found(Box::new(|_| Err(Error::ShutDown)));
        let shared = Shared::new(Node::root(), images).expect("the system has descriptors");
        broker::serve(&shared, &broker::Place::Root);
        shared.lock().node.show_frames(true);
        Reading(Context::new(&shared, ContextId::ROOT, "controller".into()))
    }
}

impl Reading {
    /// A context, as a child of another; its name, if it is known.
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

    /// This process tells a context of another.
    pub fn tell(&self, who: ContextId, of: ContextId) {
        let memory = Memory::of(&self.0);
        memory.tell(&self.0.node().lock(), who, of, None);
    }

    /// Reads a message from a context, by one of the [`READINGS`], and lets go of what it gave.
    pub fn read(&self, how: usize, from: ContextId, bytes: &[u8]) -> Read {
        let message = Arc::new(bytes.to_vec());
        let from = (Origin::of(from), "whoever says it");
        let ids = |contexts: Vec<Context>| contexts.iter().map(Context::id).collect();
        let contexts = match how {
            0 => travel::arrive(&self.0, from, &message, 0).map(|context| ids(vec![context])),
            1 => travel::arrive::<Sender<u8>>(&self.0, from, &message, 0).map(|_| Vec::new()),
            2 => travel::arrive::<Receiver<u8>>(&self.0, from, &message, 0).map(|_| Vec::new()),
            3 => travel::arrive::<Writer>(&self.0, from, &message, 0).map(|_| Vec::new()),
            4 => travel::arrive::<Reader>(&self.0, from, &message, 0).map(|_| Vec::new()),
            _ => travel::arrive::<Vec<(Context, Option<Sender<u8>>)>>(&self.0, from, &message, 0)
                .map(|all| ids(all.into_iter().map(|(context, _)| context).collect())),
        };
        let mut core = self.0.node().lock();
        let links = core.node.router.below().map(|(_, link)| link).collect::<Vec<_>>();
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
        Read { contexts, sent, opened }
    }
}
