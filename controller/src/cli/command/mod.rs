//! The commands. Each has one file with its arguments, its help text and its code, and one row in
//! [`COMMANDS`].

mod build_agent;
mod contract;
mod doctor;
mod job;
mod ping;
mod plan;
mod run;
mod streams;
mod version;

use build_agent::BuildAgent;
use contract::{Row, row};
use doctor::Doctor;
use ping::Ping;
use plan::Plan;
use run::Run;
use version::Version;

/// All commands, in the order of the help text.
pub(super) const COMMANDS: &[Row] = &[
    row::<Run>(),
    row::<Ping>(),
    row::<Plan>(),
    row::<Doctor>(),
    row::<BuildAgent>(),
    row::<Version>(),
];
