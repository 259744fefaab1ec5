//! Messages between nodes, one file for each conversation. [`wire`](crate::wire) has the frames
//! that carry them.

pub mod boot;
pub mod call;
pub mod chain;
pub mod channel;
pub mod connect;
pub mod detach;
pub mod exec;
pub mod handshake;
pub mod outcome;
pub mod prompt;
pub mod record;
pub mod routes;
