//! The bootstrap: from a byte stream to a running agent.
//!
//! This crate holds the shell text that starts a machine ([`Stage0`]), the loader inside that text,
//! the self-extracting file that follows it ([`Image`]), and the markers that both sides agree on.
//! It sends and receives nothing itself, uses no file, socket, process or clock, and knows nothing
//! of frames or contexts.
//!
//! ```text
//! parent                                        target
//!   command ──────────────────────────────────▶ login shell: exec sh -c '<stage 0>'
//!                                               stage 0 makes the loader executable
//!   image and first frames, in one write ─────▶ loader reads exactly the image, checks it,
//!                                               becomes it
//!                                               image unpacks the agent and becomes it
//!                           ◀── agent_marker ── agent
//! ```
#![forbid(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!("offshoot runs on Linux only, as controller and as target");

mod assemble;
#[doc(hidden)]
pub mod branch_filter;
#[doc(hidden)]
pub mod elf;
pub mod exit;
#[doc(hidden)]
pub mod fast_encoder;
mod image;
#[doc(hidden)]
pub mod layout;
#[doc(hidden)]
pub mod lzma;
#[cfg(feature = "native")]
pub mod native;
#[cfg(feature = "pack")]
mod pack;
mod param;
mod platform;
mod stage0;

pub use assemble::PackError;
pub use image::{Image, ImageError};
#[cfg(feature = "pack")]
pub use pack::pack;
pub use param::{
    Mode, Nonce, OTHER_SHELL_EXITS, Param, ParamError, agent_marker, param, parse_param,
    ready_marker,
};
pub use platform::{PLATFORM_NOTICE, Platform, names, platform_notice};
pub use stage0::{
    MAX_COMMAND, MAX_PRELUDE, MAX_TITLE, PLACES, SYSTEM_PLACES, Stage0, VARIABLES, clean_title,
    escape,
};
