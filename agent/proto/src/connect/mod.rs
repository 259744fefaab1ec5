//! Hops as data, and the state machines that carry them out: a [`Recipe`](recipe::Recipe) names the
//! program to start, [`dialogue`] answers its questions, [`bootstrap`] follows the start of the
//! agent.

pub mod bootstrap;
pub mod dialogue;
pub mod recipe;
