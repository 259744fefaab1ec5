//! Threads that run functions, so that none of them can hold up the broker. Started when needed, ended when idle.

use crate::invoke::{Flight, Turn};
use crate::scope::Scope;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How many functions run at once in one context; further calls wait for their turn.
const LIMIT: usize = 64;
/// How many calls wait for their turn; more are refused.
pub(crate) const LIMIT_WAITING: usize = 1 << 16;
/// How many bytes of them.
pub(crate) const BYTES_WAITING: usize = 256 << 20;
/// How long a thread without work stays.
const IDLE: Duration = Duration::from_secs(20);

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    /// The scope with which the call may be let go, how many bytes it has, and the call.
    queue: VecDeque<(Option<Arc<Scope>>, usize, Job)>,
    bytes: usize,
    idle: usize,
    threads: usize,
    stopped: bool,
}

/// The threads.
#[derive(Default)]
pub(crate) struct Workers {
    state: Mutex<State>,
    work: Condvar,
    /// Functions of which one call runs at a time, with those that wait.
    pub turns: Mutex<Vec<Turn>>,
    /// Runs that several wait for.
    pub flights: Mutex<Vec<Flight>>,
}

impl Workers {
    /// Has `job` run soon, a call of `size` bytes that is let go with `scope`. Whether it may wait for its turn.
    pub fn run(self: &Arc<Self>, scope: Option<&Arc<Scope>>, size: usize, job: Job) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
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
        let started = std::thread::Builder::new().name("function".into()).spawn(move || workers.serve());
        if started.is_err() {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.threads -= 1;
            // Where no other thread will ever come to it, it is not taken.
            if state.threads == 0 {
                let refused = state.queue.pop_back();
                state.bytes -= refused.as_ref().map_or(0, |(_, size, _)| *size);
                drop(state);
                return false;
            }
        }
        true
    }

    fn serve(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some((_, size, job)) = state.queue.pop_front() {
                state.bytes -= size;
                drop(state);
                job();
                state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            if state.stopped {
                break;
            }
            state.idle += 1;
            let (next, waited) = self.work.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = next;
            state.idle -= 1;
            if waited.timed_out() && state.queue.is_empty() {
                break;
            }
        }
        state.threads -= 1;
        drop(state);
        self.work.notify_all();
    }

    /// Nobody waits for the reply any more: what has not begun does not, and its arguments are let go. Whether that was so.
    pub fn forget(&self, scope: &Arc<Scope>) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = state
            .queue
            .iter()
            .position(|(other, ..)| other.as_ref().is_some_and(|other| Arc::ptr_eq(other, scope)))
        {
            state.bytes -= state.queue.remove(at).map_or(0, |(_, size, _)| size);
            return true;
        }
        drop(state);
        crate::invoke::forget(&self.turns, scope)
    }

    /// Whether no function runs or waits for its turn.
    pub fn are_idle(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.queue.is_empty() && state.idle == state.threads
    }

    /// How many functions run; how many wait for their turn, and how many threads there are.
    pub fn look(&self) -> (u32, [u64; 2]) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        ((state.threads - state.idle) as u32, [state.queue.len() as u64, state.threads as u64])
    }

    /// Lets threads end as they become idle, and waits for those that are.
    pub fn stop(&self, patience: Duration) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.stopped = true;
        state.queue.clear();
        state.bytes = 0;
        self.work.notify_all();
        let _unfinished = self.work.wait_timeout_while(state, patience, |state| state.threads > 0);
    }
}
