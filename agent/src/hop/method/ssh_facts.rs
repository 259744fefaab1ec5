//! Facts about the dialogue with ssh that several of its tables of rules use.

/// ssh connects to its host directly. Without this fact, hosts in between may ask and print as
/// well.
pub(super) const DIRECT: u32 = 4;

/// Authentication has succeeded.
pub(super) const IN: u32 = 16;

/// The host has named its authentication methods.
pub(super) const BEGUN: u32 = 128;
