//! Signals of this process as a source of items: Ctrl-C in an event loop.

use offshoot_agent::{Elapsed, Source};
use signal_hook::consts::SIGINT;
use signal_hook::iterator::{Handle, Signals as Incoming};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Signals that this process has received, in their order. They do not end the process any more,
/// and are ignored once this value was dropped.
///
/// They can be waited for, awaited by [`recv`](Signals::recv), or added to a
/// [`Select`](crate::Select).
///
/// ```no_run
/// use offshoot::{IntoSource, Select, stock::facts};
///
/// # fn example(router: &offshoot::Router) -> Result<(), offshoot::Report> {
/// let web = router.ssh("web1").connect()?;
/// let select = Select::default();
/// select.add(web.start(facts {}).map_items(|(_, facts)| Some(facts)));
/// select.add(offshoot::ctrl_c()?.map_items(|_| None));
/// match select.wait().flatten() {
///     Some(facts) => println!("{}", facts?.kernel),
///     None => println!("interrupted"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Signals {
    shared: Arc<Shared>,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct State {
    received: VecDeque<i32>,
    wakers: Vec<Waker>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, signal: i32) {
        let mut state = self.lock();
        state.received.push_back(signal);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.arrived.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Returns the interrupts that a user sends by Ctrl-C.
///
/// The programs and functions of a tree are not interrupted by it: the tree ends when its router
/// is dropped.
///
/// # Errors
/// Returns an error as [`Signals::new`] does.
pub fn ctrl_c() -> io::Result<Signals> {
    Signals::new([SIGINT])
}

impl Signals {
    /// Receives these signals from now on, by a thread of its own.
    ///
    /// # Errors
    /// Returns an error if a signal cannot be handled, such as SIGKILL, or if no thread can be
    /// started.
    pub fn new(signals: impl IntoIterator<Item = i32>) -> io::Result<Self> {
        let signals: Vec<i32> = signals.into_iter().collect();
        if let Some(signal) = signals
            .iter()
            .find(|signal| signal_hook::consts::FORBIDDEN.contains(signal))
        {
            // signal-hook panics.
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("signal {signal} cannot be handled"),
            ));
        }
        let mut incoming = Incoming::new(&signals)?;
        let shared = Arc::<Shared>::default();
        let handle = incoming.handle();
        let inbox = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("offshoot-signals".into())
            .spawn(move || incoming.forever().for_each(|signal| inbox.push(signal)))?;
        Ok(Self {
            shared,
            handle,
            thread: Some(thread),
        })
    }

    /// Waits for the next signal.
    #[must_use]
    pub fn wait(&self) -> i32 {
        let mut state = self.shared.lock();
        loop {
            if let Some(signal) = state.received.pop_front() {
                return signal;
            }
            state = self
                .shared
                .arrived
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for the next signal, at most for `timeout`.
    ///
    /// # Errors
    /// Returns [`Elapsed`] if none arrived within `timeout`.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<i32, Elapsed> {
        let until = Instant::now().checked_add(timeout);
        let mut state = self.shared.lock();
        loop {
            if let Some(signal) = state.received.pop_front() {
                return Ok(signal);
            }
            let left = until.map_or(Duration::MAX, |until| {
                until.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                return Err(Elapsed);
            }
            state = self
                .shared
                .arrived
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Awaits the next signal.
    pub async fn recv(&self) -> i32 {
        std::future::poll_fn(|cx| self.poll_next(cx.waker())).await
    }

    fn poll_next(&self, waker: &Waker) -> Poll<i32> {
        let mut state = self.shared.lock();
        match state.received.pop_front() {
            Some(signal) => Poll::Ready(signal),
            None => {
                if !state.wakers.iter().any(|other| other.will_wake(waker)) {
                    state.wakers.push(waker.clone());
                }
                Poll::Pending
            }
        }
    }
}

impl Source for Signals {
    type Item = i32;
    fn poll_item(&mut self, waker: &Waker) -> Poll<Option<i32>> {
        self.poll_next(waker).map(Some)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use offshoot_agent::{IntoSource as _, Select};
    use signal_hook::consts::{SIGKILL, SIGUSR1};
    use signal_hook::low_level::raise;
    use std::pin::Pin;
    use std::task::Context;

    #[test]
    fn signals_arrive_by_waiting_by_select_and_by_awaiting() {
        assert!(Signals::new([SIGKILL]).is_err());
        let signals = Signals::new([SIGUSR1]).unwrap();
        assert_eq!(signals.wait_timeout(Duration::ZERO), Err(Elapsed));
        raise(SIGUSR1).unwrap();
        assert_eq!(signals.wait(), SIGUSR1);
        let mut next = Box::pin(signals.recv());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::as_mut(&mut next).poll(&mut cx).is_pending());
        raise(SIGUSR1).unwrap();
        drop(next);
        let select = Select::default();
        select.add(signals.map_items(|signal| ("signal", signal)));
        assert_eq!(select.wait(), Some(("signal", SIGUSR1)));
    }
}
