//! Targets: paths of hops, as an operator writes them.
//!
//! Pure: text to values and back. It reads no file and starts no hop. `parse.rs` has the grammar,
//! `print.rs` the inverse, and the [`registry`](offshoot::methods::registry) the methods with their
//! arguments and options.

pub(super) mod help;
mod hop;
mod inline_password;
mod parse;
mod pieces;
mod print;
#[cfg(test)]
mod tests;

pub(super) use hop::{Hop, Target};
pub(super) use parse::TargetError;
