//! Values of a node by type: one of each type, made when it is first asked for. Rooms above keep
//! their state here, so that the node names none of them.

use std::any::{Any, TypeId};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Locks a mutex. A panic while it was held leaves a state that is as good as before: nothing here
/// changes in two steps.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One value. The first caller makes it while others that ask for the same type wait.
#[derive(Default)]
pub(crate) struct Cell(Mutex<Option<Arc<dyn Any + Send + Sync>>>);

/// All values of a node.
#[derive(Default)]
pub(crate) struct Extensions(Mutex<Vec<(TypeId, Arc<Cell>)>>);

impl Extensions {
    /// Returns the value of type `T`, made by `T::default()` when it is first asked for.
    pub(crate) fn get<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        match self.get_or_else(|| Ok::<T, std::convert::Infallible>(T::default())) {
            Ok(value) => value,
            Err(never) => match never {},
        }
    }

    /// Returns the value of type `T`, made by `make` where there is none. After a failure the next
    /// caller makes it.
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

    /// Drops all values; each is freed once the last function that holds it has returned.
    pub(crate) fn clear(&self) {
        let all = std::mem::take(&mut *locked(&self.0));
        drop(all);
    }
}
