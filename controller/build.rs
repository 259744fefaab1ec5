//! Compiles the stages that start a program which is its own image, makes the guide a module of the
//! documentation, and notes where this package is: in the repository, or alone.
//!
//! The stages are compiled only if no stock image for this platform is embedded, which has them as
//! well. If they cannot be compiled, a stock image is searched for when the program starts.

use offshoot_bootstrap::{Platform, native};
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(in_repository)");
    if Path::new("../xtask/Cargo.toml").exists() {
        println!("cargo::rustc-cfg=in_repository");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it for build scripts"));
    let stages = match stages(&out) {
        Some((loader, unpacker)) => {
            format!("Some((include_bytes!({loader:?}), include_bytes!({unpacker:?})))")
        }
        None => "None".to_owned(),
    };
    fs::write(out.join("stages.rs"), stages).expect("cargo's own folder can be written");
    guide(&out).expect("the guide can be read, and cargo's own folder written");
}

/// Compiles the stages for the target of this build and returns their files.
fn stages(out: &Path) -> Option<(PathBuf, PathBuf)> {
    let machine = env::var("CARGO_CFG_TARGET_ARCH").ok()?;
    let platform = Platform::of_arch(&machine)?;
    let embedded = env::var("DEP_OFFSHOOT_IMAGES_TARGETS").unwrap_or_default();
    let mut embedded = embedded.split(',');
    if embedded.any(|target| target == platform.rust_target()) {
        return None;
    }
    println!("cargo::rerun-if-changed={}", native::sources().display());
    let rustc = env::var_os("RUSTC").map(PathBuf::from)?;
    let stages = native::compile(platform, &rustc, out).ok()?;
    let files = (out.join("loader"), out.join("unpacker"));
    fs::write(&files.0, stages.loader).ok()?;
    fs::write(&files.1, stages.unpacker).ok()?;
    Some(files)
}

/// Writes the pages of the guide with links that rustdoc understands, and the modules that have
/// them as their documentation.
fn guide(out: &Path) -> std::io::Result<()> {
    println!("cargo::rerun-if-changed=guide");
    let repository = env::var("CARGO_PKG_REPOSITORY").unwrap_or_default();
    let mut names = Vec::new();
    for entry in fs::read_dir("guide")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".md").map(str::to_owned));
    }
    names.sort();
    fs::create_dir_all(out.join("guide"))?;
    let (mut first, mut rest) = (String::new(), String::new());
    for name in &names {
        let mut text = fs::read_to_string(format!("guide/{name}.md"))?;
        for other in &names {
            let module = format!("](crate::guide::{}", other.replace('-', "_"));
            let module = module.trim_end_matches("::README");
            text = text.replace(&format!("]({other}.md"), module);
        }
        text = text.replace("](../../", &format!("]({repository}/blob/main/"));
        let page = out.join(format!("guide/{name}.md"));
        fs::write(&page, text)?;
        let attribute = format!("#[doc = include_str!({page:?})]\n");
        match name.as_str() {
            "README" => first = attribute,
            _ => {
                let module = name.replace('-', "_");
                rest.push_str(&format!("{attribute}pub mod {module} {{}}\n"));
            }
        }
    }
    fs::write(
        out.join("guide.rs"),
        format!("{first}pub mod guide {{\n{rest}}}\n"),
    )
}
