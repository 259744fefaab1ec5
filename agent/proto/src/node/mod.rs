//! State machine of a node, without any input or output.

mod admission;
mod backpressure;
mod dispatch;
mod event;
mod flow;
mod flow_table;
mod flows;
mod heartbeats;
mod inspect;
mod keepalive;
mod ledger;
mod lending;
mod link;
mod machine;
mod peer_lists;
pub mod rate_limit;
mod send_queue;
mod throttled_peer;

pub use backpressure::{ATTRIBUTED, ATTRIBUTED_EACH, ATTRIBUTED_TO_ALL, HIGH, OWN};
pub use event::{Event, ShownFrame};
pub use inspect::{FLOW, LINK};
pub use ledger::{FAVOUR, FAVOURED, LENT};
pub use machine::{Node, Opening};
