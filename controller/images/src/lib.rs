//! The stock agents of offshoot, as images.
//!
//! The crate `offshoot` embeds them by its feature `stock-images`, which is on by default, so that
//! programs that are built from a registry reach hosts at once. `offshoot version` prints the
//! SHA-256 of each. The images are files of the package and not of the repository, where the table
//! is empty.

#![no_std]
#![forbid(unsafe_code)]

/// The images, each with the Rust target for which its agent was built.
pub static IMAGES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/table.rs"));
