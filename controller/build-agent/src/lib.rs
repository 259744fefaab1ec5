//! Builds agents of offshoot: images that are small, static and reproducible.
//!
//! `offshoot build-agent` and `cargo xtask build-agent` are this crate. The flags that make an
//! agent small are here only. It must never change the user's toolchain, except to add a target or
//! the source of std, and it prints when it does. Its functions are for these two programs, and
//! are not promised to others.

#![forbid(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!("offshoot runs on Linux only, as controller and as target");

mod build;
mod image;
mod inspect;
mod project;
mod run;
mod sha256;
mod smaller;

pub use build::{Builder, Panic};
pub use image::{Built, build, path, print};
pub use project::Project;
pub use run::output_of;
pub use sha256::sha256;

use offshoot_bootstrap::{Platform, names};

/// Returns the effect of a panic that `--panic` names.
///
/// # Errors
/// Returns an error that lists the effects.
pub fn parse_panic(text: &str) -> Result<Panic, String> {
    match text {
        "abort" => Ok(Panic::Abort),
        "unwind" => Ok(Panic::Unwind),
        _ => Err(format!("--panic is abort or unwind, not {text:?}")),
    }
}

/// Returns the platform that `--target` names: a Rust target or its first word, such
/// as armv7, or a machine as `uname -m` prints it.
///
/// # Errors
/// Returns an error that lists the targets.
pub fn parse_target(text: &str) -> Result<Platform, String> {
    let by_target = Platform::ALL.into_iter().find(|platform| {
        let target = platform.rust_target();
        target == text || target.split('-').next() == Some(text)
    });
    by_target
        .or_else(|| Platform::from_machine(text))
        .ok_or_else(|| {
            format!(
                "there is no agent for {text}; there are agents for {}",
                names(&Platform::ALL)
            )
        })
}
