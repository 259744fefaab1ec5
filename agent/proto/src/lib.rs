//! The protocol of offshoot as pure state machines.
//!
//! Inputs are bytes, events and the time; outputs are bytes and events. The crate is `no_std`, so
//! it cannot name a clock, thread, lock, file or socket, and whole trees of nodes run in one test.
//!
//! **The rule for callers:** after every call to a [`Node`](node::Node), drain
//! [`Node::poll_event`](node::Node::poll_event), call [`Node::transmit`](node::Node::transmit) for
//! each link of [`Node::take_dirty`](node::Node::take_dirty) and write its bytes, and call
//! [`Node::expire`](node::Node::expire) at the time of [`Node::next_due`](node::Node::next_due).
// Unit tests and the step counter use std; nothing that is shipped does.
#![cfg_attr(not(any(test, feature = "count-steps")), no_std)]
#![forbid(unsafe_code)]
#![warn(clippy::print_stdout)]

extern crate alloc;

pub mod collections;
pub mod connect;
pub mod error;
pub mod flow;
pub mod id;
pub mod log;
pub mod message;
pub mod node;
pub mod routing;
pub mod text;
pub mod wire;

pub use error::call::CallError;
pub use error::connect::{ConnectError, ConnectErrorKind};
pub use error::dead_letter::DeadLetter;
pub use error::reason::Reason;
pub use error::{Error, Result};
pub use id::{ContextId, FlowKey, Handle, LinkId};

/// Hash of the sources of this crate, in hexadecimal.
pub const SOURCES: &str = env!("OFFSHOOT_SOURCES");
