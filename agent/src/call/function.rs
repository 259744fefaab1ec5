//! Functions that can be called from another context: the trait that the attribute implements, and
//! the table of functions in an image. [`error_form`](crate::call::error_form) encodes their
//! errors.

use crate::call::answer::Answer;
use crate::call::answer::answer_all;
use crate::call::contained::contained;
use crate::call::shape::Described;
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

/// A way to run a function, chosen by the attribute.
pub(crate) type ExecutionMode = fn(Run) -> Started;

/// The outcome of starting a function.
pub enum Started {
    /// The reply of a function that has run.
    Now(Vec<u8>),
    /// The function runs or is queued.
    Later,
    /// The queue is full.
    Full,
}

/// A call that is ready to run.
pub struct Run {
    pub(crate) shared: Arc<NodeHandle>,
    pub(crate) function: &'static Function,
    /// The context that it runs in, with the scope of the call.
    pub(crate) context: Context,
    pub(crate) scope: Arc<Scope>,
    /// The context that it came from, and the one on whose behalf.
    pub(crate) origin: Origin,
    /// True if the origin has authority over this context.
    pub(crate) obeyed: bool,
    /// The whole request, and the offset of the arguments.
    pub(crate) request: Vec<u8>,
    pub(crate) at: usize,
    pub(crate) answer: Answer,
}

impl Run {
    /// Runs the function, unless it was cancelled while it waited. The request is consumed.
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

/// A call of one function: its arguments, and the code that runs it. Implemented by
/// `#[offshoot::remote]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a call of a remote function",
    label = "not a call",
    note = "mark the function with #[offshoot::remote] and give its arguments as fields: context.call(name {{ argument: value }})"
)]
pub trait Remote: Serialize + DeserializeOwned + Send + 'static {
    /// The type of the function's value.
    type Value: Serialize + DeserializeOwned + Send + 'static;
    /// The type of the function's error; [`std::convert::Infallible`] for a function that cannot
    /// fail.
    type Error: Send + 'static;
    /// The full path of the function, by which an image finds it.
    const NAME: &'static str;
    /// Hashes of the name and of the signature, by which both sides check that they mean the same
    /// function.
    const SIGNATURE: u64;
    /// True if callers are answered before the function runs.
    const NO_REPLY: bool;
    /// The shapes of its types; none for the functions of the stock agent.
    #[doc(hidden)]
    const SHAPE: Option<&'static dyn Described> = None;
    /// Runs the function in the context `cx`.
    ///
    /// # Errors
    /// Returns the function's own error.
    fn run(self, cx: &Context) -> Result<Self::Value, Self::Error>;
    #[doc(hidden)]
    /// Encodes the function's error: its text, and the error itself.
    fn encode_error(error: &Self::Error) -> Result<(String, Vec<u8>), CodecError>;
    #[doc(hidden)]
    /// Decodes the function's error.
    ///
    /// # Errors
    /// Returns an error if the bytes are not an error of the function.
    fn decode_error(bytes: &[u8]) -> Result<Self::Error, CodecError>;
}

/// An entry of the function table. It is as long on each platform with addresses of one width, so
/// that tables can be compared.
#[repr(align(8))]
pub struct Function {
    /// The full path.
    pub name: &'static str,
    /// See [`Remote::SIGNATURE`].
    pub signature: u64,
    /// See [`Remote::SHAPE`].
    pub shape: Option<&'static dyn Described>,
    /// The contexts that may call it, in addition to its own.
    pub policy: Policy,
    /// True if callers are answered before the function runs.
    pub no_reply: bool,
    /// The thread and the order in which it runs.
    pub mode: ExecutionMode,
    /// Decodes the arguments from an offset in a request, runs the function, and encodes the
    /// outcome.
    pub run: fn(&Context, Origin, Vec<u8>, usize) -> Vec<u8>,
}

offshoot_sys::distributed_slice! {
    /// All functions in this program.
    pub static FUNCTIONS: [Function]
}

impl Function {
    /// Returns the hashes of the name and of the signature with the shapes of its types.
    pub(crate) fn whole_signature(&self) -> u64 {
        self.signature ^ self.shape.map_or(0, |shape| u64::from(shape.sum()))
    }
}

/// Checks that the arguments and the result of a function can be sent.
///
/// # Errors
/// Returns an error that names the type and its place.
pub(crate) fn check_types<F: Remote>() -> Result<(), CodecError> {
    match F::SHAPE.and_then(|shape| shape.fault()) {
        Some(fault) => Err(CodecError(format!(
            "{}: {fault}: the format cannot carry serde's `flatten`, `untagged` and `tag`, nor values of serde_json; send another \
             type, or `Json` of this one",
            F::NAME
        ))),
        None => Ok(()),
    }
}

/// Runs `work`, in which values of the function's types are encoded: they are compared with those
/// that the other side reads.
pub(crate) fn read_as<F: Remote, T>(work: impl FnOnce() -> T) -> T {
    match F::SHAPE {
        Some(shape) => offshoot_codec::read_as(Some(shape.facts()), work),
        None => work(),
    }
}

/// Runs a function and catches its panic, if the build unwinds: the caller gets an error, and the
/// context continues.
fn run_contained(
    function: &Function,
    context: &Context,
    origin: Origin,
    request: Vec<u8>,
    at: usize,
) -> Vec<u8> {
    contained(context.name(), || {
        (function.run)(context, origin, request, at)
    })
}
