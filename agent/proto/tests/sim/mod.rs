//! A simulator: trees of any shape, with real nodes, a virtual clock, pipes that fill up, and
//! everything that can go wrong, from one seed.
//!
//! A [`plan::Step`] is one thing that is done to a tree: a connect that succeeds or fails, a call,
//! a stream with a slow reader, a cut, a stall, a forged frame, a flipped bit. [`generate::plan`]
//! draws a plan from a seed, [`run::run`] carries it out, [`check::Check`] lists what has to hold
//! all the while and [`check::BOUNDS`] how much of it. A run is the same every time: the clock is
//! [`world::World`]'s agenda, and where reads are cut is drawn from the seed.
//!
//! # Using it
//!
//! A test that needs one situation writes the steps down and calls [`replay`], which panics when a
//! promise breaks. A new thing that can happen to a tree is a new `Step`, drawn in `generate` and
//! carried out in `run`; a new promise is a new `Check`, and a `Sabotage` with a test in
//! `simulator.rs` that shows that it is noticed. Whoever changes `Node` changes `place.rs`, and no
//! other file here touches it.
//!
//! # A seed that fails
//!
//! `a_million_random_events_violate_no_check` prints the seed, shrinks the plan and prints it as a
//! test, to be put into `found.rs` until the bug is mended, and after that. By hand:
//!
//! ```text
//! export OFFSHOOT_SIM_SEED=1234 OFFSHOOT_SIM_EVENTS=1
//! cargo test -p offshoot-proto --test simulator a_million
//! ```
//!
//! # The files
//!
//! `place` a context, and all contact with `Node`; `cable` and `pipe` a link, `hops` how links come
//! and go; `users` and `end` who opens, answers, reads and writes, `deeds` what else is done;
//! `ledger` what was asked, what was promised and who is below whom, kept without the nodes' help;
//! `world` the agenda; `check` the promises, `held` the formula of one of them; `plan`, `generate`,
//! `run`, `shrink` what is done and in which order; `trace` what two runs are compared by; `rng`
//! the numbers.

pub mod cable;
pub mod check;
pub mod deeds;
pub mod end;
#[cfg(test)]
mod found;
pub mod generate;
pub mod held;
pub mod hops;
pub mod ledger;
pub mod pipe;
pub mod place;
pub mod plan;
pub mod rng;
pub mod run;
pub mod shrink;
#[cfg(test)]
mod size;
pub mod steps;
pub mod trace;
#[cfg(test)]
mod truths;
pub mod users;
pub mod world;

use check::Failure;
use plan::Step;
use run::{Options, Run, run};

/// Carries a plan out and panics if it breaks a promise.
pub fn replay(seed: u64, plan: &[Step]) -> Run {
    let done = run(plan, Options::of(seed));
    if let Some(failure) = &done.failure {
        panic!(
            "{:?} at {} us, after {} events: {}",
            failure.check, failure.now, failure.event, failure.what
        );
    }
    done
}

/// Makes the plan of a failed run small.
pub fn shrunk(plan: &[Step], options: Options, failure: &Failure) -> (Vec<Step>, Failure) {
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
