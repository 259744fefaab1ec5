//! `package`: the crates of this workspace as a registry gets them, with the stock images.
//!
//! Git does not have the images: they are built, put into the crate `offshoot-images` while cargo
//! makes the packages, and compared with what is in its package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use offshoot_bootstrap::Platform;
use offshoot_build_agent::path;
use serde_json::Value;

use crate::agents::{self, STOCK};
use crate::workspace::{Outcome, cargo, output_of, target_directory, workspace};

/// The crate with the images.
const IMAGES: &str = "offshoot-images";

/// The texts that every package has.
const LICENCES: [&str; 2] = ["LICENSE-APACHE", "LICENSE-MIT"];

/// The package of one crate.
pub(crate) struct Package {
    /// The name of the crate and its version, joined by a hyphen.
    pub name: String,
    /// The file for the registry.
    pub file: PathBuf,
}

/// Makes all packages, and builds each as a registry's user would: `package [--keep]`.
///
/// # Errors
/// Returns an error if an agent is not reproducible, or a package cannot be made or built, or lacks
/// something.
pub(crate) fn run(words: &[String]) -> Outcome {
    let keep = match words {
        [] => false,
        [word] if word == "--keep" => true,
        _ => return Err(format!("package takes --keep and nothing else, got {words:?}").into()),
    };
    agents::run(&["--check".to_owned(), "--verify".to_owned()])?;
    let placed = Placed::new()?;
    for package in make(&[])? {
        println!("{}", package.file.display());
    }
    if keep {
        println!(
            "the images stay in {}, for `cargo publish --workspace`; remove them afterwards",
            placed.0.display()
        );
        std::mem::forget(placed);
    }
    Ok(())
}

/// Makes all packages without building them, from images that are built here if need be.
///
/// # Errors
/// Returns an error if an agent or a package cannot be made, or a package lacks something.
pub(crate) fn unverified() -> Result<Vec<Package>, Box<dyn std::error::Error>> {
    agents::run(&["--quiet".to_owned()])?;
    let _placed = Placed::new()?;
    make(&["--no-verify", "--quiet"])
}

/// The images in the crate that has them, removed on drop: a later build in this workspace must not
/// embed what has become old.
struct Placed(PathBuf);

impl Placed {
    fn new() -> std::io::Result<Self> {
        let placed = Self(workspace().join("controller/images/images"));
        for platform in Platform::STOCK {
            let (from, to) = (
                image(&agents::folder(), platform),
                image(&placed.0, platform),
            );
            fs::create_dir_all(to.parent().unwrap_or(&placed.0))?;
            fs::copy(from, to)?;
        }
        Ok(placed)
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Returns the path of a stock image in a folder of images.
fn image(folder: &Path, platform: Platform) -> PathBuf {
    path(folder, STOCK, platform).with_extension("image")
}

fn make(options: &[&str]) -> Result<Vec<Package>, Box<dyn std::error::Error>> {
    let crates = crates()?;
    let mut command = cargo();
    command
        .args(["package", "--allow-dirty"])
        .args(options)
        .arg("--target-dir")
        .arg(target_directory());
    for (name, _) in &crates {
        command.args(["--package", name]);
    }
    if !command.status()?.success() {
        return Err("cargo could not make the packages; the messages of cargo are above".into());
    }
    let mut packages = Vec::new();
    for (name, version) in crates {
        let full = format!("{name}-{version}");
        let file = target_directory().join(format!("package/{full}.crate"));
        let content = output_of(Command::new("tar").arg("-tzf").arg(&file))?;
        for licence in LICENCES {
            if !content
                .lines()
                .any(|line| line == format!("{full}/{licence}"))
            {
                return Err(format!("{licence} is missing in {}", file.display()).into());
            }
        }
        if name == IMAGES {
            compare(&file, &full)?;
        }
        packages.push(Package { name: full, file });
    }
    Ok(packages)
}

/// Compares the images in a package with those that were built.
fn compare(file: &Path, name: &str) -> Outcome {
    for platform in Platform::STOCK {
        let inside = image(&Path::new(name).join("images"), platform);
        let output = Command::new("tar")
            .arg("-xzOf")
            .arg(file)
            .arg(&inside)
            .output()?;
        if output.stdout != fs::read(image(&agents::folder(), platform))? {
            return Err(format!(
                "{} in {} is not what was built",
                inside.display(),
                file.display()
            )
            .into());
        }
    }
    Ok(())
}

/// Returns the crates that are published, with their versions.
fn crates() -> Result<Vec<(String, String)>, Box<dyn std::error::Error>> {
    let metadata = output_of(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(packages
        .filter(|package| package["publish"].is_null())
        .map(|package| (text(&package["name"]), text(&package["version"])))
        .collect())
}
