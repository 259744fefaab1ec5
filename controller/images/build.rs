//! Writes the table of the images that are embedded.
//!
//! They come from the folder that `OFFSHOOT_IMAGES` names, laid out as `cargo xtask build-agent`
//! leaves it; from none if the variable is empty, as in the build of an agent, which sends what its
//! parent sends; or else from the folder `images` of this package. In the repository that folder
//! does not exist, and the table is empty.

use std::path::{Path, PathBuf};
use std::{env, fs};

const TARGETS: [&str; 5] = [
    "x86_64-unknown-linux-musl",
    "aarch64-unknown-linux-musl",
    "i686-unknown-linux-musl",
    "armv7-unknown-linux-musleabihf",
    "riscv64gc-unknown-linux-musl",
];

fn main() {
    println!("cargo::rerun-if-env-changed=OFFSHOOT_IMAGES");
    let here = env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it for build scripts");
    // Not the folder of images: in the repository, it is there only while packages are made.
    println!("cargo::rerun-if-changed=build.rs");
    let folder = match env::var_os("OFFSHOOT_IMAGES") {
        Some(folder) => {
            let folder = PathBuf::from(folder);
            // An image for a further platform may appear in it.
            if folder.is_dir() {
                println!("cargo::rerun-if-changed={}", folder.display());
            }
            folder
        }
        None => Path::new(&here).join("images"),
    };
    let (mut rows, mut targets) = (String::new(), Vec::new());
    for target in TARGETS {
        let image = folder.join(target).join("offshoot-agent.image");
        if image.is_file() {
            println!("cargo::rerun-if-changed={}", image.display());
            rows.push_str(&format!("({target:?}, include_bytes!({image:?})),"));
            targets.push(target);
        }
    }
    println!("cargo::metadata=targets={}", targets.join(","));
    let out = env::var_os("OUT_DIR").expect("cargo sets it for build scripts");
    fs::write(Path::new(&out).join("table.rs"), format!("&[{rows}]"))
        .expect("cargo's own folder can be written");
}
