//! Taking a hop: recipes as data, and the parts that carry them out.
//!
//! A method (ssh, sudo) is a builder that gives a [`Recipe`]; the rest is written once: [`spawn`] starts the program,
//! [`dialogue`] talks to it, [`boot`] watches the bootstrap and explains its failures. Pure but for `spawn`.

pub mod boot;
pub mod dialogue;
mod recipe;
pub mod spawn;

pub mod methods;

pub use recipe::{Attach, ConnectRequest, Recipe};
