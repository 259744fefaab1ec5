//! Embeds the images of agents from the folder in `OFFSHOOT_IMAGES`, laid out as
//! `cargo xtask build-agent` leaves it. Without that variable no image is embedded, and the library
//! searches for them when it runs.

use std::path::{Path, PathBuf};
use std::{env, fs};

const TARGETS: [(&str, &str); 2] = [
    ("X86_64", "x86_64-unknown-linux-musl"),
    ("Aarch64", "aarch64-unknown-linux-musl"),
];

fn main() {
    println!("cargo::rerun-if-env-changed=OFFSHOOT_IMAGES");
    let folder = env::var_os("OFFSHOOT_IMAGES").map(PathBuf::from);
    let mut rows = String::new();
    for (platform, target) in TARGETS {
        let Some(folder) = &folder else { continue };
        let image = folder.join(target).join("offshoot-agent.image");
        println!("cargo::rerun-if-changed={}", image.display());
        if image.is_file() {
            rows.push_str(&format!(
                "(Platform::{platform}, include_bytes!({:?})),",
                image.display().to_string()
            ));
        }
    }
    let out = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts");
    let table = format!("pub(super) static EMBEDDED: &[(Platform, &[u8])] = &[{rows}];");
    fs::write(Path::new(&out).join("embedded.rs"), table)
        .expect("cargo's own folder can be written");
}
