//! Chains of calls that come in: one flow each, with requests one way and their replies the other, in order. One call of a
//! chain runs at a time; after one that fails the others are answered with that failure and not run.

use super::calls::{Answer, Begun, Head, Refusal, begin};
use super::requests::can_leave;
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
/// So many bytes of replies may wait for a caller that does not take them before no more of its calls are run.
const UNTAKEN: usize = 256 << 10;
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
    /// Whole ones that wait.
    waiting: VecDeque<Waiting>,
    /// How many bytes they are.
    bytes: usize,
    /// How many bytes have come for which no credit was given yet.
    owed: usize,
    next: u32,
    running: Option<Running>,
    /// The reply to all that follow one that failed.
    failed: Option<Vec<u8>>,
    ended: bool,
}

/// A record that waits for those before it.
struct Waiting {
    /// Which call it is, counted from 0.
    number: u32,
    kind: u8,
    content: Vec<u8>,
    /// When it came.
    came: u64,
}

/// The call that runs.
struct Running {
    number: u32,
    scope: Arc<Scope>,
    function: &'static str,
    /// Whether it was given up or late, so that its caller has an answer. What follows still waits for its end.
    answered: bool,
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

    /// Bytes that have come at a time. Whether the call that runs is given up.
    ///
    /// # Errors
    /// When a record is longer than any may be.
    pub fn take(&mut self, bytes: &[u8], end: bool, came: u64) -> Result<bool, usize> {
        self.partial.extend_from_slice(bytes);
        self.owed += bytes.len();
        self.ended |= end;
        let (mut given_up, mut at) = (false, 0);
        while let Some((kind, content)) = take_record(&mut self.partial, &mut at, MAX_MESSAGE)? {
            if kind != CANCEL {
                self.bytes += content.len();
                self.waiting.push_back(Waiting { number: self.next, kind, content, came });
                self.next = self.next.wrapping_add(u32::from(kind == CALL));
                continue;
            }
            let number = content.try_into().map_or(u32::MAX, u32::from_le_bytes);
            given_up |= self.running.as_ref().is_some_and(|running| running.number == number);
            let theirs = |record: &&mut Waiting| record.number == number && record.kind == CALL;
            if let Some(record) = self.waiting.iter_mut().find(theirs) {
                record.kind = CANCEL;
            }
        }
        Ok(given_up)
    }

    /// The records that wait, and how many bytes they are taken to be.
    #[cfg(feature = "fuzzing")]
    pub fn waiting(&self) -> (impl Iterator<Item = (u32, u8, &[u8])>, usize) {
        let records = self.waiting.iter().map(|record| (record.number, record.kind, &record.content[..]));
        (records, self.bytes)
    }

    /// The scope of the call that runs.
    pub fn running(&self) -> Option<&Arc<Scope>> {
        self.running.as_ref().map(|running| &running.scope)
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
    match chain.take(bytes, end, shared.now()) {
        Ok(true) => give_up(shared, core, flow, Stand::Cancelled),
        Ok(false) => {}
        Err(_) => return drop_chain(core, flow, Reason::TooLarge, "a call of the chain"),
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

/// The call of this number has ended. Whether its outcome goes to its caller, who may have been answered before.
pub(super) fn go_on(
    shared: &Arc<Shared>,
    core: &mut Core,
    (flow, number): (FlowKey, u32),
    reply: Vec<u8>,
) -> bool {
    let Some(chain) = chain(core, flow) else { return false };
    let Some(running) = chain.running.take_if(|running| running.number == number) else { return false };
    core.unwatch(flow);
    if !running.answered {
        outcome(core, flow, running.function, reply);
    }
    advance(shared, core, flow);
    !running.answered
}

/// The call that runs is given up or late. Its caller has an answer at once; the chain goes on when its function, which may
/// see that or not, has ended.
fn give_up(shared: &Arc<Shared>, core: &mut Core, flow: FlowKey, stand: Stand) {
    let Some(running) = chain(core, flow).and_then(|chain| chain.running.as_mut()) else { return };
    if std::mem::replace(&mut running.answered, true) {
        return;
    }
    let (scope, function) = (Arc::clone(&running.scope), running.function);
    core.unwatch(flow);
    let name = core.name_of(core.node.id());
    outcome(core, flow, function, failed(&scope.error(&name, stand)));
    core.cancel(&scope, stand);
    // One that has not begun does not, and one that runs for others as well does so without this one.
    if (shared.workers.forget(&scope) || scope.is_one_of_many())
        && let Some(chain) = chain(core, flow)
    {
        chain.running = None;
    }
}

/// Sends what a call gave. If that is a failure, what follows is not run.
fn outcome(core: &mut Core, flow: FlowKey, name: &str, mut reply: Vec<u8>) {
    if !can_leave(&reply) {
        let context = core.name_of(core.node.id()).to_string();
        let detail = "the reply is too large to send".into();
        reply = failed(&Error::Undelivered { context, reason: Reason::TooLarge, detail });
    }
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
    give_up(shared, core, flow, Stand::Late);
    advance(shared, core, flow);
}

fn reply_to(core: &mut Core, flow: FlowKey, reply: Vec<u8>) {
    core.append(flow, record(CALL, &reply), false, crate::secret::was_written());
}

/// Starts calls until one runs, none is left, or the replies are not taken.
pub(super) fn advance(shared: &Arc<Shared>, core: &mut Core, flow: FlowKey) {
    loop {
        let untaken = core.waiting(flow) >= UNTAKEN;
        let Some(chain) = chain(core, flow) else { return };
        let auth = chain.auth;
        let may_run = chain.running.is_none() && !untaken;
        let next = if may_run { chain.waiting.pop_front() } else { None };
        chain.bytes -= next.as_ref().map_or(0, |record| record.content.len());
        let owed = if chain.bytes < WAITING { std::mem::take(&mut chain.owed) } else { 0 };
        if next.as_ref().is_some_and(|record| record.kind == RESET) {
            chain.failed = None;
        }
        let failed_before = chain.failed.clone();
        core.node.consume(flow, owed);
        let Some(Waiting { number, kind, content, came }) = next else { break };
        if kind == RESET {
            continue;
        }
        if let (CALL | CANCEL, Some(reply)) = (kind, failed_before) {
            reply_to(core, flow, reply);
            continue;
        }
        let begun = match kind {
            CALL => begin(shared, core, (flow, auth, came), Answer::Chain(flow, number), content),
            CANCEL => {
                let context = core.name_of(core.node.id()).to_string();
                let name = Head::decode(&content).map_or("", |(head, _)| head.name);
                outcome(core, flow, name, failed(&Error::Cancelled { context }));
                continue;
            }
            _ => Err(Refusal::Reset(Reason::Violation, "a record of no known kind")),
        };
        match begun {
            Ok(Begun::Reply(reply, name)) => outcome(core, flow, name, reply),
            Ok(Begun::Later(scope, function)) => {
                core.watch(scope.deadline().0, flow);
                if let Some(chain) = self::chain(core, flow) {
                    chain.running = Some(Running { number, scope, function, answered: false });
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
    let is_done = |chain: &mut Chain| chain.ended && chain.running.is_none() && chain.waiting.is_empty();
    if chain(core, flow).is_some_and(is_done) {
        core.append(flow, Vec::new(), true, false);
        core.endpoints.remove(&flow);
    }
}
