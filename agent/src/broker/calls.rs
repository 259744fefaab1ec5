//! Calls that come in: found in the table, checked, started in the way that their function asks for, and answered.

use super::chains;
use super::requests::{answer, can_leave};
use crate::context::Context;
use crate::error::{Error, Reason};
use crate::id::{ContextId, FlowKey};
use crate::invoke::{Run, Started};
use crate::remote::{FUNCTIONS, Function, Outcome, failed, failure_of, value};
use crate::scope::{NEVER, Scope, Stand};
use crate::shared::{Core, Endpoint, Shared};
use crate::told::Origin;
use std::sync::Arc;
use tracing::Level;

/// Nobody waits for what the call gives; failures are logged where it runs.
const CAST: u8 = 1;
/// Four more bytes: how many milliseconds are left for it.
const DEADLINE: u8 = 2;

/// What stands before a call's arguments.
#[derive(Copy, Clone, Default)]
pub(crate) struct Head<'a> {
    /// The function's full name.
    pub name: &'a str,
    /// Whether nobody waits for what it gives.
    pub cast: bool,
    /// How many milliseconds are left for it, if they are counted.
    pub left_ms: Option<u32>,
}

impl<'a> Head<'a> {
    /// The head as bytes, after which the arguments come.
    pub fn encode(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(64 + self.name.len());
        head.push((u8::from(self.cast) * CAST) | (u8::from(self.left_ms.is_some()) * DEADLINE));
        head.extend(self.left_ms.map(u32::to_le_bytes).iter().flatten());
        head.extend_from_slice(&(self.name.len() as u16).to_le_bytes());
        head.extend_from_slice(self.name.as_bytes());
        head
    }

    /// The head of a request, and where its arguments begin.
    pub fn decode(request: &'a [u8]) -> Option<(Head<'a>, usize)> {
        let (flags, mut rest) = request.split_first()?;
        let mut left_ms = None;
        if flags & DEADLINE != 0 {
            let (ms, after) = rest.split_first_chunk()?;
            (left_ms, rest) = (Some(u32::from_le_bytes(*ms)), after);
        }
        let (length, rest) = rest.split_first_chunk()?;
        let (name, arguments) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        let name = std::str::from_utf8(name).ok()?;
        Some((Head { name, cast: flags & CAST != 0, left_ms }, request.len() - arguments.len()))
    }
}

/// Where the outcome of a call goes.
#[derive(Copy, Clone)]
pub(crate) enum Answer {
    /// Back on its own flow.
    Flow(FlowKey),
    /// Back on the flow of its chain, as the answer to the call of this number; the chain then goes on.
    Chain(FlowKey, u32),
    /// Nowhere; a failure is logged, under the function's name.
    Log(&'static str),
}

/// What became of a call that came in.
pub(super) enum Begun {
    /// It is answered with this; the function's name.
    Reply(Vec<u8>, &'static str),
    /// It runs, or waits for its turn, in this scope; the function's name.
    Later(Arc<Scope>, &'static str),
}

/// Why a call is not answered at all.
pub(super) enum Refusal {
    /// It cannot be read, or comes before its time.
    Reset(Reason, &'static str),
    /// Its function is not for the caller.
    Policy(&'static str),
}

/// Starts a call that came on `flow` on behalf of `auth`, at the time `came`. Its outcome goes to `answer`.
pub(super) fn begin(
    shared: &Arc<Shared>,
    core: &mut Core,
    (flow, auth, came): (FlowKey, ContextId, u64),
    answer: Answer,
    request: Vec<u8>,
) -> Result<Begun, Refusal> {
    let Some(name) = core.names.get(&core.node.id()).cloned() else {
        return Err(Refusal::Reset(Reason::ShutDown, "it has no name yet"));
    };
    let Some((head, at)) = Head::decode(&request) else {
        return Err(Refusal::Reset(Reason::Violation, "a call that cannot be read"));
    };
    let Some(function) = FUNCTIONS.iter().find(|function| function.name == head.name) else {
        let error = Error::NoSuchFunction { context: name.to_string(), function: head.name.to_owned() };
        if head.cast {
            let text = format!("a call for which nobody waits has failed: {error}");
            shared.say(Level::WARN, text);
        }
        return Ok(Begun::Reply(failed(&error), "an unknown function"));
    };
    if !core.node.permits(function.policy, flow.peer, auth) {
        return Err(Refusal::Policy(function.name));
    }
    // In a chain all have their turn, and an outcome.
    let cast = (head.cast || function.no_reply) && matches!(answer, Answer::Flow(_));
    let (due, allowed) = match head.left_ms {
        // The time of a call that is answered before it runs is over by then.
        Some(ms) if !cast => (came.saturating_add(ms.into()), ms.into()),
        _ => (NEVER, 0),
    };
    let scope = Arc::new(Scope::new(Some(Arc::clone(&shared.life)), due, allowed));
    if due <= shared.now() {
        return Ok(Begun::Reply(failed(&scope.error(&name, Stand::Late)), function.name));
    }
    let context = Context::new(shared, core.node.id(), name).in_scope(&scope);
    let answer = if cast { Answer::Log(function.name) } else { answer };
    let (shared, later) = (Arc::clone(shared), Arc::clone(&scope));
    let (origin, obeyed) = (Origin { peer: flow.peer, auth }, super::requests::obeyed(core, auth));
    let mine = Arc::clone(&shared);
    let run = Run { shared: mine, function, context, scope, origin, obeyed, request, at, answer };
    let reply = match (function.way)(run) {
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
            failed(&Error::Undelivered { context, reason: Reason::QueueFull, detail })
        }
    };
    Ok(Begun::Reply(reply, function.name))
}

/// A call on a flow of its own.
pub(super) fn call(shared: &Arc<Shared>, core: &mut Core, flow: FlowKey, auth: ContextId, request: Vec<u8>) {
    match begin(shared, core, (flow, auth, shared.now()), Answer::Flow(flow), request) {
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

/// A call has an outcome. Whether it goes on its way: one that was given up, or whose time is over, has been answered.
pub(crate) fn deliver(shared: &Arc<Shared>, core: &mut Core, to: Answer, reply: Vec<u8>) -> bool {
    let leaves = can_leave(&reply);
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
        Answer::Chain(flow, number) => chains::go_on(shared, core, (flow, number), reply) && leaves,
        Answer::Log(name) => {
            log_failure(shared, name, &reply);
            false
        }
    }
}

fn log_failure(shared: &Shared, name: &str, reply: &[u8]) {
    if let Some(text) = failure_of(reply) {
        shared.say(Level::WARN, format!("{name}, for which nobody waits, has failed: {text}"));
    }
}

/// The time of a call is over: it is cancelled, and its caller is told.
pub(super) fn late(shared: &Arc<Shared>, core: &mut Core, flow: FlowKey, scope: &Arc<Scope>) {
    let name = core.name_of(core.node.id());
    let reply = failed(&scope.error(&name, Stand::Late));
    core.cancel(scope, Stand::Late);
    shared.workers.forget(scope);
    core.unwatch(flow);
    answer(core, flow, reply);
}

/// A function's panic is its own: where the build unwinds, the caller is told and the context lives on.
pub(crate) fn run_contained(
    function: &Function,
    context: &Context,
    origin: Origin,
    request: Vec<u8>,
    at: usize,
) -> Vec<u8> {
    contained(context.name(), || (function.run)(context, origin, request, at))
}

/// What `work` gives, or that it panicked in the context called `name`.
pub(crate) fn contained(name: &str, work: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    crate::contain::catch(work)
        .unwrap_or_else(|message| failed(&Error::Panicked { context: name.into(), message }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_header_round_trips_and_a_truncated_one_is_refused() {
        for cast in [false, true] {
            for left_ms in [None, Some(0), Some(u32::MAX)] {
                let head = Head { name: "a::b", cast, left_ms };
                let mut request = head.encode();
                let length = request.len();
                for cut in 0..length {
                    assert!(Head::decode(&request[..cut]).is_none(), "cut at {cut}");
                }
                request.extend_from_slice(b"arguments");
                let (read, at) = Head::decode(&request).unwrap();
                assert_eq!((read.name, read.cast, read.left_ms, at), ("a::b", cast, left_ms, length));
            }
        }
    }
}
