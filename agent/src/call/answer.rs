//! Where the outcome of a call goes, and its way there.

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

/// Takes the outcome of a call of a chain and goes on with the next. Returns true if the outcome
/// goes to its caller.
pub(crate) type Continue = fn(&Arc<NodeHandle>, &mut NodeState, (FlowKey, u32), Vec<u8>) -> bool;

/// Where the outcome of a call goes.
#[derive(Copy, Clone)]
pub(crate) enum Answer {
    /// Back on its own flow.
    Flow(FlowKey),
    /// Back on the flow of its chain, as the answer to the call of this number, by the function
    /// that then goes on with the chain.
    Chain(FlowKey, u32, Continue),
    /// Nowhere; a failure is logged, under the function's name.
    Log(&'static str),
}

/// A call has an outcome. Whether it goes on its way: one that was given up, or whose time is over,
/// has been answered.
pub(crate) fn deliver(
    shared: &Arc<NodeHandle>,
    core: &mut NodeState,
    to: Answer,
    reply: Vec<u8>,
) -> bool {
    let leaves = can_be_sent(&reply);
    // That it was given up with its context the caller is told by the end of that, with the reason.
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
            format!("{name}, for which nobody waits, has failed: {text}"),
        );
    }
}

/// Gives a reply to those who wait for it. What was to leave with it stays where none of them does
/// any more.
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
