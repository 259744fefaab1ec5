//! Calls that run one after the other, sent without waiting: four steps that need each other cost one round trip.
//!
//! A chain is one flow. What runs at its other end is in `broker/chains.rs`; here are the replies that come back over it.

use crate::call::function::Remote;
use crate::call::reply::Reply;
use crate::call::reply::Route;
use crate::context::Context;
use crate::runtime::handle::NodeHandle;
use crate::runtime::scope::CallState;
use crate::runtime::scope::NEVER;
use crate::runtime::scope::Scope;
use crate::runtime::slot::ReplySlot;
use crate::runtime::state::Endpoint;
use crate::runtime::state::FlowHandler;
use crate::runtime::state::NodeState;
use crate::runtime::state::Wake;
use offshoot_codec::MAX_MESSAGE;
use offshoot_proto::CallError;
use offshoot_proto::Error;
use offshoot_proto::FlowKey;
use offshoot_proto::Handle;
use offshoot_proto::Reason;
use offshoot_proto::Result;
use offshoot_proto::message::call::CallHeader;
use offshoot_proto::message::chain::CALL;
use offshoot_proto::message::chain::CANCEL;
use offshoot_proto::message::chain::RESET;
use offshoot_proto::message::record::record;
use offshoot_proto::message::record::take_record;
use offshoot_proto::node::Opening;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

impl Context {
    /// Calls that run one after the other over there, sent without waiting for those before.
    ///
    /// # Errors
    /// When the tree is shut down.
    pub fn chain(&self) -> Result<Chain> {
        Chain::open(self)
    }
}

/// Calls to one context that run there in order, one at a time. After the first that fails, all later ones fail with
/// [`Error::Chain`] and are not run, until [`reset`](Chain::reset). Different chains, and calls without one, run beside each other.
///
/// A chain ends when it and all its replies are dropped; what it was given still runs.
pub struct Chain {
    context: Context,
    link: Arc<ChainFlow>,
}

/// The flow of a chain, and those who wait for replies on it.
pub(crate) struct ChainFlow {
    shared: Arc<NodeHandle>,
    flow: FlowKey,
    replies: Arc<Replies>,
}

struct Replies {
    state: Mutex<State>,
    scope: Option<Arc<Scope>>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Arc<ReplySlot>>,
    /// The number of the next call.
    next: u32,
    partial: Vec<u8>,
    over: Option<Error>,
}

impl Chain {
    pub(crate) fn open(context: &Context) -> Result<Chain> {
        let shared = Arc::clone(context.node());
        let replies = Arc::new(Replies { state: Mutex::default(), scope: context.scope().cloned() });
        let opening = Opening { more: true, ..Opening::default() };
        let station: Arc<dyn FlowHandler> = Arc::clone(&replies) as _;
        let flow = shared.with(|core| {
            if core.stopped {
                return Err(Error::ShutDown);
            }
            Ok(core.open(context.id(), Handle::CHAIN, Vec::new(), opening, |_| Endpoint::Handler(station)))
        })?;
        Ok(Chain { context: context.clone(), link: Arc::new(ChainFlow { shared, flow, replies }) })
    }

    /// Runs a function after all that were started before, and waits for what it returns.
    ///
    /// # Errors
    /// As [`Context::call`]; [`Error::Chain`] where one before it has failed.
    pub fn call<F: Remote>(&self, function: F) -> Result<F::Value, CallError<F::Error>> {
        self.start(function).wait()
    }

    /// Has a function run after all that were started before. The reply may be dropped: the call runs all the same, and its
    /// failure still stops those after it.
    pub fn start<F: Remote>(&self, function: F) -> Reply<F> {
        let reply = |route, slot| Reply::new(self.context.clone(), route, slot);
        match self.send(&function) {
            Ok((number, slot)) => reply(Route::Chain(Arc::clone(&self.link), number), slot),
            Err(error) => reply(Route::None, ReplySlot::filled(Err(error))),
        }
    }

    /// Forgets that a call has failed: those that are started from now on run again.
    pub fn reset(&self) {
        self.link.send(record(RESET, &[]), false);
    }

    /// The context in which its calls run.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    fn send<F: Remote>(&self, function: &F) -> Result<(u32, Arc<ReplySlot>)> {
        let scope = self.context.scope();
        let left_ms = scope.and_then(|scope| self.context.left_ms(scope));
        let head = CallHeader { name: F::NAME, cast: false, left_ms };
        // The length is not known before the end.
        let head = record(CALL, &head.encode());
        let leaving = crate::context::transfer::leave(head, function, (self.context.id(), true))
            .map_err(|error| offshoot_proto::error::unsent(self.context.name(), error))?;
        // The codec's limit is that of a record with its head, which is short of the one for its content.
        let mut bytes = leaving.message.into_bytes();
        let length = bytes.len() - record(CALL, &[]).len();
        bytes[..4].copy_from_slice(&(length as u32).to_le_bytes());
        let slot = ReplySlot::new(scope);
        let (replies, flow) = (&self.link.replies, self.link.flow);
        let number = self.link.shared.with(|core| {
            if let Some(refusal) = scope.and_then(|scope| scope.refusal(self.context.name())) {
                return Err(refusal);
            }
            let mut state = replies.lock();
            if let Some(error) = &state.over {
                return Err(error.clone());
            }
            state.waiting.push_back(Arc::clone(&slot));
            let number = state.next;
            state.next = number.wrapping_add(1);
            core.append(flow, bytes, false, leaving.secret);
            core.watch(scope.map_or(NEVER, |scope| scope.deadline().0), flow);
            Ok(number)
        });
        match number {
            Ok(number) => {
                slot.carry(leaving.fares);
                Ok((number, slot))
            }
            Err(error) => {
                crate::context::transfer::stay(leaving.fares);
                Err(error)
            }
        }
    }
}

impl ChainFlow {
    fn send(&self, record: Vec<u8>, end: bool) {
        self.shared.with(|core| core.append(self.flow, record, end, false));
    }

    /// Gives one call up.
    pub fn cancel(&self, number: u32) {
        self.send(record(CANCEL, &number.to_le_bytes()), false);
    }
}

impl Drop for ChainFlow {
    fn drop(&mut self) {
        self.send(Vec::new(), true);
    }
}

impl Replies {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing more comes: all who wait are told why.
    fn over(&self, core: &mut NodeState, error: &Error) {
        let mut state = self.lock();
        state.over.get_or_insert(error.clone());
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        core.wakes.extend(waiting.into_iter().map(|slot| Wake::Reply(slot, Err(error.clone()))));
    }
}

impl FlowHandler for Replies {
    fn is_timed(&self) -> bool {
        true
    }

    fn data(&self, core: &mut NodeState, flow: FlowKey, bytes: Vec<u8>, end: bool) {
        core.node.consume(flow, bytes.len());
        let mut state = self.lock();
        state.partial.extend_from_slice(&bytes);
        let mut at = 0;
        let broken = loop {
            let State { partial, waiting, .. } = &mut *state;
            match take_record(partial, &mut at, MAX_MESSAGE) {
                Ok(Some((_, reply))) => match waiting.pop_front() {
                    Some(slot) => core.wakes.push(Wake::Reply(slot, Ok(reply))),
                    None => break true,
                },
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        drop(state);
        if broken {
            core.node.reset(flow, Reason::Cancelled, "replies that nobody asked for");
        }
        if broken || end {
            core.forget(flow);
            let context = core.name_of(flow.peer).to_string();
            let detail = "the chain was ended over there".into();
            self.over(core, &Error::Undelivered { context, reason: Reason::Cancelled, detail });
        }
    }

    fn closed(&self, core: &mut NodeState, _: FlowKey, error: &Error) {
        self.over(core, error);
    }

    fn late(&self, core: &mut NodeState, flow: FlowKey, now: u64) {
        // Their replies still come, in their turn, and count for nobody.
        let name = core.name_of(flow.peer);
        for slot in &self.lock().waiting {
            if let Some(scope) = slot.scope.as_ref().filter(|scope| scope.deadline().0 <= now) {
                core.wakes.push(Wake::Reply(Arc::clone(slot), Err(scope.error(&name, CallState::Late))));
            }
        }
    }

    fn scope(&self) -> Option<&Arc<Scope>> {
        self.scope.as_ref()
    }
}
