//! This program as an image, for a tree whose agents have the program's functions without a build
//! of their own.
//!
//! The program has to be static, and has to become an agent when it is started as one: see
//! [`init`](crate::init). The native stages in front of it come from a stock image in the program,
//! or were compiled with the program. A process packs itself once, however many trees it starts.

use offshoot_agent::macro_support::FUNCTIONS;
use offshoot_agent::{Error, Result, initialised};
use offshoot_bootstrap::elf::{Elf, Linkage};
use offshoot_bootstrap::{Image, Platform};
use std::sync::{Mutex, PoisonError};

/// The running program, even if its file was replaced or removed.
const PROGRAM: &str = "/proc/self/exe";

/// Where the parts of the running program are in memory.
const MAPS: &str = "/proc/self/maps";

/// The stages of this platform, loader and unpacker, if they were compiled with this program.
const STAGES: Option<(&[u8], &[u8])> = include!(concat!(env!("OUT_DIR"), "/stages.rs"));

/// The image, once it is packed.
static PACKED: Mutex<Option<Image>> = Mutex::new(None);

/// Returns this program as an image, without the images that are `embedded` in it. `stock` finds
/// the stock image of a platform, for a program that was built without stages.
///
/// # Errors
/// Returns an error if the program cannot be its own image, or if there are no stages.
pub(super) fn image(
    embedded: &[(&str, &[u8])],
    stock: impl FnOnce(Platform) -> Result<Image>,
) -> Result<Image> {
    let mut packed = PACKED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(image) = &*packed {
        return Ok(image.clone());
    }
    if let Err(reason) = initialised() {
        return refused(&reason);
    }
    distinct(FUNCTIONS.iter().map(|function| function.name).collect())?;
    let mut program = std::fs::read(PROGRAM)
        .map_err(|error| Error::Image(format!("reading {PROGRAM}: {error}")))?;
    let platform = fit(&program)?;
    let maps = std::fs::read_to_string(MAPS).unwrap_or_default();
    for (_, bytes) in embedded {
        remove(bytes, &mut program, &maps);
    }
    let whole = embedded
        .iter()
        .find(|(target, _)| *target == platform.rust_target())
        .and_then(|(_, bytes)| Image::parse(*bytes).ok());
    let packed_image = match (whole, STAGES) {
        (Some(stock), _) => stock.with_agent(&program),
        (None, Some((loader, unpacker))) => Image::of_program(platform, &program, loader, unpacker),
        (None, None) => match stock(platform) {
            Ok(stock) => stock.with_agent(&program),
            Err(Error::Image(reason)) => {
                return refused(&format!(
                    "the stages that start an agent could not be compiled with it, and come from a stock image: {reason}"
                ));
            }
            Err(other) => return Err(other),
        },
    };
    let image = packed_image.or_else(|error| refused(&error.to_string()))?;
    *packed = Some(image.clone());
    Ok(image)
}

/// Overwrites `bytes`, a constant of the running program, with zeros in `program`, its file. They
/// would be sent to every host, where nobody needs them. `maps` is where the file is in memory.
fn remove(bytes: &[u8], program: &mut [u8], maps: &str) {
    let address = bytes.as_ptr() as usize;
    let place = maps.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (from, to) = words.next()?.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        let (from, to) = (number(from)?, number(to)?);
        let offset = number(words.nth(1)?)?;
        (from..to)
            .contains(&address)
            .then(|| offset + (address - from))
    });
    if let Some(place) = place
        && let Some(found) = program.get_mut(place..place + bytes.len())
        && found == bytes
    {
        found.fill(0);
    }
}

/// Refuses two functions of one name: a call finds its function by name alone.
/// `offshoot build-agent` refuses such an agent, but a plain build of a program checks nothing.
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
    fn embedded_bytes_are_removed_from_the_file_that_is_sent() {
        static EMBEDDED: [u8; 5000] = [0xA7; 5000];
        let mut program = std::fs::read(PROGRAM).expect("/proc is mounted");
        let maps = std::fs::read_to_string(MAPS).expect("/proc is mounted");
        let count = |program: &[u8]| {
            let whole = |part: &[u8]| part == EMBEDDED;
            program
                .windows(EMBEDDED.len())
                .filter(|part| whole(part))
                .count()
        };
        let before = count(&program);
        remove(std::hint::black_box(&EMBEDDED), &mut program, &maps);
        assert_eq!((before, count(&program)), (1, 0));
        let whole = program.clone();
        remove(&Vec::from([0xA7; 64]), &mut program, &maps);
        assert!(whole == program, "bytes on the heap are not in the file");
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
            image(&[], |_| unreachable!("it is not asked for")).expect_err("init was not called");
        assert!(error.to_string().contains("offshoot::init()"), "{error}");
    }
}
