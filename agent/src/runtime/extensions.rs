//! State of a node by type: one value of each type, made when it is first asked for.

use std::any::Any;
use std::any::TypeId;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::{MutexGuard, PoisonError};

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One state. Whoever asks first makes it while the others wait, and only those who ask for the same.
#[derive(Default)]
pub(crate) struct Cell(pub(crate) Mutex<Option<Arc<dyn Any + Send + Sync>>>);

/// All states of a node.
#[derive(Default)]
pub(crate) struct States(pub(crate) Mutex<Vec<(TypeId, Arc<Cell>)>>);

impl States {
    /// Lets go of all of them; each is dropped when the last function that holds it has ended.
    pub fn clear(&self) {
        let all = std::mem::take(&mut *locked(&self.0));
        drop(all);
    }
}
