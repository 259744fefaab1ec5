//! Chains: calls that run one after the other and are sent without waiting, so that dependent steps
//! cost one round trip.
//!
//! A chain is one flow. `chain_service.rs` has its other end.

use crate::call::chain_replies::{ChainFlow, Replies};
use crate::call::function::Remote;
use crate::call::outgoing::encode_call;
use crate::call::reply::Reply;
use crate::call::reply::Route;
use crate::context::{Context, transfer};
use crate::runtime::scope::NEVER;
use crate::runtime::slot::ReplySlot;
use crate::runtime::state::Endpoint;
use crate::runtime::state::FlowHandler;
use offshoot_proto::CallError;
use offshoot_proto::Error;
use offshoot_proto::Handle;
use offshoot_proto::Result;
use offshoot_proto::message::call::CallHeader;
use offshoot_proto::message::chain::CALL;
use offshoot_proto::message::chain::RESET;
use offshoot_proto::message::record::record;
use offshoot_proto::node::Opening;
use std::sync::Arc;
use std::sync::Mutex;

impl Context {
    /// Returns a new chain: its calls run there in order and are sent without waiting for earlier
    /// ones.
    ///
    /// # Errors
    /// Returns an error if the tree is shut down.
    pub fn chain(&self) -> Result<Chain> {
        Chain::open(self)
    }
}

/// Calls to one context that run there in order, one at a time. After the first that fails, all
/// later ones fail with [`Error::Chain`] without running, until [`reset`](Chain::reset). Different
/// chains run in parallel, also with calls outside a chain.
///
/// A chain ends when it and all its replies are dropped. Calls that were sent still run.
pub struct Chain {
    context: Context,
    link: Arc<ChainFlow>,
}

impl Chain {
    pub(crate) fn open(context: &Context) -> Result<Self> {
        let shared = Arc::clone(context.node());
        let replies = Arc::new(Replies {
            state: Mutex::default(),
            scope: context.scope().cloned(),
        });
        let opening = Opening {
            more: true,
            ..Opening::default()
        };
        let station: Arc<dyn FlowHandler> = Arc::clone(&replies) as _;
        let flow = shared.with(|core| {
            if core.stopped {
                return Err(Error::ShutDown);
            }
            Ok(
                core.open(context.id(), Handle::CHAIN, Vec::new(), opening, |_| {
                    Endpoint::Handler(station)
                }),
            )
        })?;
        Ok(Self {
            context: context.clone(),
            link: Arc::new(ChainFlow {
                shared,
                flow,
                replies,
            }),
        })
    }

    /// Runs a function after all earlier calls of the chain, and waits for its value.
    ///
    /// # Errors
    /// Returns an error as [`Context::call`] does, and [`Error::Chain`] if an earlier call has
    /// failed.
    pub fn call<F: Remote>(&self, function: F) -> Result<F::Value, CallError<F::Error>> {
        self.start(function).wait()
    }

    /// Starts a function after all earlier calls of the chain. The call runs even if the reply is
    /// dropped, and its failure still stops later calls.
    pub fn start<F: Remote>(&self, function: F) -> Reply<F> {
        let reply = |route, slot| Reply::new(self.context.clone(), route, slot);
        match self.send(&function) {
            Ok((number, slot)) => reply(Route::Chain(Arc::clone(&self.link), number), slot),
            Err(error) => reply(Route::None, ReplySlot::filled(Err(error))),
        }
    }

    /// Clears a failure: calls that are started from now on run again.
    pub fn reset(&self) {
        self.link.send(record(RESET, &[]), false);
    }

    /// Returns the context that runs the calls.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    fn send<F: Remote>(&self, function: &F) -> Result<(u32, Arc<ReplySlot>)> {
        let scope = self.context.scope();
        let left_ms = scope.and_then(|scope| self.context.left_ms(scope));
        let head = CallHeader {
            name: F::NAME,
            cast: false,
            left_ms,
        };
        // The length is filled in below.
        let head = record(CALL, &head.encode());
        let leaving = encode_call(&self.context, head, function, true)?;
        // The codec's limit includes the head of the record, so it is stricter than the limit of
        // the content.
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
                slot.carry(leaving.callbacks);
                Ok((number, slot))
            }
            Err(error) => {
                transfer::abandon(leaving.callbacks);
                Err(error)
            }
        }
    }
}
