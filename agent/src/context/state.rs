//! State that lives with a context: made once when it is first asked for, shared by all calls, dropped when the context ends.

use crate::context::Context;
use offshoot_proto::Result;
use std::sync::Arc;

impl Context {
    /// This process's state of type `T`, made by `T::default()` when it is first asked for. It is the same for all calls that run
    /// in this process and tree, and is dropped when the context ends: behind its functions, which are given up then, or with the last of them
    /// that holds it.
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

    /// The same for a state that has to be made in some way that may fail, as by connecting a context of its own. Others who ask for
    /// it meanwhile wait. After a failure the next to ask makes it anew.
    ///
    /// What is made belongs to no call: a context that `make` is given is not given up with the one that asked first. `make` must not
    /// ask for the same state: it would wait for itself.
    ///
    /// # Errors
    /// That of `make`.
    pub fn state_or_else<T: Send + Sync + 'static>(
        &self,
        make: impl FnOnce(&Context) -> Result<T>,
    ) -> Result<Arc<T>> {
        self.node().states.get_or_else(|| make(&self.own().unscoped()))
    }
}
