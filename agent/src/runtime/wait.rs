//! Deadlines, and waiting for a state behind a lock until one has passed. Only this module reads
//! the clock (`clippy.toml`).

use std::sync::{Condvar, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Returns the current time of the monotonic clock.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the clock"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Returns the time left until a deadline; zero if it has passed.
pub(crate) fn left(until: Instant) -> Duration {
    until.saturating_duration_since(now())
}

/// Returns the time that is `timeout` from now; none if it exceeds the range of the clock, so that
/// it never comes.
pub(crate) fn deadline(timeout: Duration) -> Option<Instant> {
    now().checked_add(timeout)
}

/// Waits until `take` returns a value; it runs again whenever `changed` is notified. Returns none
/// once `until` has passed.
pub(crate) fn wait_until<S, T>(
    changed: &Condvar,
    mut state: MutexGuard<'_, S>,
    until: Option<Instant>,
    mut take: impl FnMut(&mut S) -> Option<T>,
) -> Option<T> {
    loop {
        if let Some(found) = take(&mut state) {
            return Some(found);
        }
        state = match until {
            None => changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(until) => {
                let left = left(until);
                if left.is_zero() {
                    return None;
                }
                changed
                    .wait_timeout(state, left)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        };
    }
}
