//! Calls that run one after the other, sent without waiting: four steps that need each other cost
//! one round trip.
//!
//! A chain is one flow. What runs at its other end stands in `chain_service.rs`.

use crate::call::chain_replies::{ChainFlow, Replies};
use crate::call::function::Remote;
use crate::call::reply::Reply;
use crate::call::reply::Route;
use crate::context::Context;
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
    /// Calls that run one after the other over there, sent without waiting for those before.
    ///
    /// # Errors
    /// When the tree is shut down.
    pub fn chain(&self) -> Result<Chain> {
        Chain::open(self)
    }
}

/// Calls to one context that run there in order, one at a time. After the first that fails, all
/// later ones fail with [`Error::Chain`] and are not run, until [`reset`](Chain::reset). Different
/// chains, and calls without one, run beside each other.
///
/// A chain ends when it and all its replies are dropped; what it was given still runs.
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

    /// Runs a function after all that were started before, and waits for what it returns.
    ///
    /// # Errors
    /// As [`Context::call`]; [`Error::Chain`] where one before it has failed.
    pub fn call<F: Remote>(&self, function: F) -> Result<F::Value, CallError<F::Error>> {
        self.start(function).wait()
    }

    /// Has a function run after all that were started before. The reply may be dropped: the call
    /// runs all the same, and its failure still stops those after it.
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
        let head = CallHeader {
            name: F::NAME,
            cast: false,
            left_ms,
        };
        // The length is not known before the end.
        let head = record(CALL, &head.encode());
        let leaving =
            crate::context::transfer::encode_outgoing(head, function, (self.context.id(), true))
                .map_err(|error| offshoot_proto::error::unsent(self.context.name(), error))?;
        // The codec's limit is that of a record with its head, which is short of the one for its
        // content.
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
                crate::context::transfer::abandon(leaving.callbacks);
                Err(error)
            }
        }
    }
}
