//! Outgoing calls: blocking, started, or cast.

use crate::call::function::{Remote, check_types, read_as};
use crate::call::reply::{Reply, Route};
use crate::context::{Context, transfer};
use crate::runtime::slot::ReplySlot;
use offshoot_proto::error::{about_value, unsent};
use offshoot_proto::message::call::CallHeader;
use offshoot_proto::node::Opening;
use offshoot_proto::{CallError, FlowKey, Handle, Result};
use std::sync::Arc;

/// Encodes the arguments of a call to `context` behind `head`.
pub(crate) fn encode_call<F: Remote>(
    context: &Context,
    head: Vec<u8>,
    function: &F,
    answered: bool,
) -> Result<transfer::Outgoing> {
    check_types::<F>().map_err(|error| unsent(context.name(), error))?;
    read_as::<F, _>(|| transfer::encode_outgoing(head, function, (context.id(), answered)))
        .map_err(|error| about_value(unsent(context.name(), error), "the arguments of ", F::NAME))
}

impl Context {
    /// Runs a function in the context and waits for its value.
    ///
    /// # Errors
    /// Returns the function's own error, or the reason why it did not run or its value did not
    /// arrive.
    pub fn call<F: Remote>(&self, function: F) -> Result<F::Value, CallError<F::Error>> {
        self.start(function).wait()
    }

    /// Starts a function in the context. The reply can be waited for, with or without a timeout, or
    /// awaited. Dropping it cancels the call: a function that has not begun does not run, a running
    /// one sees it by [`Context::check`], and everything that it has started through its own
    /// context ends.
    pub fn start<F: Remote>(&self, function: F) -> Reply<F> {
        match self.send(&function, false) {
            Ok((flow, slot)) => Reply::new(self.clone(), Route::Flow(flow), slot),
            Err(error) => Reply::new(self.clone(), Route::None, ReplySlot::filled(Err(error))),
        }
    }

    /// Starts a function in the context without a reply. Its failure is logged there. It is never
    /// cancelled from here.
    ///
    /// # Errors
    /// Returns an error if the arguments cannot be sent.
    pub fn cast<F: Remote>(&self, function: F) -> Result<()> {
        self.clone().unscoped().send(&function, true).map(|_| ())
    }

    fn send<F: Remote>(&self, function: &F, cast: bool) -> Result<(FlowKey, Arc<ReplySlot>)> {
        let left_ms = self.scope().and_then(|scope| self.left_ms(scope));
        let head = CallHeader {
            name: F::NAME,
            cast,
            left_ms,
        };
        let leaving = encode_call(self, head.encode(), function, !cast && !F::NO_REPLY)?;
        let opening = Opening {
            secret: leaving.secret,
            ..Opening::default()
        };
        let sent = self.ask(self.id(), Handle::CALL, leaving.message, opening, |_, _| {});
        match &sent {
            // A reply that is sent before the function runs does not tell whether the values were
            // used.
            Ok(_) if cast || F::NO_REPLY => {}
            Ok((_, slot)) => slot.carry(leaving.callbacks),
            Err(_) => transfer::abandon(leaving.callbacks),
        }
        sent
    }
}
