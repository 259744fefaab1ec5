//! Targets: paths of hops as an operator writes them, such as `web1/sudo`.
//!
//! The command line takes the same texts; `offshoot help targets` explains them. Parsing and
//! printing are pure: `parse.rs` has the grammar, `print.rs` the inverse, and the
//! [`METHODS`](offshoot_agent::method::METHODS) the methods with their arguments and options.

mod connect;
mod hop;
mod inline_password;
mod parse;
mod pieces;
mod print;
#[cfg(test)]
mod tests;

#[doc(hidden)]
pub use connect::password_line;
pub use connect::{Path, TargetExt};
pub use hop::{Hop, Target};
pub use parse::TargetError;
