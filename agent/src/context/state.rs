//! State of a context: created on first use, shared by all calls, dropped when the context ends.

use crate::context::Context;
use offshoot_proto::Result;
use std::sync::Arc;

impl Context {
    /// Returns the state of type `T` of this process, created by `T::default()` on first use. All
    /// calls that run in this process and tree share it. It is dropped when the context ends, after
    /// its functions, which are cancelled then; a function that still holds it keeps it until it
    /// returns.
    ///
    /// ```no_run
    /// # use offshoot_agent as offshoot;
    /// # use offshoot::{Context, remote};
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// #[derive(Default)]
    /// struct Visits(AtomicU64);
    ///
    /// #[remote(crate = offshoot)]
    /// fn visit(cx: &Context) -> u64 {
    ///     cx.state::<Visits>().0.fetch_add(1, Ordering::Relaxed) + 1
    /// }
    /// ```
    pub fn state<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        match self.state_or_else(|_| Ok(T::default())) {
            Ok(state) => state,
            Err(error) => unreachable!("a default cannot fail: {error}"),
        }
    }

    /// Returns the state of type `T`, created by `make` on first use, which may fail, for instance
    /// while it connects a context of its own. Other callers wait meanwhile. After a failure the
    /// next caller runs its own `make`.
    ///
    /// The state belongs to no call: cancelling the first caller does not end contexts that `make`
    /// connects with the context it is given. `make` must not ask for the same state, which would
    /// wait for itself.
    ///
    /// # Errors
    /// Returns the error of `make`.
    pub fn state_or_else<T: Send + Sync + 'static>(
        &self,
        make: impl FnOnce(&Self) -> Result<T>,
    ) -> Result<Arc<T>> {
        self.node()
            .states
            .get_or_else(|| make(&self.own().unscoped()))
    }
}
