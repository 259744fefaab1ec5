//! A counter of the entries that a node looks at, for tests of the cost of a frame. Compiled only
//! for these.
//!
//! A step is a look at an entry of a map, table or list. Unlike time, steps are the same in every
//! run.

#[cfg(feature = "count-steps")]
std::thread_local! {
    static STEPS: core::cell::Cell<u64> = const { core::cell::Cell::new(0) };
}

/// Counts `entries` steps.
#[inline(always)]
pub fn count(entries: usize) {
    #[cfg(feature = "count-steps")]
    STEPS.with(|steps| steps.set(steps.get() + entries as u64));
    #[cfg(not(feature = "count-steps"))]
    let _ = entries;
}

/// Returns the number of steps of this thread so far.
#[cfg(feature = "count-steps")]
pub fn counted() -> u64 {
    STEPS.with(core::cell::Cell::get)
}
