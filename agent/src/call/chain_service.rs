//! The service for chains: one flow for each, with requests in one direction and replies in the
//! other, in order. One call of a chain runs at a time. After a failure, later calls get that
//! failure without running.

use crate::call::answer::Answer;
use crate::call::service::Begun;
use crate::call::service::Refusal;
use crate::call::service::begin;
use crate::runtime::answer::can_be_sent;
use crate::runtime::chain_state::{Chain, Running};
use crate::runtime::handle::NodeHandle;
use crate::runtime::scope::CallState;
use crate::runtime::state::Endpoint;
use crate::runtime::state::NodeState;
use offshoot_proto::Error;
use offshoot_proto::FlowKey;
use offshoot_proto::Reason;
use offshoot_proto::message::call::CallHeader;
use offshoot_proto::message::chain::CALL;
use offshoot_proto::message::chain::CANCEL;
use offshoot_proto::message::chain::{QueuedCall, RESET};
use offshoot_proto::message::outcome::failed;
use offshoot_proto::message::outcome::failure_of;
use offshoot_proto::message::record::record;
use std::sync::Arc;

/// The most bytes of unread replies. Beyond that, no further call of the chain is started.
const UNTAKEN: usize = 256 << 10;

/// The most bytes of queued calls of a chain. Beyond that, its caller gets no credit.
const WAITING: usize = 1 << 20;

fn chain(core: &mut NodeState, flow: FlowKey) -> Option<&mut Chain> {
    match core.endpoints.get_mut(&flow) {
        Some(Endpoint::Chain(chain)) => Some(chain),
        _ => None,
    }
}

/// Handles bytes of a chain.
pub(crate) fn data(
    shared: &Arc<NodeHandle>,
    core: &mut NodeState,
    flow: FlowKey,
    bytes: &[u8],
    end: bool,
) {
    let Some(chain) = chain(core, flow) else {
        return;
    };
    match chain.take(bytes, end, shared.now()) {
        Ok(true) => give_up(shared, core, flow, CallState::Cancelled),
        Ok(false) => {}
        Err(_) => return drop_chain(core, flow, Reason::TooLarge, "a call of the chain"),
    }
    advance(shared, core, flow);
}

fn drop_chain(core: &mut NodeState, flow: FlowKey, reason: Reason, text: &str) {
    core.node.reset(flow, reason, text);
    if let Some(Endpoint::Chain(chain)) = core.forget(flow) {
        closed(core, &chain);
    }
}

/// Handles a chain whose caller is gone.
pub(crate) fn closed(core: &mut NodeState, chain: &Chain) {
    if let Some(scope) = chain.running() {
        core.cancel(scope, CallState::Cancelled);
    }
}

/// Handles the end of the call with this number. Returns true if its outcome is sent; a cancelled
/// or late call was answered before.
pub(crate) fn go_on(
    shared: &Arc<NodeHandle>,
    core: &mut NodeState,
    (flow, number): (FlowKey, u32),
    reply: Vec<u8>,
) -> bool {
    let Some(chain) = chain(core, flow) else {
        return false;
    };
    let Some(running) = chain.running.take_if(|running| running.number == number) else {
        return false;
    };
    core.unwatch(flow);
    if !running.answered {
        outcome(core, flow, running.function, reply);
    }
    advance(shared, core, flow);
    !running.answered
}

/// Cancels the running call, or ends it after its deadline. Its caller gets an answer at once; the
/// next call starts only after the function has returned.
fn give_up(shared: &Arc<NodeHandle>, core: &mut NodeState, flow: FlowKey, stand: CallState) {
    let Some(running) = chain(core, flow).and_then(|chain| chain.running.as_mut()) else {
        return;
    };
    if std::mem::replace(&mut running.answered, true) {
        return;
    }
    let (scope, function) = (Arc::clone(&running.scope), running.function);
    core.unwatch(flow);
    let name = core.name_of(core.node.id());
    outcome(core, flow, function, failed(&scope.error(&name, stand)));
    core.cancel(&scope, stand);
    // A queued call is removed, and a shared run continues without this caller. In both cases no
    // function of this chain runs any more.
    if (shared.workers.forget(&scope) || scope.is_one_of_many())
        && let Some(chain) = chain(core, flow)
    {
        chain.running = None;
    }
}

/// Sends the outcome of a call. After a failure, later calls do not run.
fn outcome(core: &mut NodeState, flow: FlowKey, name: &str, mut reply: Vec<u8>) {
    if !can_be_sent(&reply) {
        let context = core.name_of(core.node.id()).to_string();
        let detail = "the reply is too large to send".into();
        reply = failed(&Error::Undelivered {
            context,
            reason: Reason::TooLarge,
            detail,
        });
    }
    if let Some(detail) = failure_of(&reply) {
        let context = core.name_of(core.node.id()).to_string();
        let error = Error::Chain {
            context,
            function: name.into(),
            detail,
        };
        if let Some(chain) = chain(core, flow) {
            chain.failed = Some(failed(&error));
        }
    }
    reply_to(core, flow, reply);
}

/// Handles the deadline of the running call.
pub(crate) fn overdue(shared: &Arc<NodeHandle>, core: &mut NodeState, flow: FlowKey) {
    give_up(shared, core, flow, CallState::TimedOut);
    advance(shared, core, flow);
}

fn reply_to(core: &mut NodeState, flow: FlowKey, reply: Vec<u8>) {
    core.append(
        flow,
        record(CALL, &reply),
        false,
        offshoot_codec::was_written(),
    );
}

/// Starts calls until one runs, none is queued, or the caller does not read the replies.
pub(crate) fn advance(shared: &Arc<NodeHandle>, core: &mut NodeState, flow: FlowKey) {
    loop {
        let untaken = core.waiting(flow) >= UNTAKEN;
        let Some(chain) = chain(core, flow) else {
            return;
        };
        let auth = chain.auth;
        let may_run = chain.running.is_none() && !untaken;
        let next = if may_run { chain.queue.pop() } else { None };
        let owed = if chain.queue.length() < WAITING {
            std::mem::take(&mut chain.owed)
        } else {
            0
        };
        if next.as_ref().is_some_and(|record| record.kind == RESET) {
            chain.failed = None;
        }
        let failed_before = chain.failed.clone();
        core.node.consume(flow, owed);
        let Some(QueuedCall {
            number,
            kind,
            content,
            came,
        }) = next
        else {
            break;
        };
        if kind == RESET {
            continue;
        }
        if let (CALL | CANCEL, Some(reply)) = (kind, failed_before) {
            reply_to(core, flow, reply);
            continue;
        }
        let begun = match kind {
            CALL => begin(
                shared,
                core,
                (flow, auth, came),
                Answer::Chain(flow, number, go_on),
                content,
            ),
            CANCEL => {
                let context = core.name_of(core.node.id()).to_string();
                let name = CallHeader::decode(&content).map_or("", |(head, _)| head.name);
                outcome(core, flow, name, failed(&Error::Cancelled { context }));
                continue;
            }
            _ => Err(Refusal::Reset(
                Reason::Violation,
                "a record of no known kind",
            )),
        };
        match begun {
            Ok(Begun::Reply(reply, name)) => outcome(core, flow, name, reply),
            Ok(Begun::Later(scope, function)) => {
                core.watch(scope.deadline().0, flow);
                if let Some(chain) = self::chain(core, flow) {
                    chain.running = Some(Running {
                        number,
                        scope,
                        function,
                        answered: false,
                    });
                }
            }
            Err(Refusal::Reset(reason, text)) => return drop_chain(core, flow, reason, text),
            Err(Refusal::Policy(name)) => {
                core.node.refuse(flow, auth, &format!("a call of {name}"));
                core.forget(flow);
                return;
            }
        }
    }
    let is_done =
        |chain: &mut Chain| chain.ended && chain.running.is_none() && chain.queue.is_empty();
    if chain(core, flow).is_some_and(is_done) {
        core.append(flow, Vec::new(), true, false);
        core.endpoints.remove(&flow);
    }
}
