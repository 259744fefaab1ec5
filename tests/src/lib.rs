//! Fixtures of the end-to-end suites: real sshd, real sudo, real users, real network namespaces,
//! and a check that a test leaves nothing behind.
//!
//! The fixtures change the machine they run on (users, sudoers, ssh configuration), so they refuse
//! to run outside the sandbox of `cargo xtask test` and `cargo xtask bench`: see
//! [`require_sandbox`]. Nothing in this library depends on the internals of offshoot; it starts the
//! finished binary or uses the public crate.

pub mod boxes;
pub mod cgroups;
pub mod delay;
pub mod docker;
pub mod dying_controller;
pub mod examples;
pub mod hop;
pub mod hostile;
pub mod join_peer;
pub mod kube;
pub mod leaks;
pub mod lxc;
pub mod lxd;
pub mod memory;
pub mod mounts;
pub mod netns;
pub mod podman;
pub mod process;
pub mod prompts;
pub mod pty;
pub mod qemu;
pub mod records;
pub mod relay;
pub mod rootfs;
pub mod run;
pub mod scratch;
pub mod seccomp;
pub mod shells;
pub mod sshd;
pub mod tree;
pub mod users;

pub use leaks::Leaks;
pub use run::{Finished, Run};
pub use sshd::Sshd;

/// Asserts that this process runs inside the sandbox of `cargo xtask test`.
///
/// # Panics
/// Panics if `OFFSHOOT_SANDBOX` is not `1`.
pub fn require_sandbox() {
    let inside = std::env::var_os("OFFSHOOT_SANDBOX").is_some_and(|value| value == "1");
    assert!(
        inside,
        "this test changes users and sudoers: run it with `cargo xtask test`, not with `cargo test`"
    );
}

/// Records that a test was skipped and why, for the final report of `cargo xtask test`.
///
/// # Panics
/// Panics if the note cannot be written: a skip that nobody sees is a test that passes without
/// proof.
pub fn skip(reason: &str) {
    use std::io::Write as _;
    let notes = std::env::var_os("OFFSHOOT_SKIPS").expect("`cargo xtask test` sets OFFSHOOT_SKIPS");
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(notes)
        .expect("the notes are writable");
    writeln!(file, "{reason}").expect("the notes are writable");
}
