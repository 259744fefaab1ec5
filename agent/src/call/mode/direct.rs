//! Calls that run at once, on the broker's thread or on a worker.

use crate::call::function::{Run, Started};
use crate::runtime::scope::Scope;
use crate::runtime::worker_pool::Workers;
use std::sync::Arc;

/// Runs `work` on a worker, unless `scope` ends before it begins.
pub(crate) fn on_worker(
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

/// Runs the function at once, on the broker's thread.
pub fn quick(mut run: Run) -> Started {
    Started::Now(run.perform())
}

/// Runs the function on a worker, in parallel with other calls.
pub fn concurrent(run: Run) -> Started {
    let (workers, scope) = (
        run.shared.workers.hire(&run.shared.waker),
        Arc::clone(&run.scope),
    );
    on_worker(&workers, Some(&scope), run.request.len(), move || {
        run.finish()
    })
}
