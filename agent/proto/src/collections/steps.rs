//! Counts what a node looks at, for the fuzz targets and the tests of what a frame may cost; nothing at all elsewhere.
//!
//! One step is one entry of a map, a table or a list that is looked at. Time would tell the same, and differ from run to run.

#[cfg(feature = "count-steps")]
std::thread_local! {
    static STEPS: core::cell::Cell<u64> = const { core::cell::Cell::new(0) };
}

/// So many entries are looked at.
#[inline(always)]
pub fn count(entries: usize) {
    #[cfg(feature = "count-steps")]
    STEPS.with(|steps| steps.set(steps.get() + entries as u64));
    #[cfg(not(feature = "count-steps"))]
    let _ = entries;
}

/// How many there were on this thread, ever.
#[cfg(feature = "count-steps")]
pub fn counted() -> u64 {
    STEPS.with(core::cell::Cell::get)
}
