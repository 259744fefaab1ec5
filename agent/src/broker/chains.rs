//! Chains of calls that come in: one flow each, with requests one way and their replies the other, in order. One call of a
//! chain runs at a time; after one that fails the others are answered with that failure and not run.

use super::calls::{Answer, Begun, Refusal, begin, late};
use crate::codec::MAX_MESSAGE;
use crate::error::{Error, Reason};
use crate::id::{ContextId, FlowKey};
use crate::remote::{failed, failure_of};
use crate::scope::{Scope, Stand};
use crate::shared::{Core, Endpoint, Shared};
use std::collections::VecDeque;
use std::sync::Arc;

/// A record: four bytes of length, one that says what it is, and the rest.
const HEAD: usize = 5;
/// A call; its request follows.
pub(crate) const CALL: u8 = 0;
/// What failed before is forgotten.
pub(crate) const RESET: u8 = 1;
/// The call with the number that follows, counted from 0, is given up.
pub(crate) const CANCEL: u8 = 2;
/// So many bytes of whole calls may wait in a chain before its caller is held back.
const WAITING: usize = 1 << 20;

/// A record for a chain, to which its content is added.
pub(crate) fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEAD + content.len());
    record.extend_from_slice(&(content.len() as u32).to_le_bytes());
    record.push(kind);
    record.extend_from_slice(content);
    record
}

/// Takes the next whole record off the front of what has come: its kind and content. None where it is not whole.
///
/// # Errors
/// When it is longer than `limit`.
pub(crate) fn take_record(
    bytes: &mut Vec<u8>,
    at: &mut usize,
    limit: usize,
) -> Result<Option<(u8, Vec<u8>)>, usize> {
    let rest = &bytes[*at..];
    let next = rest.split_first_chunk::<HEAD>().and_then(|(head, content)| {
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if length > limit {
            Some(Err(length))
        } else {
            content.get(..length).map(|found| Ok((head[4], found.to_vec())))
        }
    });
    match next {
        Some(Ok((kind, content))) => {
            *at += HEAD + content.len();
            Ok(Some((kind, content)))
        }
        Some(Err(length)) => Err(length),
        None => {
            bytes.drain(..std::mem::take(at));
            Ok(None)
        }
    }
}

/// A chain, where its calls run.
pub(crate) struct Chain {
    auth: ContextId,
    /// What has come and is not a whole record.
    partial: Vec<u8>,
    /// Whole ones that wait, with their numbers.
    waiting: VecDeque<(u32, u8, Vec<u8>)>,
    /// How many bytes they are.
    bytes: usize,
    /// How many bytes have come for which no credit was given yet.
    owed: usize,
    next: u32,
    /// The number, scope and function of the call that runs.
    running: Option<(u32, Arc<Scope>, &'static str)>,
    /// The reply to all that follow one that failed.
    failed: Option<Vec<u8>>,
    ended: bool,
}

impl Chain {
    pub fn new(auth: ContextId) -> Chain {
        Chain {
            auth,
            partial: Vec::new(),
            waiting: VecDeque::new(),
            bytes: 0,
            owed: 0,
            next: 0,
            running: None,
            failed: None,
            ended: false,
        }
    }

    /// The scope of the call that runs.
    pub fn running(&self) -> Option<&Arc<Scope>> {
        self.running.as_ref().map(|(_, scope, _)| scope)
    }
}

fn chain(core: &mut Core, flow: FlowKey) -> Option<&mut Chain> {
    match core.endpoints.get_mut(&flow) {
        Some(Endpoint::Chain(chain)) => Some(chain),
        _ => None,
    }
}

/// Bytes of a chain have come.
pub(super) fn data(shared: &Arc<Shared>, core: &mut Core, flow: FlowKey, bytes: &[u8], end: bool) {
    let Some(chain) = chain(core, flow) else { return };
    chain.partial.extend_from_slice(bytes);
    chain.owed += bytes.len();
    chain.ended |= end;
    let mut given_up = None;
    let mut at = 0;
    loop {
        match take_record(&mut chain.partial, &mut at, MAX_MESSAGE) {
            Ok(Some((CANCEL, number))) => {
                let number = number.try_into().map_or(u32::MAX, u32::from_le_bytes);
                match &chain.running {
                    Some((running, scope, _)) if *running == number => given_up = Some(Arc::clone(scope)),
                    _ => {
                        for (_, kind, _) in chain.waiting.iter_mut().filter(|(other, ..)| *other == number) {
                            *kind = CANCEL;
                        }
                    }
                }
            }
            Ok(Some((kind, content))) => {
                chain.bytes += content.len();
                chain.waiting.push_back((chain.next, kind, content));
                chain.next = chain.next.wrapping_add(u32::from(kind == CALL));
            }
            Ok(None) => break,
            Err(_) => return drop_chain(core, flow, Reason::TooLarge, "a call of the chain"),
        }
    }
    if let Some(scope) = given_up {
        // Its function sees it and ends, or goes on; the chain goes on when it has.
        core.cancel(&scope, Stand::Cancelled);
    }
    advance(shared, core, flow);
}

fn drop_chain(core: &mut Core, flow: FlowKey, reason: Reason, text: &str) {
    core.node.reset(flow, reason, text);
    if let Some(Endpoint::Chain(chain)) = core.forget(flow) {
        closed(core, &chain);
    }
}

/// Nobody is there any more who would read the replies.
pub(super) fn closed(core: &mut Core, chain: &Chain) {
    if let Some(scope) = chain.running() {
        core.cancel(scope, Stand::Cancelled);
    }
}

/// The call that ran has an outcome.
pub(super) fn go_on(shared: &Arc<Shared>, core: &mut Core, flow: FlowKey, reply: Vec<u8>) {
    let Some((_, _, name)) = chain(core, flow).and_then(|chain| chain.running.take()) else { return };
    core.unwatch(flow);
    outcome(core, flow, name, reply);
    advance(shared, core, flow);
}

/// Sends what a call gave. If that is a failure, what follows is not run.
fn outcome(core: &mut Core, flow: FlowKey, name: &str, reply: Vec<u8>) {
    if let Some(detail) = failure_of(&reply) {
        let context = core.name_of(core.node.id()).to_string();
        let error = Error::Chain { context, function: name.into(), detail };
        if let Some(chain) = chain(core, flow) {
            chain.failed = Some(failed(&error));
        }
    }
    reply_to(core, flow, reply);
}

/// The time of the call that runs is over.
pub(super) fn overdue(shared: &Arc<Shared>, core: &mut Core, flow: FlowKey) {
    let running = chain(core, flow).and_then(|chain| chain.running().cloned());
    if let Some(scope) = running {
        late(shared, core, flow, &scope, Answer::Chain(flow));
    }
}

fn reply_to(core: &mut Core, flow: FlowKey, reply: Vec<u8>) {
    let reply = if reply.len() > MAX_MESSAGE {
        let context = core.name_of(core.node.id()).to_string();
        let detail = "the reply is too large to send".into();
        failed(&Error::Undelivered { context, reason: Reason::TooLarge, detail })
    } else {
        reply
    };
    core.append(flow, record(CALL, &reply), false, false);
}

/// Starts calls until one runs, none is left, or the replies are not taken.
fn advance(shared: &Arc<Shared>, core: &mut Core, flow: FlowKey) {
    loop {
        let Some(chain) = chain(core, flow) else { return };
        let auth = chain.auth;
        let next = if chain.running.is_none() { chain.waiting.pop_front() } else { None };
        chain.bytes -= next.as_ref().map_or(0, |(_, _, content)| content.len());
        let owed = if chain.bytes < WAITING { std::mem::take(&mut chain.owed) } else { 0 };
        if matches!(&next, Some((_, RESET, _))) {
            chain.failed = None;
        }
        let failed_before = chain.failed.clone();
        core.node.consume(flow, owed);
        let Some((number, kind, content)) = next else { break };
        if kind == RESET {
            continue;
        }
        if kind == CALL
            && let Some(reply) = failed_before
        {
            reply_to(core, flow, reply);
            continue;
        }
        let begun = match kind {
            CALL => begin(shared, core, (flow, auth), Answer::Chain(flow), content),
            CANCEL => {
                let error = Error::Cancelled { context: core.name_of(core.node.id()).to_string() };
                Ok(Begun::Reply(failed(&error), "a call that was given up"))
            }
            _ => Err(Refusal::Reset(Reason::Violation, "a record of no known kind")),
        };
        match begun {
            Ok(Begun::Reply(reply, name)) => outcome(core, flow, name, reply),
            Ok(Begun::Later(scope, name)) => {
                core.watch(scope.deadline().0, flow);
                if let Some(chain) = self::chain(core, flow) {
                    chain.running = Some((number, scope, name));
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
    if chain(core, flow).is_some_and(|chain| chain.ended && chain.running.is_none()) {
        core.append(flow, Vec::new(), true, false);
        core.endpoints.remove(&flow);
    }
}
