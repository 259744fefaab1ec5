//! Hops as data, and the state machines that carry them out: a [`Recipe`](recipe::Recipe) says which program to start,
//! [`dialogue`] talks to it, [`bootstrap`] follows the agent's start and explains its failures.

pub mod bootstrap;
pub mod dialogue;
pub mod recipe;
