//! Functions that can be called from another context: the trait the attribute implements, the table of an image, and how
//! outcomes travel. How errors of each type travel is in [`error_form`](crate::error_form).

use crate::call::answer::Answer;
use crate::call::answer::answer_all;
use crate::call::contained::contained;
use crate::context::Context;
use crate::context::transfer;
use crate::runtime::handle::NodeHandle;
use crate::runtime::scope::CallState;
use crate::runtime::scope::Scope;
use offshoot_codec::CodecError;
use offshoot_proto::message::outcome::failed;
use offshoot_proto::routing::Origin;
use offshoot_proto::routing::Policy;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// How a function is started.
pub type ExecutionMode = fn(Run) -> Started;

/// What came of it.
pub enum Started {
    /// It has run; its reply.
    Now(Vec<u8>),
    /// It runs, or waits for its turn.
    Later,
    /// Too much waits already.
    Full,
}

/// One call that is to be run.
pub struct Run {
    pub(crate) shared: Arc<NodeHandle>,
    pub(crate) function: &'static Function,
    /// Where it runs, within the scope of the call.
    pub(crate) context: Context,
    pub(crate) scope: Arc<Scope>,
    /// Whose it is.
    pub(crate) origin: Origin,
    /// Whether that is one whom this context obeys.
    pub(crate) obeyed: bool,
    /// The whole request, and where its arguments begin.
    pub(crate) request: Vec<u8>,
    pub(crate) at: usize,
    pub(crate) answer: Answer,
}

impl Run {
    /// Runs the function, unless it was given up while it waited; its request is of no more use then.
    pub(crate) fn perform(&mut self) -> Vec<u8> {
        let request = std::mem::take(&mut self.request);
        match self.context.check() {
            Err(error) => failed(&error),
            Ok(()) => run_contained(self.function, &self.context, self.origin, request, self.at),
        }
    }

    pub(crate) fn finish(mut self) {
        let (reply, callbacks) = transfer::encode_reply(self.origin.peer, || self.perform());
        self.scope.end(CallState::Finished);
        answer_all(&self.shared, vec![self.answer], reply, callbacks);
    }
}

/// A call of one function: its arguments, and how it runs. Implemented by `#[offshoot::remote]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no call of a remote function",
    label = "not a call",
    note = "mark the function with #[offshoot::remote] and give its arguments as fields: context.call(name {{ argument: value }})"
)]
pub trait Remote: Serialize + DeserializeOwned + Send + 'static {
    /// What the function returns.
    type Value: Serialize + DeserializeOwned + Send + 'static;
    /// Its own error; [`std::convert::Infallible`] for one that cannot fail.
    type Error: Send + 'static;
    /// The function's full name, by which an image knows it.
    const NAME: &'static str;
    /// Sums of its name and of its signature's text, by which both sides see whether they mean the same.
    const SIGNATURE: u64;
    /// Whether its callers are answered before it runs.
    const NO_REPLY: bool;
    /// Runs the function in the context `cx`.
    ///
    /// # Errors
    /// The function's own.
    fn run(self, cx: &Context) -> Result<Self::Value, Self::Error>;
    /// The function's error as it travels: its text, and itself.
    fn encode_error(error: &Self::Error) -> Result<(String, Vec<u8>), CodecError>;
    /// The function's error as it arrives.
    ///
    /// # Errors
    /// When the bytes are no such error.
    fn decode_error(bytes: &[u8]) -> Result<Self::Error, CodecError>;
}

/// One entry of the table.
pub struct Function {
    /// The full name.
    pub name: &'static str,
    /// See [`Remote::SIGNATURE`].
    pub signature: u64,
    /// Who may call it, beside the context itself.
    pub policy: Policy,
    /// Whether its callers are answered before it runs.
    pub no_reply: bool,
    /// When and on which thread it runs.
    pub way: ExecutionMode,
    /// Decodes the arguments from where they begin in a request of somebody, runs it, encodes the outcome.
    pub run: fn(&Context, Origin, Vec<u8>, usize) -> Vec<u8>,
}

offshoot_sys::distributed_slice! {
    /// All functions that are compiled into this program.
    pub static FUNCTIONS: [Function]
}

/// The sum of a function's name in the upper half, of its signature's text in the lower. Used by the attribute.
#[must_use]
pub const fn signature(name: &str, text: &str) -> u64 {
    (sum(name.as_bytes()) as u64) << 32 | sum(text.as_bytes()) as u64
}

/// FNV-1a, 32 bits.
const fn sum(bytes: &[u8]) -> u32 {
    let (mut sum, mut at) = (0x811c_9dc5_u32, 0);
    while at < bytes.len() {
        sum = (sum ^ bytes[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    sum
}

/// A function's panic is its own: where the build unwinds, the caller is told and the context lives on.
fn run_contained(
    function: &Function,
    context: &Context,
    origin: Origin,
    request: Vec<u8>,
    at: usize,
) -> Vec<u8> {
    contained(context.name(), || (function.run)(context, origin, request, at))
}
