//! A simulator: trees of any shape, with real nodes, a virtual clock, bounded pipes, and all kinds
//! of failures, from one seed.
//!
//! A [`plan::Step`] is one action: a connect that succeeds or fails, a call, a stream with a slow
//! reader, a cut, a stall, a forged frame, a flipped bit. [`generate::plan`] draws a plan from a
//! seed, [`run::run`] executes it, [`check::Check`] lists the invariants and [`check::BOUNDS`]
//! their bounds. Runs are deterministic: the clock is the agenda of [`world::World`], and the seed
//! decides where reads are cut.
//!
//! # Using it
//!
//! A test of one situation lists its steps and calls [`replay`], which panics if an invariant is
//! violated. A new kind of action is a new `Step`, drawn in `generate` and executed in `run`. A new
//! invariant is a new `Check`, with a `Sabotage` and a test in `simulator.rs` which shows that the
//! check works. Changes to `Node` concern `place.rs` only.
//!
//! # A seed that fails
//!
//! `a_million_random_events_violate_no_check` prints the seed, shrinks the plan and prints it as a
//! test, which belongs into `found.rs`, also after the bug is fixed. By hand:
//!
//! ```text
//! export OFFSHOOT_SIM_SEED=1234 OFFSHOOT_SIM_EVENTS=1
//! cargo test -p offshoot-proto --test simulator a_million
//! ```
//!
//! # The files
//!
//! `place`: a context, and all contact with `Node`. `cable` and `pipe`: a link. `hops`: arrival and
//! loss of links. `users` and `end`: users of flows. `deeds`: other actions. `ledger`: requests,
//! outcomes and the true tree. `world`: the agenda. `check`: the invariants; `held`: the formula of
//! one of them. `plan`, `generate`, `run`, `shrink`: steps, and their order. `trace`: comparison of
//! runs. `rng`: the random numbers.

pub(crate) mod cable;
pub(crate) mod check;
pub(crate) mod deeds;
pub(crate) mod end;
#[cfg(test)]
mod found;
pub(crate) mod generate;
pub(crate) mod held;
pub(crate) mod hops;
pub(crate) mod ledger;
pub(crate) mod pipe;
pub(crate) mod place;
pub(crate) mod plan;
pub(crate) mod rng;
pub(crate) mod run;
pub(crate) mod shrink;
#[cfg(test)]
mod size;
pub(crate) mod steps;
pub(crate) mod trace;
#[cfg(test)]
mod truths;
pub(crate) mod users;
pub(crate) mod world;

use check::Failure;
use plan::Step;
use run::{Options, Run, run};

/// Executes a plan. Panics if it violates an invariant.
pub(crate) fn replay(seed: u64, plan: &[Step]) -> Run {
    let done = run(plan, Options::of(seed));
    if let Some(failure) = &done.failure {
        panic!(
            "{:?} at {} us, after {} events: {}",
            failure.check, failure.now, failure.event, failure.what
        );
    }
    done
}

/// Shrinks the plan of a failed run.
pub(crate) fn shrunk(plan: &[Step], options: Options, failure: &Failure) -> (Vec<Step>, Failure) {
    let mut last = failure.clone();
    let small = shrink::shrink(plan, |candidate| match run(candidate, options).failure {
        Some(found) if found.check == failure.check => {
            last = found;
            true
        }
        _ => false,
    });
    (small, last)
}
