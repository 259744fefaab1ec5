//! The commands. Each has one file with its arguments, its help text and its code, and one row in
//! [`COMMANDS`].

mod contract;
mod job;
mod ping;
mod run;
mod streams;

use contract::{Row, row};
use ping::Ping;
use run::Run;

/// All commands, in the order of the help text.
pub(super) const COMMANDS: &[Row] = &[row::<Run>(), row::<Ping>()];
