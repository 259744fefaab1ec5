//! The check of each fuzz target, without a fuzzer: takes bytes and panics if a promise is
//! violated.
//!
//! The targets in `tests/fuzz/fuzz_targets` are one line around these checks, and `tests/corpus.rs`
//! runs them on every file of the corpus with the ordinary tests. A check takes all decisions from
//! its bytes, so every failure can be reproduced.

pub mod boot;
pub mod dialogue;
pub mod flow;
pub mod forms;
pub mod frames;
mod input;
pub mod memory;
pub mod messages;
pub mod names;
pub mod records;
pub mod routes;
pub mod targets;

/// A check: panics on a violation.
pub type Check = fn(&[u8]);

/// Every check by the name of its target.
pub const CHECKS: [(&str, Check); 9] = [
    ("frames", frames::run),
    ("boot", boot::run),
    ("messages", messages::run),
    ("routes", routes::run),
    ("flow", flow::run),
    ("dialogue", dialogue::run),
    ("targets", targets::run),
    ("records", records::run),
    ("names", names::run),
];
