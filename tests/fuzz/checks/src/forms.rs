//! The encoded messages between nodes: encoded from values, and decoded and encoded again.

use offshoot_agent::stock::Facts;
use offshoot_codec::{self as codec, Secret};
use offshoot_proto::connect::dialogue::Rule;
use offshoot_proto::log::LogRecord;
use offshoot_proto::message::boot::BootInfo;
use offshoot_proto::message::call::CallHeader;
use offshoot_proto::message::channel::{EndpointRole, MessageBuffer, RecvError};
use offshoot_proto::message::connect::ConnectRequest;
use offshoot_proto::message::detach::DetachRequest;
use offshoot_proto::message::exec::{ExecReply, ExecRequest, Lifetime, SignalRequest};
use offshoot_proto::message::handshake::{Connected, Hello};
use offshoot_proto::message::prompt::PromptRequest;
use offshoot_proto::message::routes::RouteNews;
use offshoot_proto::message::{chain, channel, outcome, record};
use offshoot_proto::{ConnectError, ContextId, DeadLetter, Error, Handle, Reason};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Decodes a message and encodes the value.
pub type Again = fn(&[u8]) -> Option<Vec<u8>>;

/// All messages, by name.
pub const MESSAGES: &[(&str, Again)] = &[
    ("hello", own::<Hello>),
    ("boot", own::<BootInfo>),
    ("connect", own::<ConnectRequest>),
    ("connected", own::<Connected>),
    ("prompt", own::<PromptRequest>),
    ("order", own::<ExecRequest>),
    ("exit", own::<ExecReply>),
    ("dead letter", own::<DeadLetter>),
    ("error", own::<Error>),
    ("connect error", own::<ConnectError>),
    ("rule", own::<Rule>),
    ("secret", own::<Secret>),
    ("context", own::<ContextId>),
    ("facts", again::<Facts>),
    ("strings", own::<Vec<String>>),
    ("log record", own::<LogRecord>),
    ("detach", own::<DetachRequest>),
    ("signal", own::<SignalRequest>),
    ("news", own::<RouteNews>),
    ("expel", own::<(ContextId, String)>),
];

fn again<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<Vec<u8>> {
    let value: T = codec::from_bytes(bytes).ok()?;
    Some(codec::to_bytes(&value).expect("what was read can be written"))
}

/// Does the same for the tree's own decoder. Both decoders return the same value, or both refuse
/// the bytes.
fn own<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<Vec<u8>> {
    let written = again::<T>(bytes);
    let own = codec::from_own::<T>(bytes)
        .ok()
        .map(|value| codec::to_bytes(&value).expect("it was read"));
    assert_eq!(own, written, "one way reads what the other does not");
    written
}

/// Returns an encoded hello.
pub fn hello(build: u64, process: u32, machine: &str, version: &str) -> Vec<u8> {
    let functions = vec![u64::from(process); 3];
    let hello = Hello {
        build,
        process,
        machine: machine.into(),
        version: version.into(),
        functions,
    };
    codec::to_bytes(&hello).expect("a hello can be written")
}

/// Returns an encoded reply to a connect request.
pub fn connected(process: u32, machine: &str, attempts: u8) -> Vec<u8> {
    let functions = vec![u64::from(process); 3];
    let connected = Connected {
        process,
        machine: machine.into(),
        attempts,
        functions,
    };
    codec::to_bytes(&connected).expect("an answer can be written")
}

/// Returns an encoded request to run a program.
pub fn order(
    argv: Vec<Vec<u8>>,
    env: Vec<(Vec<u8>, Vec<u8>)>,
    directory: Option<Vec<u8>>,
) -> Vec<u8> {
    let order = ExecRequest {
        argv,
        env,
        clear_env: false,
        directory,
        tie: Lifetime::Free("backup".into()),
        end_all: false,
        wait_streams: 1000,
        grace: 400,
    };
    codec::to_bytes(&order).expect("an order can be written")
}

/// Returns an encoded request to detach a program.
pub fn detach(program: Handle, name: &str) -> Vec<u8> {
    codec::to_bytes(&DetachRequest {
        program,
        name: name.into(),
    })
    .expect("an order can be written")
}

/// Returns the encoded news of a new context.
pub fn added(id: ContextId, parent: ContextId) -> Vec<u8> {
    codec::to_bytes(&RouteNews::Added(id, parent)).expect("news can be written")
}

/// Returns the encoded news of lost contexts.
pub fn gone(contexts: Vec<ContextId>, reason: Reason, text: &str) -> Vec<u8> {
    codec::to_bytes(&RouteNews::Gone {
        contexts,
        reason,
        text: text.into(),
    })
    .expect("news can be written")
}

/// Returns an encoded call.
pub fn call(name: &str, arguments: &[u8]) -> Vec<u8> {
    let left_ms = (!arguments.is_empty()).then_some(1000);
    [
        &CallHeader {
            name,
            cast: false,
            left_ms,
        }
        .encode(),
        arguments,
    ]
    .concat()
}

/// Returns an encoded log record.
pub fn log_record(target: &str, text: &str) -> Vec<u8> {
    LogRecord::of(offshoot_proto::log::Level::INFO, target, text).encode()
}

/// Decodes a reply, as its waiter does.
///
/// # Errors
/// Returns the error in the reply, or an error if the reply cannot be decoded.
pub fn reply(bytes: &[u8]) -> Result<Vec<String>, Error> {
    outcome::read_value("fuzz", bytes)
}

/// Returns a reply with a value.
pub fn value(value: &Vec<String>) -> Vec<u8> {
    outcome::value(value)
}

/// Returns a reply with an error.
pub fn failed(error: &Error) -> Vec<u8> {
    outcome::failed(error)
}

/// The kinds of the records of a chain: a call, the end of a failure, a cancelled call.
pub const CHAIN_KINDS: [u8; 3] = [chain::CALL, chain::RESET, chain::CANCEL];

/// The kinds of the records for the receiver of a channel: a value, an error that a sender reports,
/// the loss of a sender.
pub const CHANNEL_KINDS: [u8; 3] = [channel::VALUE, channel::FAILED, channel::LOST];

/// Returns a record of a chain or a channel.
pub fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    record::record(kind, content)
}

/// Removes the next record from the front of the received bytes.
///
/// # Errors
/// Returns an error if it is longer than `limit`.
pub fn take_record(
    bytes: &mut Vec<u8>,
    at: &mut usize,
    limit: usize,
) -> Result<Option<(u8, Vec<u8>)>, usize> {
    record::take_record(bytes, at, limit)
}

/// Decodes the greeting of an end of a channel, as its hub does: true for a receiver, the key, and
/// the number of the copy.
#[must_use]
pub fn greeting(bytes: &[u8]) -> Option<(bool, u64, u64)> {
    channel::greeting(bytes).map(|(role, key, copy)| (role == EndpointRole::Reader, key, copy))
}

/// Returns the greeting of an end of a channel.
pub fn greet(receives: bool, key: u64, copy: u64) -> Vec<u8> {
    let role = if receives {
        EndpointRole::Reader
    } else {
        EndpointRole::Writer
    };
    channel::Address {
        context: ContextId::ROOT,
        number: 256,
        key,
    }
    .greeting(role, copy)
}

/// The buffered messages of a receiver.
#[derive(Default)]
pub struct Receiving(MessageBuffer);

impl Receiving {
    /// Adds bytes that have arrived, an end, or an error.
    pub fn take(&mut self, chunk: Result<Option<Vec<u8>>, Error>) -> usize {
        self.0.take(chunk)
    }

    /// Returns the next message, or the reason why there is none; none if more bytes are needed.
    pub fn receive(&mut self) -> Option<Result<Vec<u8>, RecvError>> {
        self.0
            .pop()
            .map(|received| received.map(|(_, content)| content))
    }
}
