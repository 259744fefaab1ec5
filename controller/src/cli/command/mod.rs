//! The commands, each with its code in one file.

pub mod ping;
pub mod run;
