//! The threads that run functions, so that no function blocks the broker. They are started on
//! demand and end when idle.
//!
//! A node has no pool before the first function that needs a thread. Callers use [`WorkerPool`]
//! only, so that an agent whose functions are all quick, such as the stock agent, contains no code
//! for threads.

use crate::runtime::extensions::locked;
use crate::runtime::scope::CallState;
use crate::runtime::scope::Scope;
use crate::runtime::state::NodeState;
use offshoot_sys::eventfd::EventFd;
use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::Weak;
use std::time::Duration;

/// The most functions that run at once in one context. Further calls are queued.
const LIMIT: usize = 64;

/// The most queued calls. Further ones are refused.
pub(crate) const LIMIT_WAITING: usize = 1 << 16;

/// The most bytes of queued calls.
pub(crate) const BYTES_WAITING: usize = 256 << 20;

/// How long an idle thread stays.
const IDLE: Duration = Duration::from_secs(20);

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    /// The scope that removes the call from the queue, the number of its bytes, and the call.
    queue: VecDeque<(Option<Arc<Scope>>, usize, Job)>,
    bytes: usize,
    idle: usize,
    threads: usize,
    stopped: bool,
}

/// The operations of a pool that exists.
trait Hired: Send + Sync {
    fn workers(self: Arc<Self>) -> Arc<Workers>;
    fn forget(&self, scope: &Arc<Scope>) -> bool;
    fn are_idle(&self) -> bool;
    fn look(&self) -> (u32, [u64; 2]);
    fn give_up(&self, life: &Arc<Scope>, core: &mut NodeState, agent: bool);
    fn stop(&self, patience: Duration);
}

/// The workers of a node, if it has any yet; and true once no function may start.
#[derive(Default)]
pub(crate) struct WorkerPool(Mutex<(Option<Arc<dyn Hired>>, bool)>);

impl WorkerPool {
    fn hired(&self) -> Option<Arc<dyn Hired>> {
        locked(&self.0).0.clone()
    }

    /// Returns the workers of this node, created at the first use.
    pub(crate) fn hire(&self, waker: &Arc<EventFd>) -> Arc<Workers> {
        let mut crew = locked(&self.0);
        let (hired, stopped) = &mut *crew;
        let new = || {
            let state = Mutex::new(State {
                stopped: *stopped,
                ..State::default()
            });
            Arc::new(Workers {
                state,
                waker: Arc::downgrade(waker),
                ..Workers::default()
            })
        };
        Arc::clone(hired.get_or_insert_with(|| new())).workers()
    }

    /// Removes a queued call whose caller does not wait any more. Returns true if it was queued.
    pub(crate) fn forget(&self, scope: &Arc<Scope>) -> bool {
        self.hired().is_some_and(|workers| workers.forget(scope))
    }

    /// Returns true if no function runs or is queued.
    pub(crate) fn are_idle(&self) -> bool {
        self.hired().is_none_or(|workers| workers.are_idle())
    }

    /// Returns the numbers of running functions, queued calls and threads.
    pub(crate) fn look(&self) -> (u32, [u64; 2]) {
        self.hired().map_or((0, [0, 0]), |workers| workers.look())
    }

    /// Cancels all running functions, because the node ends, and starts no others. In an agent,
    /// waits outside a scope end too. The last function that returns wakes the broker.
    pub(crate) fn give_up(&self, life: &Arc<Scope>, core: &mut NodeState, agent: bool) {
        // A pool that is created from now on starts nothing.
        locked(&self.0).1 = true;
        if let Some(workers) = self.hired() {
            workers.give_up(life, core, agent);
        }
    }

    /// Ends idle threads, and waits up to `patience` for running functions. Starts none after that.
    pub(crate) fn stop(&self, patience: Duration) {
        locked(&self.0).1 = true;
        if let Some(workers) = self.hired() {
            workers.stop(patience);
        }
    }
}

/// A queue of calls in a room above, which wait for something other than a thread.
pub(crate) trait Backlog: Any + Send + Sync {
    /// Drops the call of a scope, if it waits here. Returns true if it did.
    fn forget(&self, scope: &Arc<Scope>) -> bool;
}

/// The threads.
#[derive(Default)]
pub(crate) struct Workers {
    state: Mutex<State>,
    work: Condvar,
    /// Wakes the broker, which waits for the last function when the node ends.
    waker: Weak<EventFd>,
    /// The queues of rooms above, by type.
    backlogs: Mutex<Vec<Arc<dyn Backlog>>>,
}

impl Workers {
    /// Runs `job`, a call of `size` bytes, on a thread, or queues it until `scope` ends. Returns
    /// false if the queue is full.
    pub(crate) fn run(self: &Arc<Self>, scope: Option<&Arc<Scope>>, size: usize, job: Job) -> bool {
        let mut state = locked(&self.state);
        if state.stopped {
            return true;
        }
        if state.queue.len() >= LIMIT_WAITING
            || (state.bytes + size > BYTES_WAITING && !state.queue.is_empty())
        {
            return false;
        }
        state.bytes += size;
        state.queue.push_back((scope.cloned(), size, job));
        if state.idle >= state.queue.len() || state.threads == LIMIT {
            drop(state);
            self.work.notify_one();
            return true;
        }
        state.threads += 1;
        drop(state);
        let workers = Arc::clone(self);
        let started = std::thread::Builder::new()
            .name("function".into())
            .spawn(move || workers.serve());
        if started.is_err() {
            let mut state = locked(&self.state);
            state.threads -= 1;
            // Without any thread nothing would ever take it from the queue.
            if state.threads == 0 {
                let refused = state.queue.pop_back();
                state.bytes -= refused.as_ref().map_or(0, |(_, size, _)| *size);
                drop(state);
                return false;
            }
        }
        true
    }

    /// Returns the queue of type `T`, created at the first use.
    pub(crate) fn backlog<T: Backlog + Default>(&self) -> Arc<T> {
        let mut backlogs = locked(&self.backlogs);
        let known = backlogs.iter().find_map(|backlog| {
            let any: Arc<dyn Any + Send + Sync> = Arc::clone(backlog) as _;
            any.downcast::<T>().ok()
        });
        known.unwrap_or_else(|| {
            let new = Arc::new(T::default());
            backlogs.push(Arc::clone(&new) as _);
            new
        })
    }

    fn serve(&self) {
        let mut state = locked(&self.state);
        loop {
            if let Some((_, size, job)) = state.queue.pop_front() {
                state.bytes -= size;
                drop(state);
                job();
                state = locked(&self.state);
                continue;
            }
            if state.stopped {
                break;
            }
            state.idle += 1;
            let (next, waited) = self
                .work
                .wait_timeout(state, IDLE)
                .unwrap_or_else(PoisonError::into_inner);
            state = next;
            state.idle -= 1;
            if waited.timed_out() && state.queue.is_empty() {
                break;
            }
        }
        state.threads -= 1;
        let stopped = state.stopped;
        drop(state);
        self.work.notify_all();
        if stopped && let Some(waker) = self.waker.upgrade() {
            let _ = waker.write(1);
        }
    }

    fn close(&self) -> MutexGuard<'_, State> {
        let mut state = locked(&self.state);
        state.stopped = true;
        self.work.notify_all();
        state
    }
}

impl Hired for Workers {
    fn workers(self: Arc<Self>) -> Arc<Workers> {
        self
    }

    fn forget(&self, scope: &Arc<Scope>) -> bool {
        let mut state = locked(&self.state);
        if let Some(at) = state.queue.iter().position(|(other, ..)| {
            other
                .as_ref()
                .is_some_and(|other| Arc::ptr_eq(other, scope))
        }) {
            state.bytes -= state.queue.remove(at).map_or(0, |(_, size, _)| size);
            return true;
        }
        drop(state);
        let backlogs = locked(&self.backlogs).clone();
        backlogs.iter().any(|backlog| backlog.forget(scope))
    }

    fn are_idle(&self) -> bool {
        let state = locked(&self.state);
        state.queue.is_empty() && state.idle == state.threads
    }

    fn look(&self) -> (u32, [u64; 2]) {
        let state = locked(&self.state);
        (
            (state.threads - state.idle) as u32,
            [state.queue.len() as u64, state.threads as u64],
        )
    }

    fn give_up(&self, life: &Arc<Scope>, core: &mut NodeState, agent: bool) {
        // Queued calls stay in the queue and are refused when they start: values of the program
        // must not be dropped with the node locked.
        drop(self.close());
        core.end_scope(life, CallState::Gone, agent);
    }

    fn stop(&self, patience: Duration) {
        let mut state = self.close();
        state.queue.clear();
        state.bytes = 0;
        let _unfinished = self
            .work
            .wait_timeout_while(state, patience, |state| state.threads > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::handle::NodeHandle;
    use crate::runtime::image_store::Images;
    use offshoot_proto::Error;
    use offshoot_proto::node::Node;
    use offshoot_sys::eventfd::EfdFlags;
    use std::sync::mpsc::channel;

    #[test]
    fn an_idle_pool_has_no_threads_and_a_stopped_pool_runs_nothing() {
        let waker =
            Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC).expect("there are descriptors"));
        let crew = WorkerPool::default();
        assert!(crew.are_idle() && crew.look() == (0, [0, 0]));
        assert!(!crew.forget(&Arc::new(Scope::new(None, crate::runtime::scope::NEVER, 0))));
        assert!(crew.hired().is_none(), "queries start no thread");
        let (done, told) = channel();
        assert!(
            crew.hire(&waker)
                .run(None, 0, Box::new(move || done.send(7).unwrap()))
        );
        assert_eq!(told.recv(), Ok(7));
        crew.stop(Duration::from_secs(60));
        assert_eq!(crew.look(), (0, [0, 0]));

        let stopped = WorkerPool::default();
        stopped.stop(Duration::ZERO);
        let (done, told) = channel::<()>();
        assert!(
            stopped
                .hire(&waker)
                .run(None, 0, Box::new(move || drop(done)))
        );
        assert!(told.recv().is_err(), "a job that never runs is dropped");
        assert_eq!(stopped.look(), (0, [0, 0]));
    }

    #[test]
    fn a_pool_that_is_created_after_the_end_of_its_node_runs_nothing() {
        let images = Images::found(Box::new(|_| Err(Error::ShutDown)));
        let shared = NodeHandle::new(Node::root(), images).expect("there are descriptors");
        shared
            .workers
            .give_up(&shared.life, &mut shared.lock(), false);
        let (done, told) = channel();
        shared
            .workers
            .hire(&shared.waker)
            .run(None, 0, Box::new(move || done.send(()).unwrap()));
        assert!(told.recv().is_err(), "the job was dropped without a run");
        assert_eq!(shared.workers.look(), (0, [0, 0]));
    }
}
