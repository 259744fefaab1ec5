//! The values of a node by type, one of each type, created at the first use. Rooms above keep their
//! state here, so that the runtime names none of them.

use std::any::{Any, TypeId};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Locks a mutex, also after a panic while it was held: every state here is changed in one step, so
/// it is never half changed.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The place of one value. The first caller creates the value while others wait for it.
#[derive(Default)]
pub(crate) struct Cell(Mutex<Option<Arc<dyn Any + Send + Sync>>>);

/// All values of a node.
#[derive(Default)]
pub(crate) struct Extensions(Mutex<Vec<(TypeId, Arc<Cell>)>>);

impl Extensions {
    /// Returns the value of type `T`, created by `T::default()` at the first use.
    pub(crate) fn get<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        match self.get_or_else(|| Ok::<T, std::convert::Infallible>(T::default())) {
            Ok(value) => value,
            Err(never) => match never {},
        }
    }

    /// Returns the value of type `T`, created by `make` if there is none. After a failure the next
    /// caller calls its own `make`.
    ///
    /// # Errors
    /// Returns the error of `make`.
    pub(crate) fn get_or_else<T: Send + Sync + 'static, E>(
        &self,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let cell = {
            let mut all = locked(&self.0);
            match all.iter().find(|(of, _)| *of == TypeId::of::<T>()) {
                Some((_, cell)) => Arc::clone(cell),
                None => {
                    let cell = Arc::new(Cell::default());
                    all.push((TypeId::of::<T>(), Arc::clone(&cell)));
                    cell
                }
            }
        };
        let mut value = locked(&cell.0);
        if value.is_none() {
            *value = Some(Arc::new(make()?));
        }
        let value = value.clone().and_then(|value| value.downcast::<T>().ok());
        Ok(value.expect("it was made as this type, under a lock"))
    }

    /// Drops all values. A function that holds one keeps it until it returns.
    pub(crate) fn clear(&self) {
        let all = std::mem::take(&mut *locked(&self.0));
        drop(all);
    }
}
