//! This program as an image, for a tree whose agents have the program's functions without a build
//! of their own.
//!
//! The program has to be static, and has to become an agent when it is started as one: see
//! [`init`](crate::init). The native stages in front of it come from a stock image. A process packs
//! itself once, however many trees it starts.

use offshoot_agent::macro_support::FUNCTIONS;
use offshoot_agent::{Error, Result, initialised};
use offshoot_bootstrap::elf::{Elf, Linkage};
use offshoot_bootstrap::{Image, Platform};
use std::sync::{Mutex, PoisonError};

/// The running program, even if its file was replaced or removed.
const PROGRAM: &str = "/proc/self/exe";

/// The image, once it is packed.
static PACKED: Mutex<Option<Image>> = Mutex::new(None);

/// Returns this program as an image. `stock` finds the stock image of a platform.
///
/// # Errors
/// Returns an error if the program cannot be its own image, or if there is no stock image.
pub(crate) fn image(stock: impl FnOnce(Platform) -> Result<Image>) -> Result<Image> {
    let mut packed = PACKED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(image) = &*packed {
        return Ok(image.clone());
    }
    if let Err(reason) = initialised() {
        return refused(&reason);
    }
    distinct(FUNCTIONS.iter().map(|function| function.name).collect())?;
    let program = std::fs::read(PROGRAM)
        .map_err(|error| Error::Image(format!("reading {PROGRAM}: {error}")))?;
    let platform = fit(&program)?;
    let image = stock(platform)
        .and_then(|stock| {
            stock
                .with_agent(&program)
                .map_err(|error| Error::Image(error.to_string()))
        })
        .or_else(|error| match error {
            Error::Image(reason) => refused(&format!(
                "the stages that start an agent come from a stock image: {reason}"
            )),
            other => Err(other),
        })?;
    *packed = Some(image.clone());
    Ok(image)
}

/// Refuses two functions of one name: a call finds its function by name alone.
/// `cargo xtask build-agent` refuses such an agent, but a plain build of a program checks nothing.
fn distinct(mut names: Vec<&str>) -> Result<()> {
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => refused(&format!(
            "it has two functions named {}; rename one or move it to another module",
            pair[0]
        )),
    }
}

/// Returns the platform of a program that can be an image.
fn fit(program: &[u8]) -> Result<Platform> {
    let Some(platform) = Platform::host() else {
        return refused("there are no agents for this kind of machine");
    };
    let elf = Elf::read(program).filter(|elf| elf.is_for(platform));
    match elf.and_then(|elf| elf.linkage()) {
        Some(Linkage::Static | Linkage::StaticPie) => Ok(platform),
        Some(Linkage::Dynamic) => refused(&format!(
            "it is linked dynamically, and a target may lack its libraries; build it with --target {}",
            platform.rust_target()
        )),
        None => refused(&format!("{PROGRAM} is not a program for {platform}")),
    }
}

fn refused<T>(reason: &str) -> Result<T> {
    Err(Error::Image(format!(
        "this program cannot be its own image: {reason}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_is_refused_with_a_hint() {
        let program = std::fs::read(PROGRAM).expect("/proc is mounted");
        if cfg!(target_feature = "crt-static") {
            return assert!(fit(&program).is_ok());
        }
        let error = fit(&program)
            .expect_err("tests are linked dynamically")
            .to_string();
        assert!(
            error.contains("linked dynamically")
                && error.contains("--target x86_64-unknown-linux-musl"),
            "{error}"
        );
        assert!(fit(b"#!/bin/sh").is_err());
    }

    #[test]
    fn two_functions_with_the_same_name_are_refused() {
        assert_eq!(distinct(vec!["b::one", "a::one", "a::two"]), Ok(()));
        let error = distinct(vec!["b::one", "a::one", "b::one"])
            .expect_err("one is there twice")
            .to_string();
        assert!(error.contains("named b::one;"), "{error}");
    }

    #[test]
    fn a_program_that_has_not_called_init_is_refused() {
        let error =
            image(|_| unreachable!("it is not asked for")).expect_err("init was not called");
        assert!(error.to_string().contains("offshoot::init()"), "{error}");
    }
}
