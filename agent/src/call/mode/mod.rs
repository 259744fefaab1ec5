//! When a called function runs, and on which thread: at once on the broker's, on a worker beside others, on a worker after
//! those before it, or once for all who ask for the same. The attribute picks one for each function, so that an image has
//! the code of those ways only that its functions take.

use crate::call::answer::Answer;
use crate::call::answer::deliver;
use crate::call::function::Run;
use crate::call::function::Started;
use crate::context::transfer as travel;
use crate::context::transfer::stay;
use crate::runtime::handle::NodeHandle;
use crate::runtime::scope::CallState;
use crate::runtime::scope::NEVER;
use crate::runtime::scope::Scope;
use crate::runtime::slot::DeliveryCallback;
use crate::runtime::worker_pool::BYTES_WAITING;
use crate::runtime::worker_pool::LIMIT_WAITING;
use crate::runtime::worker_pool::Workers;
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::task::Poll;
use std::task::Wake;
use std::task::Waker;
use std::thread::Thread;

/// Gives a reply to those who wait for it. What was to leave with it stays where none of them does any more.
pub(crate) fn answer_all(
    shared: &Arc<NodeHandle>,
    answers: Vec<Answer>,
    reply: Vec<u8>,
    fares: Vec<DeliveryCallback>,
) {
    let left = shared.with(|core| {
        let Some((last, others)) = answers.split_last() else { return false };
        let mut left = false;
        for to in others {
            left |= deliver(shared, core, *to, reply.clone());
        }
        deliver(shared, core, *last, reply) || left
    });
    if !left {
        stay(fares);
    }
}

/// Has `work` done by a worker, unless `scope` ends before.
fn on_worker(
    workers: &Arc<Workers>,
    scope: Option<&Arc<Scope>>,
    size: usize,
    work: impl FnOnce() + Send + 'static,
) -> Started {
    match workers.run(scope, size, Box::new(work)) {
        true => Started::Later,
        false => Started::Full,
    }
}

/// At once, on the thread that serves the whole context.
pub fn quick(mut run: Run) -> Started {
    Started::Now(run.perform())
}

/// On a worker, beside others.
pub fn concurrent(run: Run) -> Started {
    let (workers, scope) = (run.shared.workers.hire(&run.shared), Arc::clone(&run.scope));
    on_worker(&workers, Some(&scope), run.request.len(), move || run.finish())
}

/// The calls of one function that wait for those before them.
pub(crate) struct SerialQueue {
    function: &'static str,
    waiting: VecDeque<Run>,
    /// How many bytes they are.
    bytes: usize,
}

/// Lets a call go that waits for its turn. Whether there was one in that scope.
pub(crate) fn forget(turns: &Mutex<Vec<SerialQueue>>, scope: &Arc<Scope>) -> bool {
    let mut turns = locked(turns);
    for turn in turns.iter_mut() {
        if let Some(at) = turn.waiting.iter().position(|run| Arc::ptr_eq(&run.scope, scope)) {
            turn.bytes -= turn.waiting.remove(at).map_or(0, |run| run.request.len());
            return true;
        }
    }
    false
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// On a worker, one call of the function at a time in this context, in the order in which they came.
pub fn serial(run: Run) -> Started {
    let workers = run.shared.workers.hire(&run.shared);
    let mut turns = locked(&workers.turns);
    let function = run.function.name;
    if let Some(turn) = turns.iter_mut().find(|turn| turn.function == function) {
        let bytes = turn.bytes + run.request.len();
        if turn.waiting.len() >= LIMIT_WAITING || (bytes > BYTES_WAITING && !turn.waiting.is_empty()) {
            return Started::Full;
        }
        turn.bytes = bytes;
        turn.waiting.push_back(run);
        return Started::Later;
    }
    turns.push(SerialQueue { function, waiting: VecDeque::new(), bytes: 0 });
    drop(turns);
    let (size, theirs) = (run.request.len(), Arc::clone(&workers));
    let started = on_worker(&workers, None, size, move || {
        let mut next = Some(run);
        while let Some(run) = next {
            run.finish();
            next = after(&theirs, function);
        }
    });
    if matches!(started, Started::Full) {
        locked(&workers.turns).retain(|turn| turn.function != function);
    }
    started
}

/// The call whose turn it is now; none, and no turn, where nobody waits.
fn after(workers: &Workers, function: &'static str) -> Option<Run> {
    let mut turns = locked(&workers.turns);
    let at = turns.iter().position(|turn| turn.function == function)?;
    let next = turns[at].waiting.pop_front();
    match &next {
        Some(run) => turns[at].bytes -= run.request.len(),
        None => drop(turns.swap_remove(at)),
    }
    next
}

/// A run that several wait for.
pub(crate) struct CoalescedCall {
    function: &'static str,
    arguments: Vec<u8>,
    /// Whether it is on behalf of one who is obeyed: what others' arguments may name is less.
    obeyed: bool,
    /// Whose answer it makes. Nobody is left where all have given up.
    askers: Vec<(Answer, Arc<Scope>)>,
    scope: Arc<Scope>,
}

/// On a worker, once for all who ask with the same arguments while it runs. Nobody's giving up ends it but the last one's.
pub fn shared(run: Run) -> Started {
    let Run { shared, function, context, scope: asker, origin, obeyed, request, at, answer } = run;
    let workers = shared.workers.hire(&shared);
    let mut flights = locked(&workers.flights);
    let arguments = &request[at..];
    let same = |flight: &&mut CoalescedCall| {
        flight.function == function.name && flight.obeyed == obeyed && flight.arguments == arguments
    };
    if let Some(flight) = flights.iter_mut().find(same) {
        if flight.askers.len() >= LIMIT_WAITING {
            return Started::Full;
        }
        leave_by_cancel(&workers, &asker, &flight.scope);
        flight.askers.push((answer, asker));
        return Started::Later;
    }
    let scope = Arc::new(Scope::new(Some(Arc::clone(&shared.life)), NEVER, 0));
    leave_by_cancel(&workers, &asker, &scope);
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
    let theirs = Arc::clone(&workers);
    let started = on_worker(&workers, None, size, move || {
        let (reply, fares) = travel::reply(run.origin.peer, || run.perform());
        run.scope.end(CallState::Over);
        let askers = land(&theirs, &run.scope).into_iter();
        let answers = askers.map(|(answer, scope)| {
            scope.end(CallState::Over);
            answer
        });
        answer_all(&run.shared, answers.collect(), reply, fares);
    });
    if matches!(started, Started::Full) {
        land(&workers, &flight);
    }
    started
}

/// Takes a flight off the list, with those who wait for it.
fn land(workers: &Workers, scope: &Arc<Scope>) -> Vec<(Answer, Arc<Scope>)> {
    let mut flights = locked(&workers.flights);
    let at = flights.iter().position(|flight| Arc::ptr_eq(&flight.scope, scope));
    at.map(|at| flights.swap_remove(at).askers).unwrap_or_default()
}

/// One who gives up is asked about no more; the last one ends the run.
fn leave_by_cancel(workers: &Arc<Workers>, asker: &Arc<Scope>, run: &Arc<Scope>) {
    let (workers, run, me) = (Arc::downgrade(workers), Arc::downgrade(run), Arc::downgrade(asker));
    asker.set_hook(move || {
        let (workers, run) = (workers.upgrade()?, run.upgrade()?);
        let mut flights = locked(&workers.flights);
        let at = flights.iter().position(|flight| Arc::ptr_eq(&flight.scope, &run))?;
        flights[at].askers.retain(|(_, scope)| !std::ptr::eq(Arc::as_ptr(scope), me.as_ptr()));
        if !flights[at].askers.is_empty() {
            return None;
        }
        flights.swap_remove(at);
        Some(run)
    });
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Drives a future to its end on this thread. There is no reactor: futures that need one of a runtime's do not get it here, but
/// replies, receivers, selects and whatever else wakes by itself do.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
