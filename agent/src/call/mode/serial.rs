//! One call of a function at a time in a context, in the order in which the calls arrived.

use crate::call::function::{Run, Started};
use crate::call::mode::direct::on_worker;
use crate::runtime::extensions::locked;
use crate::runtime::scope::Scope;
use crate::runtime::worker_pool::{BYTES_WAITING, Backlog, LIMIT_WAITING};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// The calls of one function that wait for earlier ones.
struct SerialQueue {
    function: &'static str,
    waiting: VecDeque<Run>,
    /// The bytes of their requests.
    bytes: usize,
}

/// The queues of a node.
#[derive(Default)]
struct SerialQueues(Mutex<Vec<SerialQueue>>);

impl Backlog for SerialQueues {
    fn forget(&self, scope: &Arc<Scope>) -> bool {
        for queue in locked(&self.0).iter_mut() {
            if let Some(at) = queue
                .waiting
                .iter()
                .position(|run| Arc::ptr_eq(&run.scope, scope))
            {
                queue.bytes -= queue.waiting.remove(at).map_or(0, |run| run.request.len());
                return true;
            }
        }
        false
    }
}

/// Runs the function on a worker, one call at a time in this context, in the order in which the
/// calls arrived.
pub fn serial(run: Run) -> Started {
    let workers = run.shared.workers.hire(&run.shared.waker);
    let all: Arc<SerialQueues> = workers.backlog();
    let mut queues = locked(&all.0);
    let function = run.function.name;
    if let Some(queue) = queues.iter_mut().find(|queue| queue.function == function) {
        let bytes = queue.bytes + run.request.len();
        if queue.waiting.len() >= LIMIT_WAITING
            || (bytes > BYTES_WAITING && !queue.waiting.is_empty())
        {
            return Started::Full;
        }
        queue.bytes = bytes;
        queue.waiting.push_back(run);
        return Started::Later;
    }
    queues.push(SerialQueue {
        function,
        waiting: VecDeque::new(),
        bytes: 0,
    });
    drop(queues);
    let (size, theirs) = (run.request.len(), Arc::clone(&all));
    let started = on_worker(&workers, None, size, move || {
        let mut next = Some(run);
        // The worker keeps the whole queue, so that no second call of the function can start beside
        // it.
        while let Some(run) = next {
            run.finish();
            next = after(&theirs, function);
        }
    });
    if matches!(started, Started::Full) {
        locked(&all.0).retain(|queue| queue.function != function);
    }
    started
}

/// Returns the next call. If none waits, the queue is removed.
fn after(all: &SerialQueues, function: &'static str) -> Option<Run> {
    let mut queues = locked(&all.0);
    let at = queues.iter().position(|queue| queue.function == function)?;
    let next = queues[at].waiting.pop_front();
    match &next {
        Some(run) => queues[at].bytes -= run.request.len(),
        None => drop(queues.swap_remove(at)),
    }
    next
}
