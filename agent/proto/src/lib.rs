//! The protocol of offshoot: everything that decides, and nothing that touches the world.
//!
//! Bytes, events and the time go in; bytes and events come out. This crate is `no_std`, so it cannot name a clock, a
//! thread, a lock, a file or a socket, and whole trees of nodes run in one test.
//!
//! **The rule for callers:** after every call to a [`Node`](node::Node), drain
//! [`Node::poll_event`](node::Node::poll_event), write what [`Node::transmit`](node::Node::transmit) gives for each link
//! of [`Node::take_dirty`](node::Node::take_dirty), and call [`Node::expire`](node::Node::expire) once
//! [`Node::next_due`](node::Node::next_due) has come.
// Unit tests and the count of steps have std; nothing that is shipped has.
#![cfg_attr(not(any(test, feature = "count-steps")), no_std)]
#![forbid(unsafe_code)]
#![allow(missing_docs)]

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

/// A sum over the sources of this crate, as hexadecimal digits.
pub const SOURCES: &str = env!("OFFSHOOT_SOURCES");
