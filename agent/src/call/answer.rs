//! The reply to a call, and its route to the caller.

use crate::context::transfer::abandon;
use crate::runtime::answer::answer;
use crate::runtime::answer::can_be_sent;
use crate::runtime::handle::NodeHandle;
use crate::runtime::slot::DeliveryCallback;
use crate::runtime::state::Endpoint;
use crate::runtime::state::NodeState;
use offshoot_proto::FlowKey;
use offshoot_proto::message::outcome::Outcome;
use offshoot_proto::message::outcome::failure_of;
use std::sync::Arc;
use tracing::Level;

/// Takes the outcome of a call of a chain and starts the next call. Returns true if the outcome is
/// sent to the caller.
pub(crate) type Continue = fn(&Arc<NodeHandle>, &mut NodeState, (FlowKey, u32), Vec<u8>) -> bool;

/// The route of a call's outcome.
#[derive(Copy, Clone)]
pub(crate) enum Answer {
    /// On the call's own flow.
    Flow(FlowKey),
    /// On the flow of its chain, as the reply to the call with this number. The function starts the
    /// next call.
    Chain(FlowKey, u32, Continue),
    /// Not sent; a failure is logged under the function's name.
    Log(&'static str),
}

/// Sends the outcome of a call. Returns false if it was not sent, because the call was cancelled or
/// late and has been answered.
pub(crate) fn deliver(
    shared: &Arc<NodeHandle>,
    core: &mut NodeState,
    to: Answer,
    reply: Vec<u8>,
) -> bool {
    let leaves = can_be_sent(&reply);
    // The end of this context reports the cancellation, with its reason.
    if core.stopped && reply.first() != Some(&(Outcome::Value as u8)) {
        return false;
    }
    match to {
        Answer::Flow(flow) => match core.endpoints.get(&flow) {
            Some(Endpoint::Busy(_)) => {
                core.unwatch(flow);
                answer(core, flow, reply);
                leaves
            }
            _ => false,
        },
        Answer::Chain(flow, number, go_on) => go_on(shared, core, (flow, number), reply) && leaves,
        Answer::Log(name) => {
            log_failure(shared, name, &reply);
            false
        }
    }
}

pub(crate) fn log_failure(shared: &NodeHandle, name: &str, reply: &[u8]) {
    if let Some(text) = failure_of(reply) {
        shared.say(
            Level::WARN,
            format!("{name}, called without a reply, has failed: {text}"),
        );
    }
}

/// Sends a reply to all callers of a shared run. If none of them waits any more, the values in the
/// reply are abandoned.
pub(crate) fn answer_all(
    shared: &Arc<NodeHandle>,
    answers: Vec<Answer>,
    reply: Vec<u8>,
    callbacks: Vec<DeliveryCallback>,
) {
    let left = shared.with(|core| {
        let Some((last, others)) = answers.split_last() else {
            return false;
        };
        let mut left = false;
        for to in others {
            left |= deliver(shared, core, *to, reply.clone());
        }
        deliver(shared, core, *last, reply) || left
    });
    if !left {
        abandon(callbacks);
    }
}
