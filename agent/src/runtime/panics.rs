//! Panics of functions. If the build unwinds, a panic ends only its own call, whose error contains
//! the message and the place.
//!
//! In a build that aborts, this module does nothing and a panic ends the process. The panic hook
//! that notes the place also calls the previous hook.

use std::cell::Cell;
use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::panic::Location;
use std::panic::catch_unwind;
use std::panic::set_hook;
use std::panic::take_hook;
use std::sync::Once;

thread_local! {
    /// True while this thread runs a function.
    static RUNS: Cell<bool> = const { Cell::new(false) };
    /// The place of the last panic on this thread.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `work`, a remote function.
///
/// # Errors
/// Returns the message and the place of its panic, as `message, at file:line:column`.
pub(crate) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    if !cfg!(panic = "unwind") {
        return Ok(work());
    }
    static HOOK: Once = Once::new();
    HOOK.call_once(note_places);
    let outer = RUNS.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    RUNS.set(outer);
    let place = PLACE.take();
    outcome.map_err(|panic| {
        let message = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "without a text".into());
        match place {
            Some(place) => format!("{message}, at {place}"),
            // There is no place if the program has set another hook later.
            None => message,
        }
    })
}

/// Runs `work`, which may be code of the program: a callback, a waker, a `Deserialize`. Catches its
/// panic, because this thread must continue. Returns true if there was no panic.
pub(crate) fn survive(work: impl FnOnce()) -> bool {
    if !cfg!(panic = "unwind") {
        work();
        return true;
    }
    catch_unwind(AssertUnwindSafe(work)).is_ok()
}

fn note_places() {
    let before = take_hook();
    set_hook(Box::new(move |panic| {
        if RUNS.get() {
            PLACE.set(panic.location().map(Location::to_string));
        }
        before(panic);
    }));
}

#[cfg(test)]
mod tests {
    use super::catch;

    #[test]
    fn a_panic_is_caught_with_its_location_and_leaves_no_state() {
        assert_eq!(catch(|| 7), Ok(7));
        let line = line!() + 1;
        let told = catch(|| panic!("out of {}", "cheese")).map(|()| 0);
        let begins = format!("out of cheese, at {}:{line}:", file!());
        assert!(
            told.as_ref().is_err_and(|told| told.starts_with(&begins)),
            "{told:?}"
        );
        assert_eq!(catch(|| 8), Ok(8));
        let told = catch(|| std::panic::resume_unwind(Box::new(5))).map(|()| 0);
        assert_eq!(told, Err("without a text".to_owned()));
        let nested = catch(|| catch(|| panic!("inner")).map(|()| 0).unwrap_err());
        assert!(nested.is_ok_and(|told| told.starts_with("inner, at ")));
    }
}
