//! Maps that are compiled once for all types of entries, because agents are sent over the wire.

pub mod index_map;
pub mod sorted_map;
pub mod steps;
