//! A call at once, or on a worker.

use crate::call::function::{Run, Started};
use crate::runtime::scope::Scope;
use crate::runtime::worker_pool::Workers;
use std::sync::Arc;

/// Has `work` done by a worker, unless `scope` ends before.
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

/// At once, on the thread that serves the whole context.
pub fn quick(mut run: Run) -> Started {
    Started::Now(run.perform())
}

/// On a worker, beside others.
pub fn concurrent(run: Run) -> Started {
    let (workers, scope) = (run.shared.workers.hire(&run.shared.waker), Arc::clone(&run.scope));
    on_worker(&workers, Some(&scope), run.request.len(), move || run.finish())
}
