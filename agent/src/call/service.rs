//! The service for calls: finds the function, checks the caller, starts the function in its mode,
//! and answers.

use crate::call::answer::Answer;
use crate::call::answer::log_failure;
use crate::call::function::FUNCTIONS;
use crate::call::function::Run;
use crate::call::function::Started;
use crate::context::Context;
use crate::runtime::answer::answer;
use crate::runtime::handle::NodeHandle;
use crate::runtime::scope::CallState;
use crate::runtime::scope::NEVER;
use crate::runtime::scope::Scope;
use crate::runtime::state::Endpoint;
use crate::runtime::state::NodeState;
use offshoot_proto::ContextId;
use offshoot_proto::Error;
use offshoot_proto::FlowKey;
use offshoot_proto::Reason;
use offshoot_proto::message::call::CallHeader;
use offshoot_proto::message::outcome::failed;
use offshoot_proto::message::outcome::value;
use offshoot_proto::routing::Origin;
use std::sync::Arc;
use tracing::Level;

/// The state of a call after it was started.
pub(crate) enum Begun {
    /// The reply is known already; with the function's name.
    Reply(Vec<u8>, &'static str),
    /// It runs or is queued, in this scope; with the function's name.
    Later(Arc<Scope>, &'static str),
}

/// The reason why a call gets no reply.
pub(crate) enum Refusal {
    /// It cannot be decoded, or the context is not ready.
    Reset(Reason, &'static str),
    /// The caller may not call this function.
    Policy(&'static str),
}

/// Starts a call that arrived on `flow` on behalf of `auth`, at the time `came`. Its outcome is
/// sent by `answer`.
pub(crate) fn begin(
    shared: &Arc<NodeHandle>,
    core: &mut NodeState,
    (flow, auth, came): (FlowKey, ContextId, u64),
    answer: Answer,
    request: Vec<u8>,
) -> Result<Begun, Refusal> {
    let Some(name) = core.names.get(&core.node.id()).cloned() else {
        return Err(Refusal::Reset(Reason::ShutDown, "it has no name yet"));
    };
    let Some((head, at)) = CallHeader::decode(&request) else {
        return Err(Refusal::Reset(
            Reason::Violation,
            "a call that cannot be read",
        ));
    };
    let Some(function) = FUNCTIONS.iter().find(|function| function.name == head.name) else {
        let error = Error::NoSuchFunction {
            context: name.to_string(),
            function: head.name.to_owned(),
        };
        if head.cast {
            let text = format!("a call without a reply has failed: {error}");
            shared.say(Level::WARN, text);
        }
        return Ok(Begun::Reply(failed(&error), "an unknown function"));
    };
    if !core.node.permits(function.policy, flow.peer, auth) {
        return Err(Refusal::Policy(function.name));
    }
    // In a chain, every call has its turn and an outcome.
    let cast = (head.cast || function.no_reply) && matches!(answer, Answer::Flow(_));
    let (due, allowed) = match head.left_ms {
        // A call that is answered before it runs has no deadline.
        Some(ms) if !cast => (came.saturating_add(ms.into()), ms.into()),
        _ => (NEVER, 0),
    };
    let scope = Arc::new(Scope::new(Some(Arc::clone(&shared.life)), due, allowed));
    if due <= shared.now() {
        return Ok(Begun::Reply(
            failed(&scope.error(&name, CallState::TimedOut)),
            function.name,
        ));
    }
    let context = Context::new(shared, core.node.id(), name).in_scope(&scope);
    let answer = if cast {
        Answer::Log(function.name)
    } else {
        answer
    };
    let (shared, later) = (Arc::clone(shared), Arc::clone(&scope));
    let (origin, obeyed) = (
        Origin {
            peer: flow.peer,
            auth,
        },
        crate::runtime::answer::obeyed(core, auth),
    );
    let mine = Arc::clone(&shared);
    let run = Run {
        shared: mine,
        function,
        context,
        scope,
        origin,
        obeyed,
        request,
        at,
        answer,
    };
    let reply = match (function.mode)(run) {
        Started::Later if !cast => return Ok(Begun::Later(later, function.name)),
        Started::Later => value(&()),
        Started::Now(reply) if !cast => reply,
        Started::Now(reply) => {
            log_failure(&shared, function.name, &reply);
            value(&())
        }
        Started::Full => {
            let context = core.name_of(core.node.id()).to_string();
            let detail = "too many calls wait for their turn there".into();
            failed(&Error::Undelivered {
                context,
                reason: Reason::QueueFull,
                detail,
            })
        }
    };
    Ok(Begun::Reply(reply, function.name))
}

/// Handles a call on a flow of its own.
pub(crate) fn call(
    shared: &Arc<NodeHandle>,
    core: &mut NodeState,
    flow: FlowKey,
    auth: ContextId,
    request: Vec<u8>,
) {
    match begin(
        shared,
        core,
        (flow, auth, shared.now()),
        Answer::Flow(flow),
        request,
    ) {
        Ok(Begun::Reply(reply, _)) => answer(core, flow, reply),
        Ok(Begun::Later(scope, _)) => {
            core.watch(scope.deadline().0, flow);
            core.endpoints.insert(flow, Endpoint::Busy(Some(scope)));
        }
        Err(Refusal::Reset(reason, text)) => {
            core.node.reset(flow, reason, text);
            core.forget(flow);
        }
        Err(Refusal::Policy(name)) => {
            core.node.refuse(flow, auth, &format!("a call of {name}"));
            core.forget(flow);
        }
    }
}

/// Cancels a call after its deadline, and answers its caller.
pub(crate) fn late(
    shared: &Arc<NodeHandle>,
    core: &mut NodeState,
    flow: FlowKey,
    scope: &Arc<Scope>,
) {
    let name = core.name_of(core.node.id());
    let reply = failed(&scope.error(&name, CallState::TimedOut));
    core.cancel(scope, CallState::TimedOut);
    shared.workers.forget(scope);
    core.unwatch(flow);
    answer(core, flow, reply);
}
