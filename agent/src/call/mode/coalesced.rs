//! One run of a function for all callers that ask for the same while it runs.

use crate::call::answer::{Answer, answer_all};
use crate::call::function::{Run, Started};
use crate::call::mode::direct::on_worker;
use crate::context::transfer;
use crate::runtime::extensions::locked;
use crate::runtime::scope::{CallState, NEVER, Scope};
use crate::runtime::worker_pool::{Backlog, LIMIT_WAITING};
use std::sync::{Arc, Mutex};

/// A run that several wait for.
struct CoalescedCall {
    function: &'static str,
    arguments: Vec<u8>,
    /// Whether it is on behalf of one who is obeyed: what others' arguments may name is less.
    obeyed: bool,
    /// Whose answer it makes. Nobody is left where all have given up.
    askers: Vec<(Answer, Arc<Scope>)>,
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

/// On a worker, once for all who ask with the same arguments while it runs. Nobody's giving up ends it but the last one's.
pub fn shared(run: Run) -> Started {
    let Run { shared, function, context, scope: asker, origin, obeyed, request, at, answer } = run;
    let workers = shared.workers.hire(&shared.waker);
    let all: Arc<CoalescedCalls> = workers.backlog();
    let mut flights = locked(&all.0);
    let arguments = &request[at..];
    let same = |flight: &&mut CoalescedCall| {
        flight.function == function.name && flight.obeyed == obeyed && flight.arguments == arguments
    };
    if let Some(flight) = flights.iter_mut().find(same) {
        if flight.askers.len() >= LIMIT_WAITING {
            return Started::Full;
        }
        detach_on_cancel(&all, &asker, &flight.scope);
        flight.askers.push((answer, asker));
        return Started::Later;
    }
    let scope = Arc::new(Scope::new(Some(Arc::clone(&shared.life)), NEVER, 0));
    detach_on_cancel(&all, &asker, &scope);
    flights.push(CoalescedCall {
        function: function.name,
        arguments: arguments.to_vec(),
        obeyed,
        askers: vec![(answer, asker)],
        scope: Arc::clone(&scope),
    });
    drop(flights);
    let (flight, size) = (Arc::clone(&scope), request.len());
    let context = context.in_scope(&scope);
    let mut run = Run { shared, function, context, scope, origin, obeyed, request, at, answer };
    let theirs = Arc::clone(&all);
    let started = on_worker(&workers, None, size, move || {
        let (reply, callbacks) = transfer::encode_reply(run.origin.peer, || run.perform());
        run.scope.end(CallState::Finished);
        let askers = finish(&theirs, &run.scope).into_iter();
        let answers = askers.map(|(answer, scope)| {
            scope.end(CallState::Finished);
            answer
        });
        answer_all(&run.shared, answers.collect(), reply, callbacks);
    });
    if matches!(started, Started::Full) {
        finish(&all, &flight);
    }
    started
}

/// Takes a flight off the list, with those who wait for it.
fn finish(all: &CoalescedCalls, scope: &Arc<Scope>) -> Vec<(Answer, Arc<Scope>)> {
    let mut flights = locked(&all.0);
    let at = flights.iter().position(|flight| Arc::ptr_eq(&flight.scope, scope));
    at.map(|at| flights.swap_remove(at).askers).unwrap_or_default()
}

/// One who gives up is asked about no more; the last one ends the run.
fn detach_on_cancel(all: &Arc<CoalescedCalls>, asker: &Arc<Scope>, run: &Arc<Scope>) {
    let (all, run, me) = (Arc::downgrade(all), Arc::downgrade(run), Arc::downgrade(asker));
    asker.set_hook(move || {
        let (all, run) = (all.upgrade()?, run.upgrade()?);
        let mut flights = locked(&all.0);
        let at = flights.iter().position(|flight| Arc::ptr_eq(&flight.scope, &run))?;
        flights[at].askers.retain(|(_, scope)| !std::ptr::eq(Arc::as_ptr(scope), me.as_ptr()));
        if !flights[at].askers.is_empty() {
            return None;
        }
        flights.swap_remove(at);
        Some(run)
    });
}
