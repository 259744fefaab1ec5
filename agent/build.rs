//! Hashes the sources of this crate, so that a controller and an agent of different builds detect
//! each other at once instead of misunderstanding each other later.
//!
//! Only `src` counts, and the version: `cargo package` rewrites the manifest, and the sum must be
//! the same in the repository and in the package.

use std::path::Path;
use std::{env, fs};

fn main() {
    // Before the compiler lists everything else that is missing there.
    if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system != "linux") {
        println!("cargo::error=offshoot runs on Linux only, as controller and as target");
        return;
    }
    println!("cargo::rerun-if-changed=src");
    let mut files = Vec::new();
    collect(Path::new("src"), &mut files);
    files.sort();
    let mut sum = 0xCBF2_9CE4_8422_2325u64;
    for file in &files {
        for byte in file.bytes().chain(fs::read(file).unwrap_or_default()) {
            sum = (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }
    // A package of another version is another build, whatever its sources.
    for byte in env::var("CARGO_PKG_VERSION").unwrap_or_default().bytes() {
        sum = (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    }
    println!("cargo::rustc-env=OFFSHOOT_SOURCES={sum:016x}");
}

fn collect(folder: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.extend(path.to_str().map(str::to_owned));
        }
    }
}
