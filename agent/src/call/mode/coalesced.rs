//! One run of a function for all callers that send the same arguments while it runs.

use crate::call::answer::{Answer, answer_all};
use crate::call::function::{Run, Started};
use crate::call::mode::direct::on_worker;
use crate::context::transfer;
use crate::runtime::extensions::locked;
use crate::runtime::scope::{CallState, NEVER, Scope};
use crate::runtime::worker_pool::{Backlog, LIMIT_WAITING};
use std::sync::{Arc, Mutex};

/// A run that several callers wait for.
struct CoalescedCall {
    function: &'static str,
    arguments: Vec<u8>,
    /// True if the callers have authority here: the arguments of others may name fewer contexts.
    obeyed: bool,
    /// The callers that wait; empty once all have cancelled.
    callers: Vec<(Answer, Arc<Scope>)>,
    scope: Arc<Scope>,
}

/// The coalesced calls of a node.
#[derive(Default)]
struct CoalescedCalls(Mutex<Vec<CoalescedCall>>);

impl Backlog for CoalescedCalls {
    /// A coalesced call ends when its last caller has cancelled, by a hook of their scopes.
    fn forget(&self, _: &Arc<Scope>) -> bool {
        false
    }
}

/// Runs the function on a worker, once for all callers with the same arguments. A caller that
/// cancels does not end the run, unless it is the last one.
pub fn coalesced(run: Run) -> Started {
    let Run {
        shared,
        function,
        context,
        scope: caller,
        origin,
        obeyed,
        request,
        at,
        answer,
    } = run;
    let workers = shared.workers.hire(&shared.waker);
    let all: Arc<CoalescedCalls> = workers.backlog();
    let mut runs = locked(&all.0);
    let arguments = &request[at..];
    let same = |running: &&mut CoalescedCall| {
        running.function == function.name
            && running.obeyed == obeyed
            && running.arguments == arguments
    };
    if let Some(running) = runs.iter_mut().find(same) {
        if running.callers.len() >= LIMIT_WAITING {
            return Started::Full;
        }
        detach_on_cancel(&all, &caller, &running.scope);
        running.callers.push((answer, caller));
        return Started::Later;
    }
    let scope = Arc::new(Scope::new(Some(Arc::clone(&shared.life)), NEVER, 0));
    detach_on_cancel(&all, &caller, &scope);
    runs.push(CoalescedCall {
        function: function.name,
        arguments: arguments.to_vec(),
        obeyed,
        callers: vec![(answer, caller)],
        scope: Arc::clone(&scope),
    });
    drop(runs);
    let (running, size) = (Arc::clone(&scope), request.len());
    let context = context.in_scope(&scope);
    let mut run = Run {
        shared,
        function,
        context,
        scope,
        origin,
        obeyed,
        request,
        at,
        answer,
    };
    let theirs = Arc::clone(&all);
    let started = on_worker(&workers, None, size, move || {
        let (reply, callbacks) = transfer::encode_reply(run.origin.peer, || run.perform());
        run.scope.end(CallState::Finished);
        let callers = finish(&theirs, &run.scope).into_iter();
        let answers = callers.map(|(answer, scope)| {
            scope.end(CallState::Finished);
            answer
        });
        answer_all(&run.shared, answers.collect(), reply, callbacks);
    });
    if matches!(started, Started::Full) {
        finish(&all, &running);
    }
    started
}

/// Removes a finished run from the list, and returns its callers.
fn finish(all: &CoalescedCalls, scope: &Arc<Scope>) -> Vec<(Answer, Arc<Scope>)> {
    let mut runs = locked(&all.0);
    let at = runs
        .iter()
        .position(|running| Arc::ptr_eq(&running.scope, scope));
    at.map(|at| runs.swap_remove(at).callers)
        .unwrap_or_default()
}

/// Makes a caller that cancels leave the run; the last one ends it.
fn detach_on_cancel(all: &Arc<CoalescedCalls>, caller: &Arc<Scope>, run: &Arc<Scope>) {
    let (all, run, me) = (
        Arc::downgrade(all),
        Arc::downgrade(run),
        Arc::downgrade(caller),
    );
    caller.set_hook(move || {
        let (all, run) = (all.upgrade()?, run.upgrade()?);
        let mut runs = locked(&all.0);
        let at = runs
            .iter()
            .position(|running| Arc::ptr_eq(&running.scope, &run))?;
        runs[at]
            .callers
            .retain(|(_, scope)| !std::ptr::eq(Arc::as_ptr(scope), me.as_ptr()));
        if !runs[at].callers.is_empty() {
            return None;
        }
        runs.swap_remove(at);
        Some(run)
    });
}
